"""When a thread forks, no other one is within a call of SQLite, and nothing stays held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows, run_program
from tests.tools.patience import wait_until
from waxlocal import WaxellContext
from waxlocal.recording import forks
from waxlocal.recording.forks import ForkGate, follow_forks
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import around_forks

MEANT = "ignore:This process:DeprecationWarning"


class _Store:
    """What follows forks, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_fork(self) -> None:
        self.told.append("before")

    def after_fork_in_parent(self) -> None:
        self.told.append("after")

    def after_fork_in_child(self) -> tuple[object, ...]:
        return ()


@contextmanager
def _in_a_thread(act: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=act)
    thread.start()
    yield thread
    thread.join()


def test_a_store_that_is_made_during_a_fork_waits_for_its_end() -> None:
    """That fork has not asked it; its child would inherit a mutex of SQLite held by nobody."""
    store = _Store()
    elsewhere = -1  # no thread has this identity
    forks._forking.add(elsewhere)
    try:
        with _in_a_thread(lambda: follow_forks(store)) as thread:
            wait_until(lambda: store in forks._following)
            thread.join(0.05)
            assert thread.is_alive()
            forks._forking.discard(elsewhere)
    finally:
        forks._forking.discard(elsewhere)
    assert not thread.is_alive()


def test_a_thread_that_holds_the_store_lets_forks_pass_while_it_rests() -> None:
    """Its file is closed meanwhile, and it goes on when the fork is done."""
    lock = threading.RLock()
    gate = ForkGate(lock)
    order: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def fork() -> None:
        assert gate.enter()
        order.append("fork")
        entered.set()
        leave.wait()
        gate.leave()

    with lock, _in_a_thread(fork):
        wait_until(lambda: bool(gate._forking))
        leaving = threading.Timer(0.05, leave.set)
        leaving.start()
        gate.let_pass(lambda: order.append("closed"), time.sleep)
        order.append("goes on")
        leaving.join()
    assert order == ["closed", "fork", "goes on"]
    assert not gate._forking


def test_a_handler_may_record_in_a_thread_that_forks(recorder: Recorder, db_path: Path) -> None:
    """Another thread holds the store until the fork is done, and so must not be waited for."""
    store = recorder.store
    resting: list[bool] = []

    def fork() -> None:
        store.before_fork()
        with WaxellContext("handler") as run:
            run.record_step("step")
        resting.append(store._gate._rests)
        store.after_fork_in_parent()

    store._lock.acquire()
    with _in_a_thread(fork):
        wait_until(lambda: bool(store._gate._forking))
        store._gate.let_pass(store._file.close, time.sleep)
        store._lock.release()
    assert resting == [True]
    assert rows(db_path, "SELECT agent_name, status FROM runs") == [("handler", "success")]
    assert rows(db_path, "SELECT step_name FROM steps") == ["step"]
    assert store.in_memory == 0


def test_nobody_forks_beside_a_thread_that_does_not_rest() -> None:
    """The lock itself is waited for."""
    lock = threading.RLock()
    gate = ForkGate(lock)
    entered = threading.Event()

    def fork() -> None:
        assert gate.enter()
        entered.set()
        gate.leave()

    lock.acquire()
    with _in_a_thread(fork):
        wait_until(lambda: bool(gate._forking))
        assert not entered.wait(0.05)
        lock.release()
    assert entered.is_set()


