"""Removes the messages and tools that no call has any more.

When a call is deleted or changed, triggers note the keys that it had in `dropped_contents`. Whether
another call still has them takes a look at all calls, and recorders must not wait for that. So the
look is a read transaction of its own: of one state of the file, however calls move meanwhile.
Afterwards only those contents go whose key was dropped before that state and has stayed so. A call
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
from waxlocal.storage.connection import autocommit, reader
from waxlocal.storage.contents import KEYED, read_keys

__all__ = ["sweep"]

# How many contents one transaction removes: recorders wait during it.
REMOVED_AT_ONCE = 100

_HAS_DROPPED = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'dropped_contents')"
_DROPPED = "SELECT key, id FROM dropped_contents"
_OF_CALLS = f"""
SELECT {", ".join(KEYED.values())} FROM llm_calls
WHERE {" OR ".join(f"{name} IS NOT NULL" for name in KEYED.values())}
"""  # noqa: S608
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
        with reader(path) as connection:
            last, kept, unused = _sorted_out(connection)
        if kept or unused:
            with autocommit(path) as connection:
                _each(connection, kept, last, (_FORGET,))
                return _each(connection, unused, last, (_REMOVE, _UNNOTE, _FORGET))
    return 0


def _sorted_out(connection: sqlite3.Connection) -> tuple[int, list[str], list[str]]:
    """Return the last id, the dropped keys that calls have nevertheless, and those of none."""
    connection.execute("BEGIN")
    try:
        if not connection.execute(_HAS_DROPPED).fetchone()[0]:
            return 0, [], []
        dropped = dict(map(tuple, connection.execute(_DROPPED).fetchall()))
        unused = set(dropped)
        if unused:
            for call in connection.execute(_OF_CALLS):
                unused.difference_update(*map(read_keys, call))
                if not unused:
                    break
    finally:
        connection.execute("COMMIT")
    return max(dropped.values(), default=0), sorted(dropped.keys() - unused), sorted(unused)


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
