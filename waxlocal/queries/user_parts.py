"""The runs, turns, time and money of each user, as SQL over some sessions or all."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from waxlocal.queries.columns import unmetered_calls, usage_known
from waxlocal.queries.sums import NEWER
from waxlocal.queries.turns import TURN, turn_columns

__all__ = ["COLUMNS", "UserParts", "outside_runs", "user_of_run", "user_parts"]

# What the rows have beside `user_id`, `session_id` and `session_count`; `agents` is a JSON array.
COLUMNS = (
    "turn_count",
    "run_count",
    "first_activity_at",
    "last_activity_at",
    "total_duration",
    "llm_calls",
    "unmetered_calls",
    "total_tokens",
    "priced_tokens",
    "total_cost",
    "agents",
)
# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
# In a session of one user, all runs are theirs, also those that name nobody.
_ALONE = """
SELECT s.user_id AS user_id, {session} AS session_id, count(*) AS session_count,
  sum({turns.count}) AS turn_count, sum(s.run_count) AS run_count,
  min(s.first_run_at) AS first_activity_at, max({turns.last_activity}) AS last_activity_at,
  sum({turns.duration}) AS total_duration, sum(s.llm_calls) AS llm_calls,
  sum({unmetered}) AS unmetered_calls, CAST(total(s.total_tokens) AS INTEGER) AS total_tokens,
  CAST(total(s.priced_tokens) AS INTEGER) AS priced_tokens, sum(s.total_cost) AS total_cost,
  {agents} AS agents
FROM sessions s WHERE s.user_id IS NOT NULL AND s.session_id NOT IN several {among} GROUP BY 1, 2
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
  SELECT o.user_id, r.session_id, r.run_id, {turn} AS turn, r.agent_name, r.started_at,
    r.duration, coalesce(r.completed_at, r.started_at) AS ended_at
  FROM owned o CROSS JOIN runs r ON r.run_id = o.run_id)
"""
_TOGETHER = """
SELECT user_id, {session}, count(DISTINCT session_id), sum(turn), count(*), min(started_at),
  max(ended_at), total(iif(turn, duration, 0.0)), coalesce(sum(llm_calls), 0),
  coalesce(sum(unmetered_calls), 0), CAST(total(total_tokens) AS INTEGER),
  CAST(total(priced_tokens) AS INTEGER), sum(total_cost), {agents}
FROM of_runs LEFT JOIN spent USING (run_id) GROUP BY 1, 2
"""
# Of a run `r`, without looking at who called it.
_OF_RUN = """coalesce(r.user_id, (SELECT iif(count(*) = 1, max(u.user_id), NULL)
  FROM session_users u WHERE u.session_id = r.session_id))"""
# The sessions of several users.
_SHARED = "SELECT session_id FROM session_users {among} GROUP BY session_id HAVING count(*) > 1"
_SHARED_BY_RUNS = """SELECT session_id FROM runs WHERE session_id IS NOT NULL
  AND user_id IS NOT NULL GROUP BY session_id HAVING count(DISTINCT user_id) > 1"""
_OUTSIDE = "SELECT * FROM runs WHERE session_id IS NULL"
_OUTSIDE_LISTED = f"""
SELECT r.* FROM outside_runs o CROSS JOIN runs r ON r.id = o.id
UNION ALL SELECT r.* FROM runs r WHERE {NEWER} AND r.session_id IS NULL
"""  # noqa: S608
# No index covers runs outside sessions; this checks cheaply whether there are any.
_ANY_OUTSIDE = """
SELECT (SELECT count(*) FROM runs) > (SELECT coalesce(sum(run_count), 0) FROM sessions)
"""


class UserParts(NamedTuple):
    """Parts of a statement: a WITH clause, and a SELECT of the rows.

    The rows have `user_id`, `session_id`, `session_count` and `COLUMNS`.
    """

    owned: str
    rows: str


def user_of_run(conn: sqlite3.Connection) -> str:
    """Return SQL for the user of a run `r`: whom it names, or the only one of its session.

    In a file of an earlier version, whose sessions are not counted, only the first.
    """
    return _OF_RUN if turn_columns(conn).are_counted else "r.user_id"


def outside_runs(conn: sqlite3.Connection, summed: bool) -> str | None:
    """Return a SELECT of all runs outside sessions; None if there are none.

    `summed`: the totals of the file are used, which list most of these runs.
    """
    if summed:
        return _OUTSIDE_LISTED
    return _OUTSIDE if conn.execute(_ANY_OUTSIDE).fetchone()[0] else None


def user_parts(
    conn: sqlite3.Connection,
    *,
    among: str | None = None,
    outside: str | None = None,
    by_session: bool = False,
) -> UserParts:
    """Return what users have in all sessions, or `among` a set of ids, and in the runs `outside`.

    A row for each user; or `by_session` for each user of each session, with the agents.
    """
    turns = turn_columns(conn)
    of_some = f"WHERE session_id IN {among}" if among else ""
    shared = _SHARED.format(among=of_some) if turns.are_counted else _SHARED_BY_RUNS
    seeds = f"UNION ALL SELECT run_id, user_id, parent_workflow_id, NULL, 0 FROM ({outside})"  # noqa: S608
    owned = _OWNED.format(
        shared=shared, outside=seeds if outside else "", turn=TURN, known=usage_known(conn)
    )
    alone = _ALONE.format(
        session="s.session_id" if by_session else "NULL",
        agents="s.agents" if by_session else "NULL",
        turns=turns,
        unmetered=unmetered_calls(conn),
        among=f"AND s.session_id IN {among}" if among else "",
    )
    together = _TOGETHER.format(
        session="session_id" if by_session else "NULL",
        agents="json_group_array(DISTINCT agent_name)" if by_session else "NULL",
    )
    return UserParts(owned, f"{alone} UNION ALL {together}")
