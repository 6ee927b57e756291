"""Trying again while another connection holds the file."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from waxlocal.errors import FileLocked
from waxlocal.storage.connection import open_writer
from waxlocal.storage.retry import REST_S, while_busy

NEVER = float("inf")


def test_it_goes_on_until_the_other_connection_lets_go(db_path: Path) -> None:
    """With a real lock: each rest is short, and the attempt after the last returns its value."""
    rests: list[float] = []
    with closing(open_writer(db_path, wait=0)) as one, closing(open_writer(db_path, wait=0)) as two:
        one.execute("BEGIN IMMEDIATE")

        def sleep(seconds: float) -> None:
            rests.append(seconds)
            if len(rests) == 3:
                one.execute("COMMIT")

        while_busy(lambda: two.execute("BEGIN IMMEDIATE"), NEVER, sleep=sleep)
        assert two.in_transaction
    assert len(rests) == 3
    assert all(REST_S[0] <= seconds <= REST_S[1] for seconds in rests)


def test_after_the_deadline_the_error_is_raised_after_one_attempt(db_path: Path) -> None:
    """The caller learns what SQLite said."""
    with closing(open_writer(db_path, wait=0)) as one, closing(open_writer(db_path, wait=0)) as two:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            while_busy(lambda: two.execute("BEGIN IMMEDIATE"), time.monotonic())


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), sqlite3.IntegrityError("x"), ValueError()]
)
def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    """Waiting would not help."""
    attempts = []

    def attempt() -> None:
        attempts.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        while_busy(attempt, NEVER)
    assert (caught.value, len(attempts)) == (error, 1)


def test_a_locked_file_is_busy_however_it_is_said() -> None:
    """Opening a file says it by an exception of our own."""
    left = [FileLocked("locked"), sqlite3.OperationalError("database is locked")]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    assert while_busy(attempt, NEVER, sleep=lambda _seconds: None) == "done"


def test_many_threads_take_turns(db_path: Path) -> None:
    """Each gets the lock, none for good."""
    with closing(open_writer(db_path, wait=0)) as conn:
        conn.execute("CREATE TABLE turns (n)")

    def work() -> None:
        # Opening may meet a lock, too.
        with closing(while_busy(lambda: open_writer(db_path, wait=0), NEVER)) as conn:
            for _ in range(20):
                while_busy(lambda: conn.execute("BEGIN IMMEDIATE"), NEVER)
                conn.execute("INSERT INTO turns VALUES (1)")
                conn.execute("COMMIT")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(open_writer(db_path)) as conn:
        assert conn.execute("SELECT count(*) FROM turns").fetchone() == (80,)
