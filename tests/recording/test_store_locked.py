"""A file that another process holds: bounded waits, nothing lost, order kept."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, rows, run_program, start_program
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.recording.store import Store
from waxlocal.settings.config import Settings
from waxlocal.storage.connection import checkpointer, open_writer
from waxlocal.storage.record_sql import Statement
from waxlocal.storage.retry import LONG_REST_S

HOLD = """
import os, sqlite3, sys
conn = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
conn.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
conn.execute("COMMIT")
conn.close()
print("released", flush=True)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the file's only write lock; `release` ends it earlier."""
    process = start_program(path, HOLD)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("\n" if process.poll() is None else None)


def release(process: subprocess.Popen[str]) -> None:
    """Let the other process go on, and wait until the lock is gone."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "released\n"


WAIT_S = 0.05
INSERT = Statement(
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES (?, ?, '', 'e', NULL)"
)


def test_order_is_kept_over_a_lock(recorder: Recorder, db_path: Path) -> None:
    """What waited is written before what came later, in the order in which it was recorded."""
    recorder.store.wait = 0.01
    with WaxellContext("before"):
        pass
    with held(db_path) as other:
        for number in range(20):
            with WaxellContext("agent", inputs={"n": number}) as run:
                run.set_tag("n", str(number))
                run.record_step("step", {"n": number})
        assert len(recorder.store.backlog) == 60
        release(other)
        with WaxellContext("agent", inputs={"n": 20}) as run:
            run.record_step("step", {"n": 20})
    assert len(recorder.store.backlog) == 0
    asked = "SELECT json_extract(inputs, '$.n') FROM runs WHERE agent_name = 'agent' ORDER BY id"
    assert rows(db_path, asked) == list(range(21))
    assert rows(db_path, "SELECT count(*) FROM runs WHERE status = 'success'") == [22]
    assert count(db_path, "steps") == 21
    assert_sound(db_path)


def test_a_thread_drains_the_backlog(recorder: Recorder, db_path: Path) -> None:
    """After the lock is gone the backlog reaches the file without any further call."""
    recorder.store.wait = 0.01
    with WaxellContext("before"):
        pass
    with held(db_path) as other:
        with WaxellContext("agent") as run:
            run.record_step("step")
        (drainer,) = [t for t in threading.enumerate() if t.name == "waxlocal-backlog"]
        release(other)
        drainer.join(PATIENCE_S)
    assert count(db_path, "steps") == 1
    assert len(recorder.store.backlog) == 0
    assert not drainer.is_alive()


def wait_for_threads(store: Store) -> None:
    """Wait until the backlog is empty, or no thread is there that writes it."""
    while store.backlog and (
        drainers := [t for t in threading.enumerate() if t.name == "waxlocal-backlog"]
    ):
        drainers[0].join(PATIENCE_S)


def test_a_record_just_after_closing_gets_a_thread(db_path: Path) -> None:
    """Also where the thread of before is about to end, but has not said so yet."""
    store = Store(db_path, wait=0.0)
    store.write(INSERT, ("r", 1))
    with held(db_path) as other:
        store.write(INSERT, ("r", 2))
        with store._lock:  # the thread cannot say so before this ends
            store._drainer.closing.set()
            store._drainer.closing.clear()
            store.write(INSERT, ("r", 3))
        release(other)
        wait_for_threads(store)
    assert rows(db_path, "SELECT position FROM events ORDER BY 1") == [1, 2, 3]
    store.close()


def test_a_record_during_the_closing_gets_a_thread(db_path: Path) -> None:
    """It comes too late for what the closing writes, and need not wait for the next record."""
    store = Store(db_path, wait=0.0)
    store.write(INSERT, ("r", 1))
    close = store._file.close

    def record_after() -> None:
        store._file.close = close  # type: ignore[method-assign]
        close()
        store._later.append(((INSERT, ("r", 2)),))

    store._file.close = record_after  # type: ignore[method-assign]
    with held(db_path) as other:
        store.close()
        release(other)
        wait_for_threads(store)
    assert rows(db_path, "SELECT position FROM events ORDER BY 1") == [1, 2]
    store.close()


def test_flush_writes_what_waits(recorder: Recorder, db_path: Path) -> None:
    """flush() brings the backlog into the file as soon as that is free."""
    recorder.store.wait = 0.01
    with WaxellContext("agent") as run:
        with held(db_path) as other:
            run.record_step("step")
            release(other)
            run.flush_sync()
        assert count(db_path, "steps") == 1


@pytest.mark.parametrize("moving", [True, False])
def test_a_record_waits_longer_for_writers_than_for_a_lock(db_path: Path, moving: bool) -> None:
    """Where others commit all the time, its turn will come; a lock that stays may never go."""
    tries = 0
    with closing(open_writer(db_path)) as other:
        began = time.monotonic()

        def sleep(seconds: float) -> None:
            """Let the other writer end its turn, and begin the next before we can try again."""
            nonlocal tries
            time.sleep(seconds)
            tries += 1
            late = time.monotonic() - began > 3 * WAIT_S and tries > 20
            if moving and other.in_transaction:
                other.execute(INSERT.sql, ("other", tries))
                other.execute("COMMIT")
                if not late:
                    other.execute("BEGIN IMMEDIATE")

        with closing(Store(db_path, wait=WAIT_S, sleep=sleep)) as store:
            store.write(INSERT, ("", 1))
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            store.write(INSERT, ("", 2))
            assert len(store.backlog) == (0 if moving else 1)
            if other.in_transaction:
                other.execute("COMMIT")
            assert store.drain(wait=30)
    assert rows(db_path, "SELECT position FROM events WHERE run_id = ''") == [1, 2]


def test_a_record_waits_longer_for_a_checkpoint(db_path: Path) -> None:
    """Whoever copies the log holds the lock for as long as the disk takes, and then lets go."""
    tries = 0
    with closing(open_writer(db_path)) as other, closing(checkpointer(db_path)) as log:
        began = time.monotonic()

        def sleep(seconds: float) -> None:
            nonlocal tries
            time.sleep(seconds)
            tries += 1
            if time.monotonic() - began > 3 * WAIT_S and tries > 20 and other.in_transaction:
                other.execute("COMMIT")
                log._log.end_turn()

        with closing(Store(db_path, wait=WAIT_S, sleep=sleep)) as store:
            store.write(INSERT, ("", 1))
            log._log.open()
            assert log._log.take_turn()
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            store.write(INSERT, ("", 2))
            assert len(store.backlog) == 0
    assert rows(db_path, "SELECT position FROM events ORDER BY position") == [1, 2]


def test_only_the_first_call_waits(db_path: Path) -> None:
    """The first record at a locked file waits up to its bound; with a backlog the next do not."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)

    store = Store(db_path, wait=0.05, sleep=sleep)
    store.write(INSERT, ("a", 1))
    with held(db_path) as other:
        store.write(INSERT, ("a", 2))
        waited = len(slept)
        assert waited > 0
        assert max(slept) <= LONG_REST_S[1]
        with store._lock:  # so that the drain thread stays out of the count
            for position in range(3, 100):
                store.write(INSERT, ("a", position))
        assert len(slept) == waited
        assert len(store.backlog) == 98
        release(other)
    store.close()
    assert rows(db_path, "SELECT position FROM events ORDER BY position") == list(range(1, 100))


