"""Removes the messages and tools that no call has any more.

When a call is deleted or changed, triggers note the keys that it had in `dropped_contents`. Whether
another call still has them takes a look at all calls (`noted_keys`). Afterwards only those contents
go whose key was dropped before the state that was looked at, and has stayed so. A call
that is recorded with such a content takes its key out of `dropped_contents`, by a trigger in the
transaction of its row; should it be dropped again, it has a greater id.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.maintenance.noted_keys import keys_of_calls, noted, one_state
from waxlocal.storage.connection import autocommit, reader

__all__ = ["remove_unused", "sweep"]

# How many contents one transaction removes: recorders wait during it.
REMOVED_AT_ONCE = 100

_SINCE = """
key IN (SELECT key FROM dropped_contents
  WHERE key IN (SELECT value FROM json_each(:keys)) AND id <= :last)
"""
_REMOVE = f"DELETE FROM contents WHERE {_SINCE}"  # noqa: S608
_FORGET = f"DELETE FROM dropped_contents WHERE {_SINCE}"  # noqa: S608
# A trigger notes each content that is deleted, for `changed_contents`: no call has these.
_UNNOTE = f"DELETE FROM changed_contents WHERE {_SINCE}"  # noqa: S608


def sweep(path: Path) -> int:
    """Remove the contents of a file that no call has any more; return how many.

    Takes a millisecond where no call was deleted since the last time; else it reads all calls. Safe
    while others record. Does nothing if this version may not write to the file; raises nothing.
    """
    with suppress(StorageError):
        return remove_unused(path)
    return 0


def remove_unused(path: Path, *, secure: bool = False) -> int:
    """Do the same; with `secure`, overwrite with zeros what is removed. Raises `StorageError`."""
    with reader(path) as connection:
        last, kept, unused = _sorted_out(connection)
    if not kept and not unused:
        return 0
    with autocommit(path, secure=secure) as connection:
        _each(connection, kept, last, (_FORGET,))
        return _each(connection, unused, last, (_REMOVE, _UNNOTE, _FORGET))


def _sorted_out(connection: sqlite3.Connection) -> tuple[int, list[str], list[str]]:
    """Return the last id, the dropped keys that calls have nevertheless, and those of none."""
    with one_state(connection):
        dropped = noted(connection, "dropped_contents")
        unused = _of_no_call(dropped, connection)
    return max(dropped.values(), default=0), sorted(dropped.keys() - unused), sorted(unused)


def _of_no_call(dropped: Iterable[str], connection: sqlite3.Connection) -> set[str]:  # loop apart
    """Return those of the dropped keys that no call has."""
    unused = set(dropped)
    if unused:
        for _run_id, keys in keys_of_calls(connection):
            unused -= keys
            if not unused:
                break
    return unused


def _each(
    connection: sqlite3.Connection, keys: Sequence[str], last: int, statements: Iterable[str]
) -> int:
    """Execute statements for these keys, some at a time; return how many rows the first one hit."""
    count = 0
    for start in range(0, len(keys), REMOVED_AT_ONCE):
        values = {"keys": json.dumps(keys[start : start + REMOVED_AT_ONCE]), "last": last}
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number, statement in enumerate(statements):
                rows = connection.execute(statement, values).rowcount
                count += 0 if number else rows
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return count
