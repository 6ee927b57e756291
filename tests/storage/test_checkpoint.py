"""The log stays short, whoever writes, and is copied only while nobody can write."""

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
from waxlocal import WaxellContext
from waxlocal.errors import StorageError
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import checkpoint
from waxlocal.storage.checkpoint import Checkpointer, LogKeeper, log_size
from waxlocal.storage.connection import (
    checkpointer,
    log_keeper,
    open_writer,
    reader,
    writer,
)
from waxlocal.storage.transaction import commits_of_others
from waxlocal.web.write_queue import WriteQueue

KIB = 1024
INSERT = (
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES ('', ?, '', 'e', ?)"
)


@contextmanager
def written(path: Path, *, size: int = 800 * KIB) -> Iterator[sqlite3.Connection]:
    """Give a writing connection that has filled the log to this size."""
    with closing(open_writer(path, wait=10)) as conn:
        position = 0
        while log_size(path) < size:
            position += 1
            conn.execute(INSERT, (position, "x" * 4_000))
        yield conn


def generation(path: Path) -> bytes:
    """Return the salts of the log, which are others each time it starts anew."""
    with open(f"{path}-wal", "rb") as log:
        return log.read(24)[16:]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a state; a test that never sees it is ended by its time limit here."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_log_starts_anew_after_a_checkpoint(db_path: Path) -> None:
    """All of the log is copied, and the next commit is written over its start."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        before, size = generation(db_path), log_size(db_path)
        assert log.run() is True
        conn.execute(INSERT, (10_000, "y"))
        assert generation(db_path) != before
        assert log_size(db_path) == size
        assert log.run(limit=64 * KIB) is True  # nothing to do, whatever the size
        conn.execute(INSERT, (10_001, "y"))
        assert generation(db_path) != before
    assert_sound(db_path)


def test_nobody_can_write_while_the_log_is_copied(db_path: Path) -> None:
    """The write lock is held around each copy, and free afterwards."""
    refused: list[bool] = []

    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM events").fetchall()  # keeps the copy from being whole
        with closing(open_writer(db_path)) as other:
            other.execute(INSERT, (10_000, "y"))

            def sleep(_seconds: float) -> None:
                try:
                    other.execute(INSERT, (10_001, "y"))
                except sqlite3.OperationalError:
                    refused.append(True)

            log._sleep = sleep
            assert log.run() is False
            assert refused == [True] * checkpoint.COPIES
            other.execute(INSERT, (10_001, "y"))
        conn.execute("COMMIT")
    assert_sound(db_path)


def test_who_does_not_get_the_lock_goes_on(db_path: Path) -> None:
    """A file that somebody else is writing to is left for the next look, in bounded time."""
    with written(db_path) as conn:
        conn.execute("BEGIN IMMEDIATE")
        slept: list[float] = []
        with closing(checkpointer(db_path, sleep=slept.append)) as log:
            assert log.run() is False
            assert slept
            conn.execute("COMMIT")
            assert log.run() is True


@pytest.mark.parametrize("begun_anew", [False, True])
def test_how_much_of_the_log_is_in_use(db_path: Path, begun_anew: bool) -> None:
    """The limit is met with the first frame that does not fit into it, whatever the file's size."""
    header, frame = 32, 24 + 4_096
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        if begun_anew:
            log.run()
            conn.execute(INSERT, (10_000, "y"))
        frames = next(n for n in range(10_000) if not log._log.is_longer(header + n * frame))
        assert frames > 0
        assert log._log.is_longer(header + frames * frame - 1)
        assert (header + frames * frame == log_size(db_path)) is not begun_anew