def test_a_program_alone_with_its_file_never_rests(db_path: Path) -> None:
    """Records without a pause, from the first one on, rest for nobody: no other writer was met."""
    rests: list[float] = []
    with closing(Store(db_path, sleep=rests.append)) as store:
        for position in range(2_000):
            store.write(INSERT, ("a", position))
    assert not rests


def test_a_record_that_cannot_be_written_holds_up_none_of_the_others(
    db_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad record in a long backlog is counted as lost; all others reach the file in order."""
    store = Store(db_path, wait=0.01)
    store.write(INSERT, ("a", 0))
    with held(db_path) as other:
        for position in range(1, 1_200):
            store.write(INSERT, ("a", position if position != 700 else 5))
        release(other)
    assert store.drain(10)
    assert (len(store.backlog), store.backlog.lost) == (0, 1)
    expected = [position for position in range(1_200) if position != 700]
    assert rows(db_path, "SELECT position FROM events ORDER BY position") == expected
    store.close()
    assert "1 record was lost: UNIQUE constraint failed" in capsys.readouterr().err


def test_a_short_lock_is_waited_for(db_path: Path) -> None:
    """A record that meets a lock which goes away in time is in the file when it returns."""
    store = Store(db_path, wait=30)
    store.write(INSERT, ("a", 1))
    with held(db_path) as other:
        timer = threading.Timer(0.2, release, (other,))
        timer.start()
        store.write(INSERT, ("a", 2))
        timer.join()
        assert len(store.backlog) == 0
        assert count(db_path, "events") == 2
    store.close()


PROGRAM = """
import json, sqlite3, os, sys, time
from waxlocal import WaxellContext
took = []
def timed(call, *args):
    began = time.monotonic()
    call(*args)
    took.append(time.monotonic() - began)
with WaxellContext("agent") as run:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(100):
        timed(run.record_step, f"step{number}")
print(json.dumps(took), flush=True)
sys.stdin.readline()
"""


def test_a_record_returns_within_its_bound(db_path: Path) -> None:
    """With the file held, the first call waits and the others do not; everything is in the file at
    the exit of the program.
    """
    process = start_program(db_path, PROGRAM, WAXLOCAL_WAIT="0.2")
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "ready\n"
    with held(db_path) as other:
        process.stdin.write("\n")
        process.stdin.flush()
        took = json.loads(process.stdout.readline())
        # They have returned while the file is still held. A hundred waits would be twenty seconds.
        assert 0.2 <= took[0] < 10.0
        assert sum(took[1:]) < 10.0
        release(other)
    _, said = process.communicate("\n", timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "lost" not in said
    assert rows(db_path, "SELECT step_name FROM steps ORDER BY position") == [
        f"step{number}" for number in range(100)
    ]
    assert rows(db_path, "SELECT status FROM runs") == ["success"]


FROZEN = """
import os, sqlite3, sys, time
import waxlocal
from waxlocal import WaxellContext
with WaxellContext("before"):
    pass
real, frozen = time.monotonic, lambda: 1000.0
for module in [one for name, one in sys.modules.items() if name.startswith(("time", "waxlocal"))]:
    for name, value in list(vars(module).items()):
        if value is real:
            setattr(module, name, frozen)
other = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
with WaxellContext("frozen"):
    pass
print(waxlocal.health().in_memory)
other.execute("COMMIT")
"""


def test_a_record_returns_though_a_test_has_frozen_time(db_path: Path) -> None:
    """Libraries that freeze time replace `time.monotonic` in each module that has it; a wait for a
    locked file ends all the same, and what was kept is written at the exit.
    """
    done = run_program(db_path, FROZEN, WAXLOCAL_WAIT="0.1")
    assert done.stdout == "2\n", done.stderr
    assert rows(db_path, "SELECT agent_name, status FROM runs ORDER BY id") == [
        ("before", "success"),
        ("frozen", "success"),
    ]


def test_what_waits_at_exit_is_written_then(db_path: Path) -> None:
    """A lock that is released while the program ends costs nothing."""
    done = run_program(
        db_path,
        """
        import os, sqlite3, threading
        from waxlocal import WaxellContext
        with WaxellContext("before"):
            pass
        other = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None,
                                check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        with WaxellContext("agent") as run:
            run.record_step("step")
        def release():
            other.execute("COMMIT")
            other.close()
        threading.Timer(0.3, release).start()
        """,
        WAXLOCAL_WAIT="0.01",
    )
    assert done.returncode == 0
    assert "lost" not in done.stderr
    assert count(db_path, "steps") == 1
    assert rows(db_path, "SELECT DISTINCT status FROM runs") == ["success"]


def test_what_is_lost_at_exit_is_said_once(db_path: Path) -> None:
    """A file that stays locked: the program ends all right and one line tells what was lost."""
    run_program(db_path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    with held(db_path):
        done = run_program(
            db_path,
            """
            from waxlocal import WaxellContext
            with WaxellContext("agent") as run:
                run.record_step("step")
            """,
            WAXLOCAL_WAIT="0.01",
        )
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("waxlocal:")]
    assert "3 records were lost" in line
    assert "locked by another process" in line
    assert "Try:" in line
    assert rows(db_path, "SELECT agent_name FROM runs") == ["a"]


def test_a_lock_warns_once(
    recorder: Recorder, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However many records meet the lock, the log gets one warning with a hint."""
    recorder.store.wait = 0.01
    with WaxellContext("before"):
        pass
    with held(db_path), caplog.at_level(logging.WARNING, "waxlocal"), WaxellContext("agent") as run:
        for _ in range(10):
            run.record_step("step")
    recorder.close()
    (message,) = caplog.messages
    assert "locked by another process" in message
    assert "Try:" in message


class Refusing(logging.Handler):
    """A log handler that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise."""
        raise RuntimeError("no log")


def test_a_log_handler_that_raises_harms_nothing(recorder: Recorder, db_path: Path) -> None:
    """The program's own log handler cannot make a record raise."""
    recorder.store.wait = 0.01
    logger, handler = logging.getLogger("waxlocal"), Refusing()
    with WaxellContext("before"):
        pass
    logger.addHandler(handler)
    try:
        with held(db_path), WaxellContext("agent") as run:
            run.record_step("step")
    finally:
        logger.removeHandler(handler)
    recorder.close()
    assert count(db_path, "steps") == 1


def test_a_lock_before_the_first_record(db_path: Path) -> None:
    """A recorder that meets the lock while opening the file keeps everything, too."""
    run_program(db_path, "from waxlocal import WaxellContext as C\nwith C('a'): pass")
    made = Recorder(Settings(db=db_path, wait=0.01))
    before = use_recorder(made)
    with held(db_path):
        with WaxellContext("agent") as run:
            run.record_step("step")
        assert len(made.store.backlog) == 3
    made.close()
    use_recorder(before)
    assert count(db_path, "steps") == 1
    asked = "SELECT count(*) FROM runs r JOIN processes p USING (process_id)"
    assert rows(db_path, asked) == [2]


def test_a_reader_never_holds_up_a_record(recorder: Recorder, db_path: Path) -> None:
    """A read transaction that stays open does not keep a record from the file."""
    with WaxellContext("before"):
        pass
    with closing(sqlite3.connect(db_path, isolation_level=None)) as conn:
        conn.execute("BEGIN")
        assert conn.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        with WaxellContext("agent"):
            pass
        assert len(recorder.store.backlog) == 0
        assert conn.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert count(db_path, "runs") == 2
