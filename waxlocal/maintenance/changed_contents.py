"""Calls whose messages or tools were redacted, erased or corrected count as changed.

Such a change is one row of `contents`, whatever number of calls have it; a trigger notes its key in
`changed_contents`. Here those calls get a new revision, so that each run that was delivered is
delivered again: another file that has the old text takes the new one. Finding the calls takes a
look at all of them, and recorders must not wait for that. So the look is a read transaction of its
own, and the runs that it finds are changed one at a time.

A call that is recorded meanwhile has the new text from the start.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import StorageError
from waxlocal.storage.connection import autocommit, reader
from waxlocal.storage.contents import KEYED, read_keys, removed
from waxlocal.storage.record_sql import NEXT_REVISION

__all__ = ["mark_calls"]

_HAS_CHANGED = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'changed_contents')"
_CHANGED = "SELECT key, id FROM changed_contents"
_OF_CALLS = f"""
SELECT run_id, {", ".join(KEYED.values())} FROM llm_calls
WHERE {" OR ".join(f"{name} IS NOT NULL" for name in KEYED.values())}
"""  # noqa: S608
_HAS_ONE = " OR ".join(
    f"EXISTS (SELECT 1 FROM json_each(iif(json_valid({name}), {name}, '[]')) AS has"  # noqa: S608
    " WHERE has.value IN (SELECT value FROM json_each(:keys)))"
    for name in KEYED.values()
)
# Found by its keys anew: a hub may have moved the call to another position since the look.
_MARK = f"""
UPDATE llm_calls SET revision = {NEXT_REVISION} WHERE run_id = :run_id AND ({_HAS_ONE})
"""  # noqa: S608
# For a content that was deleted while calls have it: a call that is recorded with the same text
# must not bring it back.
_KEEP_REMOVED = "INSERT INTO contents (key, content) VALUES (?, ?) ON CONFLICT DO NOTHING"
_FORGET = """
DELETE FROM changed_contents WHERE id <= :last AND key IN (SELECT value FROM json_each(:keys))
"""


class _Found(NamedTuple):
    """The changed keys with the id of the last, those of them that calls have, and their runs."""

    last: int
    keys: Sequence[str]
    of_calls: Sequence[str]
    runs: Sequence[str]


def mark_calls(path: Path) -> int:
    """Give each call of a file that has a changed content a new revision; return how many.

    Takes a millisecond where nothing was changed since the last time; else it reads all calls. Safe
    while others record, and when it is killed: the next one begins anew. Does nothing if this
    version may not write to the file; raises nothing.
    """
    with suppress(StorageError):
        with reader(path) as connection:
            found = _look(connection)
        if found.keys:
            with autocommit(path) as connection:
                return _mark(connection, found)
    return 0


def _look(connection: sqlite3.Connection) -> _Found:
    connection.execute("BEGIN")
    try:
        if not connection.execute(_HAS_CHANGED).fetchone()[0]:
            return _Found(0, (), (), ())
        changed = dict(map(tuple, connection.execute(_CHANGED).fetchall()))
        of_calls: set[str] = set()
        runs: dict[str, None] = {}
        if changed:
            for run_id, *stored in connection.execute(_OF_CALLS):
                had = changed.keys() & {key for keys in stored for key in read_keys(keys)}
                if had:
                    of_calls |= had
                    runs[run_id] = None
    finally:
        connection.execute("COMMIT")
    return _Found(max(changed.values(), default=0), list(changed), sorted(of_calls), list(runs))


def _mark(connection: sqlite3.Connection, found: _Found) -> int:
    for key in found.of_calls:
        connection.execute(_KEEP_REMOVED, (key, removed(key)))
    of_calls, count = json.dumps(found.of_calls), 0
    for run_id in found.runs:
        count += connection.execute(_MARK, {"run_id": run_id, "keys": of_calls}).rowcount
    connection.execute(_FORGET, {"last": found.last, "keys": json.dumps(found.keys)})
    return count
