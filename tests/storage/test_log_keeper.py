"""The log stays short, whoever writes, and nobody who records waits for the disk."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, rows, run_program
from tests.tools.long_log import INSERT, KIB, generation, written
from tests.tools.patience import PATIENCE_S, wait_until
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import checkpoint, log_file, log_keeper
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import checkpointer, log_copier, open_writer, writer
from waxlocal.storage.connection import log_keeper as start_keeper
from waxlocal.storage.log_file import LogFile, log_path, log_size
from waxlocal.storage.log_keeper import LogCopier, LogKeeper
from waxlocal.storage.paths import file_id, file_size
from waxlocal.storage.transaction import commits_of_others
from waxlocal.web.write_queue import WriteQueue


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a log of 600 KiB count as long."""
    limit = 600 * KIB
    monkeypatch.setattr(Checkpointer.look, "__defaults__", (limit,))
    monkeypatch.setattr("waxlocal.recording.store.LONG_BYTES", limit)
    monkeypatch.setattr("waxlocal.recording.store.LOOK_S", 0.0)
    monkeypatch.setattr(log_keeper, "STOP_BYTES", 2 * limit)
    monkeypatch.setattr(log_keeper, "STOP_WAIT_S", PATIENCE_S)
    return limit


class Held(threading.Event):
    """What copies wait for; `reached`: one of them does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Let every copy wait for this event before it begins."""
    usual, go_on = checkpoint._checkpoint, Held()

    def copy(copier: sqlite3.Connection) -> tuple[int, int]:
        go_on.reached.set()
        assert go_on.wait(PATIENCE_S)
        return usual(copier)

    monkeypatch.setattr(checkpoint, "_checkpoint", copy)
    yield go_on
    go_on.set()