def test_a_log_that_another_has_copied_is_not_copied_again(db_path: Path) -> None:
    """Who waited for the lock looks again before copying."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as one:
        before = generation(db_path)

        def sleep(_seconds: float) -> None:
            conn.execute("COMMIT")
            assert one._log.is_longer(100 * KIB)
            with closing(one._open()) as copier:
                one._copy(copier)
            conn.execute(INSERT, (10_000, "y"))
            assert generation(db_path) != before

        with closing(checkpointer(db_path, sleep)) as other:
            conn.execute("BEGIN IMMEDIATE")
            assert other.run(100 * KIB) is True
            after = generation(db_path)
            conn.execute(INSERT, (10_001, "y"))
            assert generation(db_path) == after


def test_only_one_at_a_time_syncs_and_copies(db_path: Path) -> None:
    """Who finds another at it leaves the log to it, and does not wait."""
    with (
        written(db_path),
        closing(checkpointer(db_path)) as one,
        closing(checkpointer(db_path)) as other,
    ):
        assert one._log.is_longer(0)
        assert one._log.take_turn()
        assert other.run() is False
        one._log.end_turn()
        assert other.run() is True


def test_nobody_adds_to_a_very_long_log_that_is_being_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that find it so wait until it has been copied, for a bounded while."""
    monkeypatch.setattr(checkpoint, "STOP_BYTES", 600 * KIB)
    slept: list[float] = []
    with written(db_path) as conn, closing(checkpointer(db_path)) as one:
        assert one._log.is_longer(0)
        assert one._log.take_turn()

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                one._log.end_turn()
                assert one.run() is True
                conn.execute(INSERT, (10_000, "y"))

        with closing(checkpointer(db_path, sleep)) as other:
            before = generation(db_path)
            other.look(100 * KIB)
            assert len(slept) == 3
            assert generation(db_path) != before
            assert other._pair is None  # there was nothing left to do
            monkeypatch.setattr(checkpoint, "TURN_WAIT_S", 0.0)
            monkeypatch.setattr(checkpoint, "STOP_BYTES", 0)
            assert one._log.take_turn()
            assert other.run() is False
            assert len(slept) == 3


