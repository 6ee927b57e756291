"""The log is copied only while it cannot start anew, and starts anew when all of it was copied."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, run_program
from tests.tools.alarms import handling, raising, strike_in
from tests.tools.long_log import INSERT, KIB, generation, written
from tests.tools.patience import PATIENCE_S, wait_until
from waxlocal.errors import StorageError
from waxlocal.storage import checkpoint, retry
from waxlocal.storage.connection import checkpointer, open_writer, reader
from waxlocal.storage.log_file import LogFile, log_size

FRAME = 24 + 4_096


def test_the_log_starts_anew_after_a_checkpoint(db_path: Path) -> None:
    """All of the log is copied, and the next commit is written over its start."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        before, size = generation(db_path), log_size(db_path)
        assert log.run(limit=64 * KIB) is True
        assert generation(db_path) != before
        conn.execute(INSERT, (10_000, "y"))
        assert log_size(db_path) <= size + FRAME
        assert log.run(limit=64 * KIB) is True  # nothing to do, whatever the size
        conn.execute(INSERT, (10_001, "y"))
        assert generation(db_path) != before
    assert_sound(db_path)


def test_writers_go_on_while_the_log_is_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they add meanwhile is copied after it, and the log starts anew only at the end."""
    checkpoint_ = checkpoint._checkpoint
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        before, positions = generation(db_path), iter((10_000, 10_001))
        copies: list[tuple[int, int]] = []

        def copy(copier: sqlite3.Connection) -> tuple[int, int]:
            copies.append(checkpoint_(copier))
            for position in positions:
                conn.execute(INSERT, (position, "y"))
                break
            assert generation(db_path) == before
            return copies[-1]

        monkeypatch.setattr(checkpoint, "_checkpoint", copy)
        assert log.run(100 * KIB) is True
        assert len(copies) == 3
        assert all(frames == copied for frames, copied in copies)
        assert generation(db_path) != before
    assert_sound(db_path)


@pytest.mark.parametrize("copied_before", [False, True])
def test_nobody_starts_a_log_anew_that_is_being_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, copied_before: bool
) -> None:
    """Neither a writer nor a checkpoint of another program, also if all of it was copied before."""
    checkpoint_ = checkpoint._checkpoint
    with (
        written(db_path) as conn,
        closing(checkpointer(db_path)) as log,
        closing(open_writer(db_path)) as other,
    ):
        seen: list[bytes] = []

        def copy(copier: sqlite3.Connection) -> tuple[int, int]:
            if not seen:
                seen.append(generation(db_path))
                if copied_before:
                    other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                busy, *_ = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                assert busy
                conn.execute(INSERT, (10_000, "y"))
                assert generation(db_path) == seen[0]
            return checkpoint_(copier)

        monkeypatch.setattr(checkpoint, "_checkpoint", copy)
        assert log.run(100 * KIB) is True
        assert seen
        assert generation(db_path) != seen[0]
    assert_sound(db_path)


def test_nobody_can_write_while_what_busy_writers_left_is_copied(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They add more than a little during the first copy; the second one has the write lock."""
    checkpoint_, refused, positions = checkpoint._checkpoint, [], itertools.count(10_000)
    monkeypatch.setattr(checkpoint, "LITTLE_BYTES", 100 * KIB)
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:

        def copy(copier: sqlite3.Connection) -> tuple[int, int]:
            try:
                for _ in range(50):
                    conn.execute(INSERT, (next(positions), "y" * 4_000))
            except sqlite3.OperationalError:
                refused.append(True)
            return checkpoint_(copier)

        monkeypatch.setattr(checkpoint, "_checkpoint", copy)
        conn.execute("PRAGMA busy_timeout = 0")
        assert log.run() is True
        assert refused == [True]
        assert log.run() is True  # for a while there is no other copy before it
        assert refused == [True, True]
    assert_sound(db_path)


def test_a_reader_in_the_way_keeps_nobody_from_writing(db_path: Path) -> None:
    """The write lock is held around each try to copy the rest, and free afterwards."""
    refused: list[bool] = []

    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM events").fetchall()  # keeps the copy from being whole
        with closing(open_writer(db_path)) as other:
            other.execute(INSERT, (10_000, "y"))

            def sleep(seconds: float) -> None:
                if seconds == checkpoint.PAUSE_AFTER_S:
                    return
                try:
                    other.execute(INSERT, (10_001, "y"))
                except sqlite3.OperationalError:
                    refused.append(True)

            log._sleep = sleep
            assert log.run() is False
            assert refused == [True] * checkpoint.LOCKED_COPIES
            other.execute(INSERT, (10_001, "y"))
        conn.execute("COMMIT")
    assert_sound(db_path)


def test_nothing_is_written_while_a_reader_stays(db_path: Path) -> None:
    """Checkpoints that cannot copy all of the log do not make it longer."""
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        with reader(db_path) as reading:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM events").fetchall()
            conn.execute(INSERT, (10_000, "y"))
            assert log.run() is False
            size = log_size(db_path)
            for _ in range(50):
                assert log.run() is False
            assert log_size(db_path) == size
        assert log.run() is True


