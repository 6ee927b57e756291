"""Transactions and what a connection is asked besides its rows, for callers that write no SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "Undone",
    "begin",
    "commit",
    "commits_of_others",
    "limit_cache",
    "part",
    "read_something",
    "roll_back",
]


class Undone(Exception):
    """Raised inside `part` to undo it, and nothing else; it does not leave the block."""


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that may write: it takes the write lock at once.

    A deferred BEGIN that writes later fails with SQLITE_BUSY_SNAPSHOT, whatever the timeout
    (https://sqlite.org/isolation.html). Raises `sqlite3.OperationalError` where the file is locked.
    """
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Commit the transaction. Raises `sqlite3.Error`."""
    connection.execute("COMMIT")


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction; nothing happens where a full disk has ended it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def part(connection: sqlite3.Connection) -> Iterator[None]:
    """Make what happens in the block one part of the open transaction, undone alone if it raises.

    A full disk ends the whole transaction: then this raises `sqlite3.OperationalError`, too.
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
    """Let the connection keep at most so many KiB of pages in memory."""
    # Negative: KiB; positive would be a number of pages.
    connection.execute(f"PRAGMA cache_size = {-int(kib)}")


def read_something(connection: sqlite3.Connection) -> None:
    """Read from the file, so that one that cannot be read says so. Raises `sqlite3.Error`."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
