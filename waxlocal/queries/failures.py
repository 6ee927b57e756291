"""The runs that failed, grouped by error and agent."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.run_conditions import as_recorded
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.sums import are_usable
from waxlocal.queries.turns import HAS_FAILED
from waxlocal.queries.user_parts import outside_runs, user_of_run

__all__ = ["Failure", "failures"]

MOST_GROUPS = 500
# Characters of the last message of a group.
MESSAGE = 300
_COLUMNS = """r.run_id, r.session_id, r.agent_name, r.started_at, r.status,
  coalesce(r.error_type, '') AS error_type, coalesce(r.error, '') AS error"""
_IN_SESSIONS = f"""SELECT {_COLUMNS}, {{user}} AS user_id FROM sessions s CROSS JOIN runs r
  ON r.session_id = s.session_id {{condition}} s.failed_runs > 0 AND {HAS_FAILED}"""  # noqa: S608
_OUTSIDE = f"SELECT {_COLUMNS}, r.user_id FROM ({{runs}}) r WHERE {HAS_FAILED}"  # noqa: S608
# The last one of a group is found by its start; ids have no spaces.
_GROUPS = """
SELECT error_type, agent_name, status, count(*) AS count,
  count(DISTINCT session_id) AS sessions, count(DISTINCT user_id) AS users,
  count(DISTINCT substr(error, 1, :chars)) AS messages,
  min(started_at) AS first_at, max(started_at) AS last_at,
  substr(max(started_at || ' ' || run_id), length(max(started_at)) + 2) AS last_run_id
FROM ({failed})
WHERE (:since IS NULL OR started_at >= :since) AND (:until IS NULL OR started_at <= :until)
  AND (:agent IS NULL OR agent_name = :agent) AND (:user_id IS NULL OR user_id = :user_id)
  AND (:status IS NULL OR status = :status)
  AND (:error_type IS NULL OR error_type = :error_type)
  AND (:search IS NULL OR instr(lower(error_type || ': ' || error), lower(:search)))
GROUP BY 1, 2, 3 ORDER BY count DESC, last_at DESC LIMIT :most
"""
_MESSAGE = "SELECT substr(error, 1, ?) FROM runs WHERE run_id = ?"
_OF_RUNS = ("since", "until", "agent", "user_id", "status", "error_type", "search")


@dataclass(frozen=True, slots=True)
class Failure:
    """The failed runs of an agent with one type of error.

    `message` is the beginning of the error of the last one, `messages` how many are different.
    `error_type` is empty where none was recorded, `status` is `error`, `blocked`, `interrupted` or
    what a program wrote.
    """

    error_type: str
    agent_name: str
    status: str
    count: int
    sessions: int
    users: int
    messages: int
    first_at: str
    last_at: str
    last_run_id: str
    message: str


@in_snapshot
def failures(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> list[Failure]:
    """Return the failed runs in groups, the largest first: at most 500 groups.

    Of the filter, user, agent, status, error type and period (of the start) are those of the run,
    and `search` is text of its error or type. All else is that of its session, and leaves out runs
    without one.
    """
    sessions = replace(filter, status=None, search=None, error_type=None)
    condition, values = where(conn, sessions, GoneProcesses(conn), has_part=True)
    failed = _IN_SESSIONS.format(
        condition=f"{condition} AND" if condition else "WHERE",
        user=user_of_run(conn),
    )
    of_runs: dict[str, Any] = dict.fromkeys(_OF_RUNS)
    about_sessions = replace(filter, **of_runs) != EVERYTHING
    outside = None if about_sessions else outside_runs(conn, are_usable(conn))
    if outside:
        failed += f" UNION ALL {_OUTSIDE.format(runs=outside)}"
    chosen = {name: getattr(filter, name) for name in _OF_RUNS}
    query = _GROUPS.format(failed=failed)
    bound = values | as_recorded({**chosen, "most": MOST_GROUPS, "chars": MESSAGE})
    rows = conn.execute(query, bound).fetchall()
    return [Failure(**dict(row), message=_message(conn, row["last_run_id"])) for row in rows]


def _message(conn: sqlite3.Connection, run_id: str) -> str:
    row = conn.execute(_MESSAGE, (MESSAGE, run_id)).fetchone()
    return "" if row is None else row[0] or ""
