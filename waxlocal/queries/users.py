"""Usage and cost per user, and the number of users."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from waxlocal import encode
from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.queries.filters import checked_page
from waxlocal.queries.rows import User
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.sums import APART, are_usable
from waxlocal.queries.turns import turn_columns
from waxlocal.queries.user_parts import outside_runs, user_parts

__all__ = ["USER_ORDERINGS", "all_users", "count_users", "get_user", "list_users", "sessions_of"]

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
# In the order of the key, so that no row is moved.
_SUMS = f"""
SELECT user_id, NULL AS session_id, count(*) AS session_count, sum(turn_count) AS turn_count,
  sum(run_count) AS run_count, min(first_activity_at) AS first_activity_at,
  max(last_activity_at) AS last_activity_at, total(total_duration) AS total_duration,
  sum(llm_calls) AS llm_calls, sum(unmetered_calls) AS unmetered_calls,
  CAST(total(total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens, sum(total_cost) AS total_cost,
  NULL AS agents
FROM user_sums WHERE session_id NOT IN {APART} GROUP BY user_id
"""  # noqa: S608
_ON_PAGE = "user_id IN (SELECT value FROM json_each(:users))"
_AGENTS = f"{{owned}} SELECT DISTINCT user_id, agents FROM ({{parts}}) WHERE {_ON_PAGE}"  # noqa: S608
_SUMMED_AGENTS = f"""
SELECT user_id, agents FROM user_sums WHERE {_ON_PAGE} AND session_id NOT IN {APART}
"""  # noqa: S608
_SESSIONS_ON_PAGE = f"(SELECT session_id FROM session_users WHERE {_ON_PAGE})"  # noqa: S608
# Of the user `:user`.
_SESSIONS_OF = "(SELECT session_id FROM session_users WHERE user_id = :user)"
_SESSIONS_BY_RUNS = """(SELECT DISTINCT session_id FROM runs
  WHERE user_id = :user AND session_id IS NOT NULL)"""
_COUNT = "SELECT count(*) FROM (SELECT DISTINCT user_id FROM session_users{more})"
_OUTSIDE_TOO = " UNION SELECT user_id FROM ({outside}) WHERE user_id IS NOT NULL"
_COUNT_BY_RUNS = "SELECT count(DISTINCT user_id) FROM runs WHERE user_id IS NOT NULL"


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
    return _users(conn, ordering, checked_page(limit, offset))


@in_snapshot
def all_users(conn: sqlite3.Connection, *, ordering: str = "-last_activity_at") -> list[User]:
    """Return all users, as `list_users` does."""
    return _users(conn, ordering, {"limit": -1, "offset": 0})  # SQLite takes it for no limit


def _users(conn: sqlite3.Connection, ordering: str, page: Mapping[str, object]) -> list[User]:
    order = _order_by(ordering)
    summed = are_usable(conn)
    outside = outside_runs(conn, summed)
    parts = user_parts(conn, among=APART if summed else None, outside=outside)
    rows = f"{_SUMS} UNION ALL {parts.rows}" if summed else parts.rows
    query = _TOGETHER.format(owned=parts.owned, parts=rows, order=order)
    found = conn.execute(query, page).fetchall()
    agents = _agents(conn, [row["user_id"] for row in found], summed, outside)
    return [User(**dict(row), agents=agents[row["user_id"]]) for row in found]


@in_snapshot
def get_user(conn: sqlite3.Connection, user_id: str) -> User:
    """Return a user as `list_users` does; raises `NotFound`."""
    summed = are_usable(conn)
    outside = outside_runs(conn, summed)
    if outside:  # a run of a sub-agent that names nobody is of whoever called it
        outside = f"SELECT * FROM ({outside}) WHERE user_id = :user OR user_id IS NULL"  # noqa: S608
    owned, rows = user_parts(conn, among=sessions_of(conn), outside=outside)
    mine = f"SELECT * FROM ({rows}) WHERE user_id = :user"  # noqa: S608
    query = _TOGETHER.format(owned=owned, parts=mine, order="")
    values = {"user": encode.text(user_id), "limit": 1, "offset": 0}
    row = conn.execute(query, values).fetchone()
    if row is None:
        raise NotFound(f"no user {user_id!r}", hint="waxlocal users lists them")
    agents = _agents(conn, [row["user_id"]], summed, outside, values)
    return User(**dict(row), agents=agents[row["user_id"]])


def sessions_of(conn: sqlite3.Connection) -> str:
    """Return a set of the ids of the sessions of the user `:user`, as SQL."""
    return _SESSIONS_OF if turn_columns(conn).are_counted else _SESSIONS_BY_RUNS


@in_snapshot
def count_users(conn: sqlite3.Connection) -> int:
    """Return the number of users that `list_users` pages through."""
    outside = outside_runs(conn, are_usable(conn))
    more = _OUTSIDE_TOO.format(outside=outside) if outside else ""
    query = _COUNT.format(more=more) if turn_columns(conn).are_counted else _COUNT_BY_RUNS
    return int(conn.execute(query).fetchone()[0])


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
    conn: sqlite3.Connection,
    user_ids: list[str],
    summed: bool,
    outside: str | None,
    values: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, tuple[str, ...]]:
    """Return the names of the agents of each user, sorted."""
    of_page = _SESSIONS_ON_PAGE if turn_columns(conn).are_counted else None
    among = APART if summed else of_page
    owned, rows = user_parts(conn, among=among, outside=outside, by_session=True)
    parts = f"SELECT user_id, agents FROM ({rows})"  # noqa: S608
    if summed:
        parts = f"{_SUMMED_AGENTS} UNION ALL {parts}"
    query = _AGENTS.format(owned=owned, parts=parts)
    names: dict[str, set[str]] = {user_id: set() for user_id in user_ids}
    # Another program may have written a user id of another type, which JSON cannot carry.
    page = json.dumps([one for one in user_ids if isinstance(one, str)])
    for user_id, agents in conn.execute(query, {**values, "users": page}).fetchall():
        names[user_id].update(json.loads(agents))
    return {user_id: tuple(sorted(found)) for user_id, found in names.items()}
