"""How many users took part in sessions, and how many of them came back for another one."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.turns import turn_columns

__all__ = ["Visits", "visits"]

_BY_USER = """
SELECT count(*), coalesce(sum(visits > 1), 0)
FROM (SELECT count(*) AS visits FROM {} GROUP BY user_id)
"""
_CHOSEN = """(SELECT u.user_id FROM sessions s CROSS JOIN session_users u
  ON u.session_id = s.session_id {condition})"""
# Also where the file does not count the users of its sessions, or not those of a period.
_BY_RUNS = """(SELECT DISTINCT r.user_id, r.session_id FROM sessions s CROSS JOIN runs r
  ON r.session_id = s.session_id {condition} r.user_id IS NOT NULL
  AND (:since IS NULL OR r.started_at >= :since) AND (:until IS NULL OR r.started_at <= :until))"""


class Visits(NamedTuple):
    """The users who took part in some sessions, and those of them who did in more than one."""

    users: int
    returning: int


def visits(conn: sqlite3.Connection, filter: SessionFilter) -> Visits:
    """Return the visits to the sessions that match the filter; raises `InvalidQuery`.

    With `since` or `until`, those with a run that began then.
    """
    period = bool(filter.since or filter.until)
    condition, values = where(conn, filter, GoneProcesses(conn), has_part=period)
    if period or not turn_columns(conn).are_counted:
        joined = f"{condition} AND" if condition else "WHERE"
        source = _BY_RUNS.format(condition=joined)
    else:
        source = "session_users" if filter == EVERYTHING else _CHOSEN.format(condition=condition)
    given = {"since": None, "until": None} | values
    return Visits(*conn.execute(_BY_USER.format(source), given).fetchone())
