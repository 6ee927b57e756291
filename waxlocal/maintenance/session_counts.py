"""The turns and users of sessions that were recorded before the file had columns for them.

To count them while the file is upgraded would keep recorders waiting: 100,000 sessions take some
seconds. Until it is done, queries look at the runs themselves.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import suppress
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader, writer
from waxlocal.storage.schema import has_table

__all__ = ["count_turns"]

# Sessions in one transaction, and about how many runs they have: some ten milliseconds.
PIECE = 500
RUNS_IN_PIECE = 5_000

_IS_LEFT = "SELECT EXISTS (SELECT 1 FROM counted_sessions)"
_FROM = "(SELECT up_to FROM counted_sessions)"
# The last session of the next piece. The first one is that of the piece before, and is counted
# again: so the last piece is known by its end, and an empty id is no special case. Ids stay within
# SQLite, for any program may have written one that is not text.
_TO = f"""(SELECT max(session_id) FROM (
  SELECT session_id, sum(run_count) OVER (ORDER BY session_id) - run_count AS before FROM (
    SELECT session_id, run_count FROM sessions WHERE session_id >= {_FROM}
    ORDER BY session_id LIMIT {{piece}}))
  WHERE before < {{runs}} + coalesce(
    (SELECT run_count FROM sessions WHERE session_id = {_FROM}), 0))"""  # noqa: S608
_COUNT = f"""
UPDATE sessions SET
  (nested_runs, nested_duration) =
    (SELECT count(*), total(n.duration) FROM nested_runs n
     WHERE n.session_id = sessions.session_id),
  last_end_at =
    (SELECT max(r.completed_at) FROM runs r WHERE r.session_id = sessions.session_id)
WHERE session_id >= {_FROM} AND session_id <= {_TO}
"""  # noqa: S608
_NAME = f"""
INSERT OR IGNORE INTO session_users (session_id, user_id)
SELECT DISTINCT r.session_id, r.user_id FROM runs r
WHERE r.session_id >= {_FROM} AND r.session_id <= {_TO} AND r.user_id IS NOT NULL
"""  # noqa: S608
_IS_LAST = f"SELECT {_TO} IS NULL OR {_TO} = (SELECT max(session_id) FROM sessions)"  # noqa: S608
_SAY = f"UPDATE counted_sessions SET up_to = {_TO}"  # noqa: S608
_SAY_ALL = "DELETE FROM counted_sessions"


def count_turns(path: Path, seconds: float = math.inf, clock: Clock = SYSTEM_CLOCK) -> int:
    """Count the turns and users of sessions that have none beside them; return how many sessions.

    For about so many seconds; takes a millisecond where it is done. Some sessions at a time:
    recorders wait for tens of milliseconds at most, but for a session of 100,000 runs as long as it
    takes to read them. Safe while others record, and when it is killed: the next one goes on. Does
    nothing if this version may not write to the file; raises nothing.
    """
    end_ns = clock.monotonic_ns() + seconds * 1e9
    with suppress(StorageError):
        with reader(path) as connection:
            is_left = _is_left(connection)
        return _count_until(end_ns, path, clock) if is_left else 0
    return 0


def _count_until(end_ns: float, path: Path, clock: Clock) -> int:  # loop apart
    count = 0
    while clock.monotonic_ns() < end_ns and (found := _count_piece(path)) is not None:
        count += found
    return count


def _count_piece(path: Path) -> int | None:
    """Count the next sessions; None if another process has counted the last ones."""
    with writer(path) as connection:
        return _count(connection) if _is_left(connection) else None


def _is_left(connection: sqlite3.Connection) -> bool:
    """Return whether some sessions are still to count."""
    exists = has_table(connection, "counted_sessions")
    return exists and bool(connection.execute(_IS_LEFT).fetchone()[0])


def _count(connection: sqlite3.Connection) -> int:
    """Count the next sessions."""
    count_them, name_users, is_last, say = (
        sql.format(piece=PIECE, runs=RUNS_IN_PIECE) for sql in (_COUNT, _NAME, _IS_LAST, _SAY)
    )
    count = connection.execute(count_them).rowcount
    connection.execute(name_users)
    done = connection.execute(is_last).fetchone()[0]
    connection.execute(_SAY_ALL if done else say)
    return count
