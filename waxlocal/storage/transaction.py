"""Transactions and other operations on a connection, for callers that contain no SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "Undone",
    "any_text",
    "begin",
    "commit",
    "commits_of_others",
    "limit_cache",
    "part",
    "read_something",
    "roll_back",
]


class Undone(Exception):
    """Raised inside `part` to undo only that part; does not leave the block."""


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that may write: it takes the write lock at once.

    A deferred BEGIN that writes later fails with SQLITE_BUSY_SNAPSHOT, whatever the timeout
    (https://sqlite.org/isolation.html). Raises `sqlite3.OperationalError` if the file is locked.
    """
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Commit the transaction. Raises `sqlite3.Error`."""
    connection.execute("COMMIT")


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction; does nothing if a full disk has already ended it."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts in the block that are no UTF-8, as another program may have stored them."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        yield
    finally:
        connection.text_factory = before


@contextmanager
def part(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the block a part of the open transaction; if it raises, only the part is undone.

    A full disk ends the whole transaction; then this raises `sqlite3.OperationalError`.
    """
    connection.execute("SAVEPOINT part")
    try:
        yield
    except Undone:
        connection.execute("ROLLBACK TO part")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def commits_of_others(connection: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection has committed.

    The numbers of two connections cannot be compared
    (https://sqlite.org/pragma.html#pragma_data_version).
    """
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def limit_cache(connection: sqlite3.Connection, kib: int) -> None:
    """Limit the page cache of the connection, in KiB."""
    # Negative: KiB; positive would be a number of pages.
    connection.execute(f"PRAGMA cache_size = {-int(kib)}")


def read_something(connection: sqlite3.Connection) -> None:
    """Read from the file, to check that it can be read. Raises `sqlite3.Error`."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
