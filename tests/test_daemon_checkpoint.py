"""Explicit checkpoints: never where they are not safe."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import Builder
from tests.test_daemon_notify import Clock
from waxlocal.connection import open_writer, reader
from waxlocal_daemon.checkpoint import TRUNCATE_BYTES, Checkpointer, checkpoint, may_checkpoint

SAFE, UNSAFE = (3, 51, 3), (3, 40, 1)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 37, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_versions_that_may_checkpoint(version: tuple[int, int, int], safe: bool) -> None:
    """From 3.51.3 on, and the two older lines that the mend was carried back to."""
    assert may_checkpoint(version) is safe


@pytest.fixture
def written(db_path: Path) -> Iterator[Builder]:
    """A file with a log of more than 4 MB that a writer still holds open."""
    with closing(open_writer(db_path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _fill(Builder(connection), db_path)
        yield Builder(connection)


def _fill(file: Builder, path: Path) -> None:
    number = 0
    while _wal(path).stat().st_size <= TRUNCATE_BYTES:
        number += 1
        file.insert("events", run_id="", position=number, recorded_at="", event="x" * 50_000)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def test_where_it_is_not_safe_nothing_is_done(db_path: Path, written: Builder) -> None:
    """The log stays as long as it is, and all of it still in the log."""
    before = (_wal(db_path).stat().st_size, db_path.stat().st_size)
    assert checkpoint(db_path, version=UNSAFE) == ""
    assert Checkpointer(db_path, version=UNSAFE).run() == ""
    assert (_wal(db_path).stat().st_size, db_path.stat().st_size) == before


def test_a_long_log_is_cut(db_path: Path, written: Builder) -> None:
    """Past 4 MB the log is copied and cut to nothing; every row is there."""
    count = written.conn.execute("SELECT count(*) FROM events").fetchone()[0]
    assert checkpoint(db_path, version=SAFE) == "truncate"
    assert _wal(db_path).stat().st_size == 0
    with reader(db_path) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == count
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_short_log_is_copied_and_stays(db_path: Path) -> None:
    """Below 4 MB the next writer begins the log anew; nobody waits for it to be cut."""
    with closing(open_writer(db_path)) as connection:
        Builder(connection).run()
        assert checkpoint(db_path, version=SAFE) == "passive"
        assert _wal(db_path).stat().st_size > 0
        assert db_path.stat().st_size > 0


def test_a_reader_in_the_way_is_not_waited_for(db_path: Path, written: Builder) -> None:
    """A reader that looks at the old state keeps the log; it is tried again another time."""
    with reader(db_path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM events").fetchone()
        written.insert("events", run_id="", position=10**6, recorded_at="", event="late")
        assert checkpoint(db_path, version=SAFE) == "passive"
        connection.execute("COMMIT")
    assert checkpoint(db_path, version=SAFE) == "truncate"


def test_checkpoints_are_a_second_apart_and_only_after_writes(db_path: Path) -> None:
    """At once, then not before a second, then not without a write."""
    clock = Clock()
    checkpointer = Checkpointer(db_path, version=SAFE, clock=clock)
    assert checkpointer.run() == ""  # there is no log
    with closing(open_writer(db_path)) as connection:
        file = Builder(connection)
        file.run()
        assert checkpointer.run() == "passive"
        file.run()
        clock.seconds += 0.9
        assert checkpointer.run() == ""
        clock.seconds += 0.1
        assert checkpointer.run() == "passive"
        clock.seconds += 10
        assert checkpointer.run() == ""


def test_this_sqlite_is_judged_by_its_version() -> None:
    """Without a version given it is the one that is linked."""
    assert may_checkpoint() is may_checkpoint(sqlite3.sqlite_version_info)
