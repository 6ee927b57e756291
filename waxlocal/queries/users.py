"""Usage and cost per user."""

from __future__ import annotations

import json
import sqlite3

from waxlocal.errors import InvalidQuery
from waxlocal.queries.columns import unmetered_calls, usage_known
from waxlocal.queries.filters import checked_page
from waxlocal.queries.rows import User
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.turns import TURN, turn_columns

__all__ = ["USER_ORDERINGS", "list_users"]

USER_ORDERINGS = (
    "user_id",
    "session_count",
    "turn_count",
    "run_count",
    "first_activity_at",
    "last_activity_at",
    "total_duration",
    "total_tokens",
    "total_cost",
)
# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
# In a session of one user, all runs are theirs, also those that name nobody.
_IN_SESSIONS = """
SELECT s.user_id, count(*) AS session_count, sum({turns.count}) AS turn_count,
  sum(s.run_count) AS run_count, min(s.first_run_at) AS first_activity_at,
  max({turns.last_activity}) AS last_activity_at, sum({turns.duration}) AS total_duration,
  sum(s.llm_calls) AS llm_calls, sum({unmetered}) AS unmetered_calls,
  CAST(total(s.total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(s.priced_tokens) AS INTEGER) AS priced_tokens, sum(s.total_cost) AS total_cost
FROM sessions s WHERE s.user_id IS NOT NULL AND s.session_id NOT IN several GROUP BY s.user_id
"""
# In a session of several users, and outside of sessions, a run is theirs whom it names; one of a
# sub-agent that names nobody is of whoever called it, however deep. A hundred levels are enough,
# also for runs that call each other in a circle.
_OWNED = """
WITH RECURSIVE several AS MATERIALIZED ({shared}),
climbing (run_id, user_id, above, session_id, depth) AS (
  SELECT r.run_id, r.user_id, r.parent_workflow_id, r.session_id, 0
  FROM several CROSS JOIN runs r ON r.session_id = several.session_id
  {outside}
  UNION ALL
  SELECT c.run_id, p.user_id, p.parent_workflow_id, c.session_id, c.depth + 1
  FROM climbing c JOIN runs p ON p.run_id = substr(c.above, 4) AND p.workflow_id = c.above
    AND p.session_id IS c.session_id
  WHERE c.user_id IS NULL AND c.depth < 100),
owned AS MATERIALIZED (SELECT run_id, user_id FROM climbing WHERE user_id IS NOT NULL),
spent AS MATERIALIZED (
  SELECT run_id, count(*) AS llm_calls, sum({known} = 0) AS unmetered_calls,
    total(tokens_in + tokens_out) AS total_tokens,
    total(iif(cost IS NULL, 0, tokens_in + tokens_out)) AS priced_tokens, sum(cost) AS total_cost
  FROM owned CROSS JOIN llm_calls USING (run_id) GROUP BY run_id),
of_runs AS MATERIALIZED (
  SELECT o.user_id, r.session_id, r.run_id, {turn} AS turn, r.started_at, r.duration,
    coalesce(r.completed_at, r.started_at) AS ended_at
  FROM owned o CROSS JOIN runs r ON r.run_id = o.run_id)
"""
_SHARED = """
SELECT user_id, count(DISTINCT session_id), sum(turn), count(*), min(started_at), max(ended_at),
  total(iif(turn, duration, 0.0)), coalesce(sum(llm_calls), 0), coalesce(sum(unmetered_calls), 0),
  CAST(total(total_tokens) AS INTEGER), CAST(total(priced_tokens) AS INTEGER), sum(total_cost)
FROM of_runs LEFT JOIN spent USING (run_id) GROUP BY user_id
"""
_SHARED_IDS = "SELECT session_id FROM session_users GROUP BY session_id HAVING count(*) > 1"
_SHARED_IDS_BY_RUNS = """SELECT session_id FROM runs WHERE session_id IS NOT NULL
  AND user_id IS NOT NULL GROUP BY session_id HAVING count(DISTINCT user_id) > 1"""
