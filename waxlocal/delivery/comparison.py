"""The sessions of the file as a server should have them: for comparing the two."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["LocalSession", "count_sessions", "delivered_sessions", "remote_runs", "session_ids"]

_COUNT = "SELECT count(*) FROM sessions"
_IDS = "SELECT session_id FROM sessions WHERE session_id > ? ORDER BY session_id LIMIT ?"
_FIRST_IDS = "SELECT session_id FROM sessions ORDER BY session_id LIMIT ?"
_SESSIONS = """
SELECT s.session_id, s.run_count, s.open_runs, s.failed_runs, s.total_tokens, s.total_cost,
  (SELECT count(*) FROM runs r
   JOIN deliveries d ON d.run_id = r.run_id AND d.target_id = :target
   WHERE r.session_id = s.session_id AND d.state = 'delivered'
     AND coalesce(d.delivered_at, '') NOT BETWEEN :began AND :now) AS delivered
FROM sessions s WHERE s.session_id IN (SELECT value FROM json_each(:ids))
"""
_REMOTE_RUNS = """
SELECT coalesce(d.remote_run_id, r.run_id), r.status = 'cancelled' FROM runs r
JOIN deliveries d ON d.run_id = r.run_id AND d.target_id = ?
WHERE r.session_id = ?
"""


class LocalSession(NamedTuple):
    """A session here; `delivered` of its `run_count` runs the server had at the time in question.

    `open_runs` have not ended; `failed_runs` ended as error, blocked or interrupted. `total_cost`
    is None where no call has a known price.
    """

    session_id: str
    run_count: int
    open_runs: int
    failed_runs: int
    total_tokens: int
    total_cost: float | None
    delivered: int


def count_sessions(connection: sqlite3.Connection) -> int:
    """Return how many sessions the file has."""
    return int(connection.execute(_COUNT).fetchone()[0])


def session_ids(
    connection: sqlite3.Connection, after: str | None = None, limit: int = 1_000
) -> list[str]:
    """Return a page of the sessions' ids in their order, those behind `after`."""
    if after is None:
        rows = connection.execute(_FIRST_IDS, (limit,)).fetchall()
    else:
        rows = connection.execute(_IDS, (after, limit)).fetchall()
    return [str(row[0]) for row in rows]


def remote_runs(connection: sqlite3.Connection, target_id: int, session_id: str) -> dict[str, bool]:
    """Return by which ids a server knows the runs of a session, and whether each was cancelled."""
    rows = connection.execute(_REMOTE_RUNS, (target_id, session_id))
    return {str(remote_id): bool(cancelled) for remote_id, cancelled in rows}


def delivered_sessions(
    connection: sqlite3.Connection, target_id: int, ids: Sequence[str], began: str, now: str
) -> list[LocalSession]:
    """Return those of these sessions that the file has, in no order.

    `began` and `now`, UTC text: runs delivered from then to now do not count as delivered. Those of
    a later time do: they were delivered before the clock was set back.
    """
    values = {"target": target_id, "began": began, "now": now, "ids": json.dumps(list(ids))}
    rows = connection.execute(_SESSIONS, values).fetchall()
    return [LocalSession(*row) for row in rows]
