"""Usage and cost per user."""

from __future__ import annotations

import json
import sqlite3

from waxlocal.errors import InvalidQuery
from waxlocal.queries.columns import unmetered_calls
from waxlocal.queries.filters import checked_page
from waxlocal.queries.rows import User
from waxlocal.queries.snapshot import in_snapshot

__all__ = ["USER_ORDERINGS", "list_users"]

USER_ORDERINGS = (
    "user_id",
    "session_count",
    "run_count",
    "first_activity_at",
    "last_activity_at",
    "total_duration",
    "total_tokens",
    "total_cost",
)
# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_IN_SESSIONS = """
SELECT user_id, count(*) AS session_count, sum(run_count) AS run_count,
  min(first_run_at) AS first_activity_at, max(last_activity_at) AS last_activity_at,
  sum(total_duration) AS total_duration, sum(llm_calls) AS llm_calls,
  sum({unmetered}) AS unmetered_calls, CAST(total(total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens, sum(total_cost) AS total_cost
-- In the order of the table: through the index on users each row would be looked up by itself.
FROM sessions NOT INDEXED WHERE user_id IS NOT NULL GROUP BY user_id
"""
_OUTSIDE = """
SELECT r.user_id, 0, count(*), min(r.started_at), max(coalesce(r.completed_at, r.started_at)),
  total(r.duration), sum(t.llm_calls), sum({unmetered}), CAST(total(t.total_tokens) AS INTEGER),
  CAST(total(t.priced_tokens) AS INTEGER), sum(t.total_cost)
FROM runs r JOIN run_totals t ON t.run_id = r.run_id
WHERE r.session_id IS NULL AND r.user_id IS NOT NULL GROUP BY r.user_id
"""
_TOGETHER = """
SELECT user_id, sum(session_count) AS session_count, sum(run_count) AS run_count,
  min(first_activity_at) AS first_activity_at, max(last_activity_at) AS last_activity_at,
  sum(total_duration) AS total_duration, sum(llm_calls) AS llm_calls,
  sum(unmetered_calls) AS unmetered_calls, CAST(total(total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens, sum(total_cost) AS total_cost
FROM ({parts}) GROUP BY user_id {order} LIMIT :limit OFFSET :offset
"""
# No index covers runs outside sessions; this checks cheaply whether there are any.
_ANY_OUTSIDE = """
SELECT (SELECT count(*) FROM runs) > (SELECT coalesce(sum(run_count), 0) FROM sessions)
"""
_AGENTS = """
SELECT DISTINCT user_id, agents FROM sessions
WHERE user_id IN (SELECT value FROM json_each(?)) ORDER BY user_id, agents
"""
_AGENTS_OUTSIDE = """
SELECT user_id, json_group_array(DISTINCT agent_name) AS agents FROM runs
WHERE session_id IS NULL AND user_id IN (SELECT value FROM json_each(?)) GROUP BY user_id
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
    parts = f"{_IN_SESSIONS} UNION ALL {_OUTSIDE}" if outside else _IN_SESSIONS
    parts = parts.format(unmetered=unmetered_calls(conn))
    rows = conn.execute(_TOGETHER.format(parts=parts, order=order), page).fetchall()
    agents = _agents(conn, [row["user_id"] for row in rows], outside)
    return [User(**dict(row), agents=agents[row["user_id"]]) for row in rows]


def _order_by(ordering: str) -> str:
    column = ordering.removeprefix("-")
    if column not in USER_ORDERINGS:
        raise InvalidQuery(
            f"unknown ordering {ordering!r}",
            hint=f"use one of: {', '.join(USER_ORDERINGS)}; put - in front for descending order",
        )
    direction = "DESC" if ordering.startswith("-") else "ASC"
    unknown_last = "total_cost IS NULL, " if column == "total_cost" else ""
    return f"ORDER BY {unknown_last}{column} {direction}, user_id {direction}"


def _agents(
    conn: sqlite3.Connection, user_ids: list[str], outside: bool
) -> dict[str, tuple[str, ...]]:
    """Return the names of the agents of each user, sorted."""
    names: dict[str, set[str]] = {user_id: set() for user_id in user_ids}
    for sql in (_AGENTS, _AGENTS_OUTSIDE) if outside else (_AGENTS,):
        for row in conn.execute(sql, (json.dumps(user_ids),)).fetchall():
            names[row["user_id"]].update(json.loads(row["agents"]))
    return {user_id: tuple(sorted(found)) for user_id, found in names.items()}
