"""A log that another process reads after a crash: waited for longer than a lock."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, environment, rows
from waxlocal.errors import FileLocked
from waxlocal.recording.store import Store
from waxlocal.storage.connection import is_recovering, open_writer
from waxlocal.storage.record_sql import Statement

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")

# What a process leaves that is killed while it writes the header of the shared index, and what the
# next one does first: it locks bytes 120 to 122 of that file (https://sqlite.org/walformat.html).
RECOVER = """
import fcntl, os, sys
with open(os.environ["WAXLOCAL_DB"] + "-shm", "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 3, 120)
    index.write(bytes(96))
    index.flush()
    print("recovering", flush=True)
    sys.stdin.readline()
"""
INSERT = Statement(
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES ('', ?, '', 'e', NULL)"
)
POSITIONS = "SELECT position FROM events ORDER BY position"
# Of a record that meets a locked file; a recovery here takes much longer.
WAIT_S = 0.01
TRIES = 100


@contextmanager
def recovering(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the file as one does that reads its log after a crash."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECOVER],
        env=environment(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "recovering\n"
    try:
        yield process
    finally:
        process.communicate("\n" if process.poll() is None else None)


def go_on(process: subprocess.Popen[str]) -> None:
    """Let the other process end, and wait for its end."""
    process.communicate("\n")


def test_a_record_waits_for_a_recovery(db_path: Path) -> None:
    """It is in the file when the call returns, though a recovery took longer than the wait."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        slept.append(seconds)
        if time.monotonic() - began > 2 * WAIT_S and len(slept) >= TRIES and other.poll() is None:
            go_on(other)

    with closing(Store(db_path, wait=WAIT_S, sleep=sleep)) as store:
        store.write(INSERT, (1,))
        with recovering(db_path) as other:
            began = time.monotonic()
            store.write(INSERT, (2,))
        assert (len(store.backlog), store.backlog.reason) == (0, None)
        assert len(slept) >= TRIES
        assert rows(db_path, POSITIONS) == [1, 2]
    assert_sound(db_path)


def test_opening_waits_for_a_recovery(db_path: Path) -> None:
    """The first record of a new process does the same."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        slept.append(seconds)
        if time.monotonic() - began > 2 * WAIT_S and len(slept) >= TRIES and other.poll() is None:
            go_on(other)

    with closing(open_writer(db_path)) as keeps_the_log:
        keeps_the_log.execute(INSERT.sql, (1,))
        with recovering(db_path) as other, closing(Store(db_path, wait=WAIT_S, sleep=sleep)) as new:
            began = time.monotonic()
            new.write(INSERT, (2,))
            assert (len(new.backlog), new.backlog.reason) == (0, None)
            assert len(slept) >= TRIES
    assert rows(db_path, POSITIONS) == [1, 2]
    assert_sound(db_path)


def test_the_wait_for_a_recovery_is_bounded(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that does not end leaves the record in memory; later it is written."""
    monkeypatch.setattr("waxlocal.recording.attempt.PATIENT_S", 0.1)
    with closing(Store(db_path, wait=WAIT_S)) as store:
        store.write(INSERT, (1,))
        with recovering(db_path):
            store.write(INSERT, (2,))
            assert len(store.backlog) == 1
        assert store.drain(wait=30)
    assert rows(db_path, POSITIONS) == [1, 2]


def test_who_does_not_wait_does_not_wait_for_a_recovery(db_path: Path) -> None:
    """With WAXLOCAL_WAIT=0 a record goes to memory at once."""
    slept: list[float] = []
    with closing(Store(db_path, wait=0, sleep=slept.append)) as store:
        store.write(INSERT, (1,))
        with recovering(db_path):
            store.write(INSERT, (2,))
            assert (len(store.backlog), slept) == (1, [])
        assert store.drain(wait=30)


def test_a_lock_is_told_from_a_recovery(db_path: Path) -> None:
    """By SQLite's code where Python tells it, else because a lock stops no reader."""
    with closing(open_writer(db_path)) as conn, closing(open_writer(db_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = _refusal(conn)
        assert not is_recovering(locked, db_path)
        assert not is_recovering(sqlite3.OperationalError(*locked.args), db_path)
        assert not is_recovering(sqlite3.OperationalError("disk I/O error"), db_path)
        assert not is_recovering(FileLocked("cannot be opened"), db_path)
        other.execute("COMMIT")
        with recovering(db_path):
            refused = _refusal(conn)
            assert is_recovering(refused, db_path)
            assert is_recovering(sqlite3.OperationalError(*refused.args), db_path)
            with pytest.raises(FileLocked) as caught:
                open_writer(db_path)
            assert is_recovering(caught.value, db_path)


def _refusal(conn: sqlite3.Connection) -> sqlite3.OperationalError:
    with pytest.raises(sqlite3.OperationalError) as caught:
        conn.execute("BEGIN IMMEDIATE")
    return caught.value