def test_a_wait_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork goes on without, and whoever holds the lock keeps it."""
    monkeypatch.setattr(forks, "FORK_WAIT_S", 0.02)
    lock = threading.RLock()
    gate = ForkGate(lock)
    entered: list[bool] = []
    with lock, _in_a_thread(lambda: (entered.append(gate.enter()), gate.leave())):
        pass
    assert entered == [False]
    assert not gate._forking
    assert lock.acquire(blocking=False)
    lock.release()


def test_what_a_thread_held_before_its_fork_it_holds_afterwards() -> None:
    """A signal handler can fork in the middle of a record."""
    lock = threading.RLock()
    gate = ForkGate(lock)
    with lock:
        assert gate.enter()
        assert gate.enter()  # as after a signal handler that has raised
        gate.leave()
        gate.leave()
        assert lock._is_owned()  # type: ignore[attr-defined]
    assert not lock._is_owned()  # type: ignore[attr-defined]


def test_work_around_a_fork_that_a_signal_interrupts_is_done_again() -> None:
    """The signal is remembered, to be sent once more after the fork."""
    done: list[int] = []

    def handler(number: int, frame: object) -> None:
        raise TimeoutError

    def act() -> None:
        import sys

        done.append(len(done))
        if len(done) < 3:
            handler(14, sys._getframe())

    around_forks._to_the_end(act)
    assert done == [0, 1, 2]
    assert around_forks._struck.pop(threading.get_ident()) == 14


def test_a_fault_in_that_work_is_no_signal() -> None:
    """It is raised, and the work is not done again."""
    done: list[int] = []

    def act() -> None:
        done.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        around_forks._to_the_end(act)
    assert done == [1]


@pytest.mark.crash
def test_a_fork_beside_a_record_that_waits_for_the_file(db_path: Path) -> None:
    """It takes no time, and what the child records lies in the file that everybody sees."""
    done = run_program(
        db_path,
        """
        import os, sqlite3, subprocess, sys, threading, time
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        path = os.environ["WAXLOCAL_DB"]
        with WaxellContext("first"):
            pass
        hold = ("import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None);"
                "held.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()")
        holder = subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()
        def record(name):
            with WaxellContext(name) as run:
                run.record_step("step")
        waiting = threading.Thread(target=record, args=("waits",))
        waiting.start()
        while not current_recorder().store._writing:
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            holder.stdin.close()  # its end comes when both of us have
            opened = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
            inherited = [name for name in opened
                         if os.path.exists(name) and os.readlink(name).startswith(path)]
            record("child")
            os._exit(len(inherited))
        holder.stdin.close()
        holder.wait()
        waiting.join()
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        PYTHONWARNINGS=MEANT,
        WAXLOCAL_WAIT="60",
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = "SELECT agent_name, count(*) FROM runs WHERE status = 'success' GROUP BY 1 ORDER BY 1"
    assert rows(db_path, asked) == [("child", 1), ("first", 1), ("waits", 1)]
    assert_sound(db_path)


@pytest.mark.crash
def test_a_time_limit_that_strikes_in_a_fork_leaves_nothing_held(db_path: Path) -> None:
    """Another thread goes on recording after each of many forks, and so does each child."""
    done = run_program(
        db_path,
        """
        import os, random, signal, sys, threading, time
        sys.unraisablehook = lambda _: None  # Python tells of what is raised where it forks
        from waxlocal import WaxellContext
        class TimeLimit(Exception):
            pass
        armed = False
        def strike(_number, _frame):
            if armed:
                raise TimeLimit
        signal.signal(signal.SIGALRM, strike)
        recorded = 0
        def record(name):
            with WaxellContext(name) as run:
                run.record_step("step", {"text": "x" * 20_000})
        def go_on():
            global recorded
            while True:
                record("thread")
                recorded += 1
        threading.Thread(target=go_on, daemon=True).start()
        while not recorded:
            time.sleep(0.001)
        children = []
        for _ in range(60):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.000_02, 0.002))
                child = os.fork()
                if child == 0:
                    armed = False
                    record("child")
                    os._exit(0)
                children.append(child)
            except TimeLimit:
                pass
            finally:
                armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
            before, until = recorded, time.monotonic() + 60
            while recorded == before:
                if time.monotonic() > until:
                    os._exit(7)
                time.sleep(0.000_5)
        os._exit(sum(bool(os.waitpid(child, 0)[1]) for child in children))
        """,
        PYTHONWARNINGS=MEANT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_sound(db_path)