def test_who_does_not_get_the_lock_goes_on(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else is writing to is left for the next look, in bounded time."""
    slept = [1_000.0]
    for module in (checkpoint, retry):
        monkeypatch.setattr(module, "monotonic", lambda: sum(slept))
    with written(db_path) as conn:
        conn.execute("BEGIN IMMEDIATE")
        with closing(checkpointer(db_path, sleep=slept.append)) as log:
            assert log.run() is False
            # For the moment to begin, then for the lock of each of the two ways.
            longest = checkpoint.MOMENT_WAIT_S + 2 * checkpoint.LOCK_WAIT_S
            assert sum(slept[1:]) == pytest.approx(longest, abs=0.01)
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


def test_a_log_that_another_has_copied_is_not_copied_again(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for the lock looks again before copying."""
    monkeypatch.setattr(checkpoint, "LOCK_WAIT_S", PATIENCE_S)
    with written(db_path) as conn, closing(checkpointer(db_path)) as one:
        before = generation(db_path)

        def sleep(seconds: float) -> None:
            if seconds == checkpoint.PAUSE_AFTER_S:
                return
            conn.execute("COMMIT")
            assert one._log.is_longer(100 * KIB)
            with closing(one._open()) as copier:
                checkpoint._checkpoint(copier)
            conn.execute(INSERT, (10_000, "y"))
            assert generation(db_path) != before

        with closing(checkpointer(db_path, sleep)) as other:
            conn.execute("BEGIN IMMEDIATE")
            assert other.run(100 * KIB) is True
            after = generation(db_path)
            conn.execute(INSERT, (10_001, "y"))
            assert generation(db_path) == after


def test_only_one_at_a_time_copies(db_path: Path) -> None:
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


def test_starting_a_log_anew_copies_nothing(db_path: Path) -> None:
    """SQLite makes no checkpoint of its own when that commits: nothing would guard it."""
    with (
        closing(open_writer(db_path, wait=10)) as conn,
        closing(checkpointer(db_path)) as log,
    ):
        for position in range(600):  # more than the 1,000 pages of SQLite's default
            conn.execute(INSERT, (position, "x" * 8_000))
        before = db_path.read_bytes()
        log._pair = log._open_pair()
        assert log._begin_guard(0)
        assert db_path.read_bytes() == before


def test_a_checkpoint_of_another_program_puts_ours_off(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite then says neither how long the log is nor what was copied: that is not all of it."""

    class Refusing(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql:
                sql = "SELECT 1, -1, -1"  # what it says where SQLite's own lock is taken
            return super().execute(sql, *values)

    with written(db_path), closing(checkpointer(db_path)) as log:
        usual = log._open
        log._open = lambda: sqlite3.connect(
            db_path, factory=Refusing, isolation_level=None, check_same_thread=False
        )
        before = generation(db_path)
        with pytest.raises(sqlite3.OperationalError, match="making a checkpoint"):
            log.run(100 * KIB)
        log.look(100 * KIB)
        assert log.is_put_off
        assert generation(db_path) == before
        log._open = usual
        assert log.run(100 * KIB) is True
    assert_sound(db_path)


def test_the_write_lock_is_taken_just_after_somebody_has_written(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that records at times is then not back for a while; nobody is waited for long."""
    now = [1_000.0]
    monkeypatch.setattr(checkpoint, "monotonic", lambda: now[0])
    with written(db_path) as conn, closing(checkpointer(db_path)) as log:
        positions = itertools.count(10_000)
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds
            if len(slept) in (3, 4):
                conn.execute(INSERT, (next(positions), "y"))

        log._sleep = sleep
        log._pair = log._open_pair()
        log._wait_for_moment(log._pair[1])
        assert slept == [checkpoint.PAUSE_AFTER_S] * 5
        log._wait_for_moment(log._pair[1])  # it lasts
        assert len(slept) == 5
        now[0] += checkpoint.MOMENT_LASTS_S
        log._wait_for_moment(log._pair[1])  # nobody writes
        assert sum(slept[5:]) == pytest.approx(
            checkpoint.MOMENT_WAIT_S, abs=checkpoint.PAUSE_AFTER_S
        )


def test_an_alarm_at_a_look_reaches_the_program(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, also what a file without a log raises."""
    with written(db_path), closing(checkpointer(db_path)) as log:
        with handling(raising(FileNotFoundError)):
            strike_in(monkeypatch, LogFile, "is_longer")
            with pytest.raises(FileNotFoundError):
                log.look()
        assert log.run()


def test_a_lock_that_the_disk_refuses_is_an_error_and_puts_the_next_try_off(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that somebody else has is waited for, and tried for again with the next look."""

    def refused(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with written(db_path), closing(checkpointer(db_path)) as log:
        monkeypatch.setattr(checkpoint, "begin", refused)
        with pytest.raises(sqlite3.OperationalError, match="I/O"):
            log.run()
        assert not log.is_put_off
        log.look(0)
        assert log.is_put_off