@contextmanager
def copier_of(path: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[LogCopier]:
    """Give what a program that records has its log copied by."""
    with closing(log_copier(path, file_id(path), sleep=sleep)) as copier:
        yield copier


def at_work(copier: LogCopier) -> bool:
    """Return whether the copier's thread is at work."""
    return copier._begun.locked()


def record(runs: int) -> None:
    for number in range(runs):
        with WaxellContext("agent", session_id="s", inputs={"n": number, "q": "x" * 500}) as run:
            run.record_step("step")


def test_a_recorder_keeps_the_log_short(recorder: Recorder, db_path: Path, low_limit: int) -> None:
    """One that records alone has the log copied back; every record is there."""
    longest = 0
    generations = set()
    for _ in range(400):
        record(1)
        longest = max(longest, log_size(db_path))
        generations.add(generation(db_path))
    assert low_limit < longest < 2 * low_limit + 200 * KIB
    assert len(generations) > 2
    assert count(db_path, "steps") == 400
    assert_sound(db_path)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the disk have 4 MiB, all for the file and its log."""
    size = 4 * 1024 * KIB

    def left(path: Path) -> int:
        return size - log_size(path) - file_size(path)

    monkeypatch.setattr(log_file, "_free_bytes", left)
    monkeypatch.setattr("waxlocal.recording.store.LOOK_S", 0.0)
    monkeypatch.setattr(log_keeper, "STOP_WAIT_S", PATIENCE_S)
    return size


def test_the_log_leaves_a_small_disk_space_for_the_file(
    recorder: Recorder, db_path: Path, small_disk: int
) -> None:
    """A log that had taken all of it could never be copied; the usual limit is 24 MB."""
    largest = 0
    for _ in range(400):
        record(1)
        largest = max(largest, log_size(db_path) + file_size(db_path))
    assert largest < small_disk
    assert count(db_path, "steps") == 400


def test_whoever_copies_the_log_leaves_a_small_disk_space(db_path: Path, small_disk: int) -> None:
    """Not only a program that records: the daemon, the server and the commands do it like this."""
    half = small_disk // 2
    with written(db_path, size=half) as conn, closing(checkpointer(db_path)) as log:
        before = generation(db_path)
        log.look()
        conn.execute(INSERT, (10_000, "y"))
        assert generation(db_path) != before


def test_a_full_disk_does_not_have_a_short_log_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little is free: each copy costs a sync."""
    monkeypatch.setattr(log_file, "_free_bytes", lambda path: 0)
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        assert log_size(db_path) < 1024 * KIB
        before = generation(db_path)
        log.look()
        conn.execute(INSERT, (10_000, "y"))
        assert generation(db_path) == before


def test_nobody_waits_while_the_log_is_copied(
    recorder: Recorder, db_path: Path, low_limit: int, held: Held
) -> None:
    """A record goes into the file at once, and the thread ends with the copy."""
    record(1)
    log = recorder.store._file.log
    assert log is not None
    while not held.reached.is_set():
        record(1)
        # It may find that it cannot copy now. Nothing more is recorded meanwhile: beyond a certain
        # length of the log that would wait for the copy.
        wait_until(lambda: held.reached.is_set() or not at_work(log))
    before = count(db_path, "steps")
    record(3)
    assert count(db_path, "steps") == before + 3
    assert at_work(log)
    before_anew = generation(db_path)
    held.set()
    wait_until(lambda: not at_work(log))
    record(1)
    assert generation(db_path) != before_anew
    assert_sound(db_path)


def test_nobody_adds_to_a_very_long_log_that_is_being_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    """Writers that find it so wait until it has been copied, for a bounded while."""
    monkeypatch.setattr(log_keeper, "STOP_BYTES", 600 * KIB)
    monkeypatch.setattr(log_keeper, "STOP_WAIT_S", PATIENCE_S)
    slept: list[float] = []
    me = threading.get_ident()

    def sleep(seconds: float) -> None:
        if threading.get_ident() == me:  # the thread that copies rests, too
            slept.append(seconds)
            if len(slept) == 3:
                held.set()
        time.sleep(seconds)

    with written(db_path), copier_of(db_path, sleep) as copier:
        before = generation(db_path)
        copier.look(100 * KIB)
        assert len(slept) >= 3
        assert generation(db_path) != before
    held.clear()
    monkeypatch.setattr(log_keeper, "STOP_WAIT_S", 0.0)
    other = db_path.with_name("other.db")
    with written(other), copier_of(other, sleep) as copier:
        slept.clear()
        copier.look(100 * KIB)
        assert slept == []
        wait_until(lambda: at_work(copier))
        held.set()


def test_a_log_that_another_is_copying_is_left_to_it(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is started for nothing, and a very long log is waited for all the same."""
    slept: list[float] = []
    started: list[int] = []

    def start(_work: object, of: tuple[int, threading.Lock]) -> None:
        limit, begun = of
        started.append(limit)
        begun.release()

    monkeypatch.setattr(log_keeper, "start_new_thread", start)
    monkeypatch.setattr(log_keeper, "STOP_WAIT_S", PATIENCE_S)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        other.end_turn()

    with (
        written(db_path, size=log_keeper.STOP_BYTES + KIB),
        copier_of(db_path, sleep) as copier,
        closing(LogFile(log_path(db_path))) as other,
    ):
        other.open()
        assert other.take_turn()
        copier.look()
        assert started == []
        assert slept
        copier.look()
        assert len(started) == 1


def test_a_log_is_copied_where_no_thread_can_be_had(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the interpreter ends: then whoever looks does it."""

    def start(*_of: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with written(db_path), copier_of(db_path) as copier:
        before = generation(db_path)
        monkeypatch.setattr(log_keeper, "start_new_thread", start)
        copier.look(100 * KIB)
        assert generation(db_path) != before


def test_closing_waits_for_a_copy(db_path: Path, held: Held) -> None:
    """Before a fork no thread of ours may have the file open, however long the disk takes."""
    with written(db_path), copier_of(db_path) as copier:
        copier.look(100 * KIB)
        wait_until(lambda: copier._checkpointer._pair is not None)
        threading.Timer(0.05, held.set).start()
        copier.close()
        assert not at_work(copier)
        assert copier._checkpointer._pair is None


def test_a_wait_for_a_copy_that_is_ended_leaves_the_rest_to_the_thread(
    db_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit of the program passes through; nothing stays open."""

    class TimeLimit(Exception):
        pass

    def time_limit() -> None:
        raise TimeLimit

    with written(db_path), copier_of(db_path) as copier:
        copier.look(100 * KIB)
        wait_until(lambda: copier._checkpointer._pair is not None)
        monkeypatch.setattr(copier._checkpointer, "break_off", time_limit)
        with pytest.raises(TimeLimit):
            copier.close()
        monkeypatch.undo()
        held.set()
        wait_until(lambda: not at_work(copier))
        assert copier._checkpointer._pair is None


def test_a_copy_is_broken_off_for_who_closes(db_path: Path) -> None:
    """A fork, or the end of a program, waits for what the disk is doing, and not for the rest."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        log._pair = log._open_pair()
        log._pair[0].set_progress_handler(lambda: log.break_off(), 1)
        log.look(100 * KIB)
        assert log._pair is None
        log.break_off()  # nothing to break off
        log._not_before = log._pause = 0.0
        before = generation(db_path)
        log.look(100 * KIB)
        assert generation(db_path) != before
        conn.execute(INSERT, (10_000, "y"))
    assert_sound(db_path)


def test_a_program_may_end_during_a_copy(db_path: Path) -> None:
    """Nothing is said, and all is there."""
    done = run_program(
        db_path,
        """
        import waxlocal.recording.store
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        waxlocal.recording.store.LONG_BYTES = 100 * 1024
        waxlocal.recording.store.LOOK_S = 0.0
        store = current_recorder().store
        for number in range(300):
            with WaxellContext("agent", inputs={"q": "x" * 500}) as run:
                run.record_step("step")
            log = store._file.log
            if number > 100 and log is not None and log._begun.locked():
                break
        else:
            raise SystemExit("no copy was under way")
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count(db_path, "steps") == count(db_path, "runs") > 100
    assert_sound(db_path)


def test_a_finalizer_records_in_the_thread_that_copies(
    recorder: Recorder, db_path: Path, low_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for nobody, for others may wait for that thread; its record is written later."""
    usual, main = checkpoint._checkpoint, threading.get_ident()
    recorded = threading.Event()

    def copy(copier: sqlite3.Connection) -> tuple[int, int]:
        if threading.get_ident() != main and not recorded.is_set():
            with WaxellContext("finalizer"):  # as if the collector had run here
                pass
            recorded.set()
        return usual(copier)

    monkeypatch.setattr(checkpoint, "_checkpoint", copy)
    record(1)
    log = recorder.store._file.log
    assert log is not None
    while not at_work(log) and not recorded.is_set():
        record(1)
    with recorder.store._lock:  # as another record has it while it waits for the file
        assert recorded.wait(PATIENCE_S)
    finalizers = "SELECT count(*) FROM runs WHERE agent_name = 'finalizer' AND status = 'success'"
    wait_until(lambda: rows(db_path, finalizers) == [1])
    assert len(recorder.store.backlog) == 0


def test_the_backlog_keeps_the_log_short(recorder: Recorder, db_path: Path, low_limit: int) -> None:
    """What waited in memory does not make a long log when it is written."""
    recorder.store.wait = 0.0
    with WaxellContext("agent"):
        pass
    with closing(open_writer(db_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        record(600)
        assert len(recorder.store.backlog) == 1_800
        other.execute("COMMIT")
    assert recorder.store.drain(wait=30)
    assert log_size(db_path) < 10 * low_limit
    assert count(db_path, "steps") == 600
    assert_sound(db_path)


def test_the_server_keeps_the_log_short(db_path: Path, low_limit: int) -> None:
    """Changes made through a server are copied back, also without a `LogKeeper`."""
    with closing(WriteQueue(db_path)) as changing:
        longest = 0
        for position in range(400):
            changing.change_now(
                lambda conn, at=position: conn.execute(INSERT, (at, "x" * 4_000)).rowcount
            )
            longest = max(longest, log_size(db_path))
    assert low_limit < longest < 2 * low_limit
    assert count(db_path, "events") == 400


def test_a_command_leaves_no_long_log(recorder: Recorder, db_path: Path, low_limit: int) -> None:
    """A command that changes much copies the log back when it has committed."""
    with WaxellContext("agent"):
        pass
    with writer(db_path) as conn:
        for position in range(400):
            conn.execute(INSERT, (position, "x" * 4_000))
        before = generation(db_path)
    with WaxellContext("agent"):
        pass
    assert generation(db_path) != before


def begin_anew(conn: sqlite3.Connection, path: Path) -> None:
    """Write on until the log has started anew."""
    positions, before = itertools.count(10_001), generation(path)

    def begun_anew() -> bool:
        conn.execute(INSERT, (next(positions), "y"))
        return generation(path) != before

    wait_until(begun_anew)


def test_a_keeper_copies_for_those_who_do_not(db_path: Path) -> None:
    """A thread beside a writer that never looks at the log keeps it short."""
    keeper = start_keeper(db_path)
    try:
        with written(db_path, size=log_keeper.KEEPER_BYTES + KIB) as conn:
            begin_anew(conn, db_path)
    finally:
        keeper.close()
    assert_sound(db_path)


def test_a_keeper_starts_the_log_anew(db_path: Path) -> None:
    """Nobody who records has to write, and sync, the header of a log that was copied."""
    with written(db_path) as conn:
        before, others = generation(db_path), commits_of_others(conn)
        positions = itertools.count(10_000)

        def committed() -> bool:
            conn.execute(INSERT, (next(positions), "y"))  # it looks when the log has changed
            return commits_of_others(conn) != others

        keeper = LogKeeper(
            db_path, lambda: checkpointer(db_path), limit=600 * KIB, rest=(0.001, 0.01)
        )
        try:
            wait_until(committed)
        finally:
            keeper.close()
        assert generation(db_path) != before
        assert conn.execute("PRAGMA user_version").fetchone() == (2,)
    assert_sound(db_path)


def test_records_of_many_mb_do_not_make_a_long_log(recorder: Recorder, db_path: Path) -> None:
    """Who adds to it faster than it is copied waits, however much is in each commit."""
    longest = 0
    with WaxellContext("agent") as run:
        for number in range(24):
            run.record_step("step", {"n": number, "q": "x" * 4_000_000})
            longest = max(longest, log_size(db_path))
    assert 4_000_000 < longest <= log_keeper.STOP_BYTES + 4 * 4_100_000
    assert count(db_path, "steps") == 24


def test_a_keeper_follows_the_path(db_path: Path) -> None:
    """It starts without a file, and goes on with the one that takes the place of another."""
    keeper = LogKeeper(db_path, lambda: checkpointer(db_path), limit=600 * KIB, rest=(0.001, 0.01))
    try:
        for _ in range(2):
            with written(db_path) as conn:
                begin_anew(conn, db_path)
            for end in ("", "-wal", "-shm"):
                db_path.with_name(db_path.name + end).unlink(missing_ok=True)
    finally:
        keeper.close()
    assert not any(thread.name == "waxlocal-checkpoint" for thread in threading.enumerate())


def test_forks_have_the_file_closed_during_checkpoints(db_path: Path) -> None:
    """A fork closes the connections of the checkpointer, too; both sides go on recording."""
    done = run_program(
        db_path,
        """
        import os, time
        import waxlocal.recording.store
        from waxlocal import WaxellContext
        from waxlocal.recording.recorder import current_recorder
        waxlocal.recording.store.LONG_BYTES = 600 * 1024
        store = current_recorder().store
        def record(runs):
            for number in range(runs):
                with WaxellContext("agent", inputs={"q": "x" * 500}) as run:
                    run.record_step("step")
        record(100)
        while store._file.log._begun.locked():
            time.sleep(0.001)
        open_before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(5):
            child = os.fork()
            if not child:
                assert store._file._connection is None and store._file.log is None
                record(100)
                os._exit(0)
            record(100)
            assert os.waitpid(child, 0)[1] == 0
        if open_before:
            assert len(os.listdir("/proc/self/fd")) <= open_before
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count(db_path, "steps") == 1_100
    assert_sound(db_path)


def test_a_signal_handler_records_during_a_checkpoint(recorder: Recorder, db_path: Path) -> None:
    """What a handler records while the log is copied is written right after it."""
    record(1)
    log = recorder.store._file.log
    assert log is not None
    seen: list[int] = []

    def look(_limit: int) -> None:
        if not seen:
            seen.append(os.getpid())
            record(1)  # as a handler would, in this thread
            assert len(recorder.store.backlog) == 0

    log.look = look  # type: ignore[method-assign]
    recorder.store._look_at = 0.0
    record(20)
    assert seen
    assert rows(db_path, "SELECT count(*) FROM runs WHERE status = 'success'") == [22]
