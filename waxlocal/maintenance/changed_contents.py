"""Calls whose messages or tools were redacted, erased or corrected count as changed.

Such a change is one row of `contents`, whatever number of calls have it; a trigger notes its key in
`changed_contents`. Here those calls get a new revision, so that each run that was delivered is
delivered again: another file that has the old text takes the new one. Finding the calls takes a
look at all of them (`noted_keys`); the runs that it finds are changed one at a time, so that
recorders do not wait.

A call that is recorded meanwhile has the new text from the start.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import StorageError
from waxlocal.maintenance.noted_keys import keys_of_calls, noted, one_state
from waxlocal.storage.connection import autocommit, reader
from waxlocal.storage.contents import KEYED, removed
from waxlocal.storage.record_sql import NEXT_REVISION

__all__ = ["mark_calls"]

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
    with one_state(connection):
        changed = noted(connection, "changed_contents")
        of_calls, runs = _calls_with(changed, connection) if changed else (set(), {})
    return _Found(max(changed.values(), default=0), list(changed), sorted(of_calls), list(runs))


def _calls_with(  # loop apart
    changed: Mapping[str, int], connection: sqlite3.Connection
) -> tuple[set[str], dict[str, None]]:
    """Return the changed keys that calls have, and the runs of those calls."""
    of_calls: set[str] = set()
    runs: dict[str, None] = {}
    for run_id, keys in keys_of_calls(connection):
        if had := changed.keys() & keys:
            of_calls |= had
            runs[run_id] = None
    return of_calls, runs


def _mark(connection: sqlite3.Connection, found: _Found) -> int:
    for key in found.of_calls:
        connection.execute(_KEEP_REMOVED, (key, removed(key)))
    of_calls, count = json.dumps(found.of_calls), 0
    for run_id in found.runs:
        count += connection.execute(_MARK, {"run_id": run_id, "keys": of_calls}).rowcount
    connection.execute(_FORGET, {"last": found.last, "keys": json.dumps(found.keys)})
    return count
