"""The turns and users of sessions that were recorded before the file had columns for them.

To count them while the file is upgraded would keep recorders waiting: 100,000 sessions take some
seconds. Until it is done, queries look at the runs themselves.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader, writer

__all__ = ["count_turns"]

# Sessions in one transaction, which takes some ten milliseconds.
PIECE = 500

_EXISTS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'counted_sessions')"
_COUNTED = "SELECT up_to FROM counted_sessions"
_NEXT = "SELECT session_id FROM sessions WHERE session_id > ? ORDER BY session_id LIMIT ?"
_THESE = "session_id IN (SELECT value FROM json_each(?))"
_COUNT = f"""
UPDATE sessions SET
  (nested_runs, nested_duration) =
    (SELECT count(*), total(n.duration) FROM nested_runs n
     WHERE n.session_id = sessions.session_id),
  last_end_at =
    (SELECT max(r.completed_at) FROM runs r WHERE r.session_id = sessions.session_id)
WHERE {_THESE}
"""  # noqa: S608
_NAME = f"""
INSERT OR IGNORE INTO session_users (session_id, user_id)
SELECT DISTINCT r.session_id, r.user_id FROM runs r WHERE r.user_id IS NOT NULL AND r.{_THESE}
"""  # noqa: S608
_SAY = "UPDATE counted_sessions SET up_to = ?"
_SAY_ALL = "DELETE FROM counted_sessions"


def count_turns(path: Path) -> int:
    """Count the turns and users of each session that has none beside it; return how many sessions.

    Takes a millisecond where that is done. Some sessions at a time: recorders wait for tens of
    milliseconds at most, but for a session of 100,000 runs as long as it takes to read them. Safe
    while others record, and when it is killed: the next one goes on. Does nothing if this version
    may not write to the file; raises nothing.
    """
    count = 0
    with suppress(StorageError):
        with reader(path) as connection:
            waiting = _up_to(connection) is not None
        while waiting:
            with writer(path) as connection:
                found = _count(connection)
            waiting = found > 0
            count += found
    return count


def _up_to(connection: sqlite3.Connection) -> str | None:
    """Return the id of the last session that was counted; None if all were."""
    if not connection.execute(_EXISTS).fetchone()[0]:
        return None
    row = connection.execute(_COUNTED).fetchone()
    return None if row is None else str(row[0])


def _count(connection: sqlite3.Connection) -> int:
    """Count the next sessions."""
    up_to = _up_to(connection)
    if up_to is None:  # another process was sooner
        return 0
    ids = [row[0] for row in connection.execute(_NEXT, (up_to, PIECE)).fetchall()]
    if not ids:
        connection.execute(_SAY_ALL)
        return 0
    connection.execute(_COUNT, (json.dumps(ids),))
    connection.execute(_NAME, (json.dumps(ids),))
    connection.execute(_SAY, (ids[-1],))
    return len(ids)