def test_a_killed_copier_leaves_its_turn_to_others(db_path: Path) -> None:
    """The lock of the turn goes with the process that had it."""
    done = run_program(
        db_path,
        """
        import os, signal
        from pathlib import Path
        from waxlocal.storage.connection import checkpointer, open_writer
        path = Path(os.environ["WAXLOCAL_DB"])
        conn = open_writer(path)
        into = "INSERT INTO events (run_id, position, recorded_at, event)"
        conn.execute(into + " VALUES ('', 1, '', 'e')")
        log = checkpointer(path)
        assert log._log.is_longer(0) and log._log.take_turn()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert done.stderr == ""
    with closing(open_writer(db_path)) as conn, closing(checkpointer(db_path)) as log:
        conn.execute(INSERT, (2, "y"))
        assert log.run() is True
    assert count(db_path, "events") == 2


def test_a_reader_puts_checkpoints_off(db_path: Path) -> None:
    """While a reader stays, not every look tries again; once it has gone, the log is copied."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        runs: list[bool] = []
        run = log.run
        log.run = lambda limit=0: runs.append(run(limit)) or runs[-1]  # type: ignore[method-assign]
        with reader(db_path) as reading:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM events").fetchall()
            conn.execute(INSERT, (10_000, "y"))
            for _ in range(100):
                log.look(1)
            assert not any(runs)
            assert 1 <= len(runs) < 50

        def copied() -> bool:
            log.look(1)
            return runs[-1]

        wait_until(copied)


def test_another_file_at_the_path_is_left_alone(db_path: Path) -> None:
    """The log beside a file that took the place of ours may not be its own."""
    other = db_path.with_name("other.db")
    with written(other):
        pass
    with written(db_path), closing(checkpointer(db_path)) as log:
        other.rename(db_path)
        log.look(1)
        assert log._pair is None
        with pytest.raises(StorageError):
            log.run()


def test_a_file_without_a_log_is_fine(db_path: Path) -> None:
    """Nothing to copy is no failure; nothing is made where there is no file."""
    with closing(checkpointer(db_path)) as log:
        log.look()
    assert log_size(db_path) == 0
    assert not db_path.exists()


def test_an_interrupted_checkpoint_lets_go_of_the_lock(db_path: Path) -> None:
    """Ctrl-C in the middle of a checkpoint leaves the file free for everybody."""
    with written(db_path) as conn:

        def interrupt(_seconds: float) -> None:
            raise KeyboardInterrupt

        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM events").fetchall()
        with closing(open_writer(db_path)) as other:
            other.execute(INSERT, (10_000, "y"))
            with closing(checkpointer(db_path, sleep=interrupt)) as log:
                with pytest.raises(KeyboardInterrupt):
                    log.look(1)
                other.execute(INSERT, (10_001, "y"))
        conn.execute("COMMIT")


# -- everybody who writes -------------------------------------------------------------------------


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a log of 600 KiB count as long."""
    limit = 600 * KIB
    monkeypatch.setattr(Checkpointer.look, "__defaults__", (limit,))
    monkeypatch.setattr("waxlocal.recording.store.LONG_BYTES", limit)
    monkeypatch.setattr("waxlocal.recording.store.LOOK_S", 0.0)
    return limit


def record(runs: int) -> None:
    for number in range(runs):
        with WaxellContext("agent", session_id="s", inputs={"n": number, "q": "x" * 500}) as run:
            run.record_step("step")


def test_a_recorder_keeps_the_log_short(recorder: Recorder, db_path: Path, low_limit: int) -> None:
    """One that records alone copies the log back itself; every record is there."""
    longest = 0
    for _ in range(40):
        record(10)
        longest = max(longest, log_size(db_path))
    assert low_limit < longest < 3 * low_limit
    assert count(db_path, "steps") == 400
    assert_sound(db_path)


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
    deadline, position, before = time.monotonic() + 60, 10_000, generation(path)
    while generation(path) == before:
        assert time.monotonic() < deadline
        position += 1
        conn.execute(INSERT, (position, "y"))


def test_a_keeper_copies_for_those_who_do_not(db_path: Path) -> None:
    """A thread beside a writer that never looks at the log keeps it short."""
    keeper = log_keeper(db_path)
    try:
        with written(db_path, size=checkpoint.KEEPER_BYTES + KIB) as conn:
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


def test_a_log_that_was_written_to_again_is_not_started_anew(db_path: Path) -> None:
    """What comes between the copy and the new start is in the log, and stays there."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        assert log.run() is True
        conn.execute(INSERT, (10_000, "y"))
        before = generation(db_path)
        log.start_anew(100 * KIB)
        log.start_anew(0)
        assert generation(db_path) == before
        conn.execute("BEGIN IMMEDIATE")
        conn.execute(INSERT, (10_001, "y"))
        log.start_anew(0)
        conn.execute("COMMIT")
    assert_sound(db_path)


def test_starting_a_log_anew_copies_nothing(db_path: Path) -> None:
    """SQLite makes no checkpoint of its own when that commits: it would do so without the lock."""
    with (
        closing(open_writer(db_path, wait=10)) as conn,
        closing(checkpointer(db_path)) as log,
    ):
        for position in range(600):  # more than the 1,000 pages of SQLite's default
            conn.execute(INSERT, (position, "x" * 8_000))
        with reader(db_path) as reading:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM scores").fetchone()
            assert log.run() is True
            conn.execute(INSERT, (10_000, "y"))  # the reader keeps the log from starting anew here
        before = db_path.read_bytes()
        log.start_anew(0)
        assert db_path.read_bytes() == before


def test_records_of_many_mb_do_not_make_a_long_log(recorder: Recorder, db_path: Path) -> None:
    """The log is looked at by time, so that it does not matter how much is in each commit."""
    longest = 0
    with WaxellContext("agent") as run:
        for number in range(24):
            run.record_step("step", {"n": number, "q": "x" * 4_000_000})
            longest = max(longest, log_size(db_path))
    assert 4_000_000 < longest <= checkpoint.LONG_BYTES + 4 * 4_100_000
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
        import os
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
        assert store._file.log._pair is not None
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