# Runs outside sessions are looked at one by one, too. No index covers them.
_OUTSIDE = """UNION ALL
  SELECT run_id, user_id, parent_workflow_id, NULL, 0 FROM runs WHERE session_id IS NULL"""
_TOGETHER = """{owned}
SELECT user_id, sum(session_count) AS session_count, sum(turn_count) AS turn_count,
  sum(run_count) AS run_count, min(first_activity_at) AS first_activity_at,
  max(last_activity_at) AS last_activity_at,
  sum(total_duration) AS total_duration, sum(llm_calls) AS llm_calls,
  sum(unmetered_calls) AS unmetered_calls, CAST(total(total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens,
  iif(sum(llm_calls) = 0, 0.0, sum(total_cost)) AS total_cost
FROM ({parts}) GROUP BY user_id {order} LIMIT :limit OFFSET :offset
"""
# No index covers runs outside sessions; this checks cheaply whether there are any.
_ANY_OUTSIDE = """
SELECT (SELECT count(*) FROM runs) > (SELECT coalesce(sum(run_count), 0) FROM sessions)
"""
_AGENTS = """{owned}
SELECT DISTINCT s.user_id, s.agents FROM sessions s
WHERE s.user_id IN (SELECT value FROM json_each(:users)) AND s.session_id NOT IN several
UNION ALL
SELECT o.user_id, json_group_array(DISTINCT r.agent_name)
FROM owned o CROSS JOIN runs r ON r.run_id = o.run_id
WHERE o.user_id IN (SELECT value FROM json_each(:users)) GROUP BY o.user_id
"""


@in_snapshot
def list_users(
    conn: sqlite3.Connection,
    *,
    ordering: str = "-last_activity_at",
    limit: int = 20,
    offset: int = 0,
) -> list[User]:
    """Return one page of users, with totals over their sessions and their runs outside sessions.

    `limit` is 1 to 1,000; `ordering` is a field of `USER_ORDERINGS`, with `-` for the largest
    first; unknown costs come last in both directions. Raises `InvalidQuery`.
    """
    page = checked_page(limit, offset)
    order = _order_by(ordering)
    outside = bool(conn.execute(_ANY_OUTSIDE).fetchone()[0])
    turns = turn_columns(conn)
    parts = f"{_IN_SESSIONS} UNION ALL {_SHARED}".format(
        unmetered=unmetered_calls(conn), turns=turns
    )
    owned = _OWNED.format(
        shared=_SHARED_IDS if turns.are_counted else _SHARED_IDS_BY_RUNS,
        outside=_OUTSIDE if outside else "",
        turn=TURN,
        known=usage_known(conn),
    )
    rows = conn.execute(_TOGETHER.format(owned=owned, parts=parts, order=order), page).fetchall()
    agents = _agents(conn, [row["user_id"] for row in rows], _AGENTS.format(owned=owned))
    return [User(**dict(row), agents=agents[row["user_id"]]) for row in rows]


def _order_by(ordering: str) -> str:
    column = ordering.removeprefix("-")
    if column not in USER_ORDERINGS:
        raise InvalidQuery(
            f"unknown ordering {ordering!r}",
            hint=f"use one of: {', '.join(USER_ORDERINGS)}; put - in front for descending order",
        )
    direction = "DESC" if ordering.startswith("-") else "ASC"
    # A name by itself is the column of the result, where a known cost of 0 has taken the place of
    # NULL; in an expression it would be that of the parts.
    return f"ORDER BY {column} {direction} NULLS LAST, user_id {direction}"


def _agents(
    conn: sqlite3.Connection, user_ids: list[str], query: str
) -> dict[str, tuple[str, ...]]:
    """Return the names of the agents of each user, sorted."""
    names: dict[str, set[str]] = {user_id: set() for user_id in user_ids}
    for user_id, agents in conn.execute(query, {"users": json.dumps(user_ids)}).fetchall():
        names[user_id].update(json.loads(agents))
    return {user_id: tuple(sorted(found)) for user_id, found in names.items()}
