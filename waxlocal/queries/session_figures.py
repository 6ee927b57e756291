"""The figures of each session that statistics are made of: of all of it, or of a period."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from waxlocal.queries.columns import unmetered_calls, usage_known
from waxlocal.queries.filters import SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.times import seconds_between
from waxlocal.queries.turns import HAS_FAILED, TURN, turn_columns

__all__ = ["Figures", "figures_of", "session_figures"]

# Few at a time: they are never all in memory, and a hundred thousand live tuples would trigger the
# garbage collector again and again, which takes half of the total time.
_PIECE = 500
_WHOLE = """
SELECT {turns.count}, {turns.count} = 1, {turns.failed}, {turns.duration},
  {turns.cost}, s.total_tokens, s.priced_tokens, s.llm_calls, {unmetered}, s.run_count,
  {turns.elapsed}, {turns.users}, {turns.last_activity} >= :over_before,
  iif(s.open_runs > 0 AND {turns.count} = 1 AND {turns.failed} = 0, s.session_id, NULL)
FROM sessions s {condition}
"""
# Of a session that lies within the period, that is what it has there.
_WITHIN = """s.open_runs = 0 AND s.first_run_at >= coalesce(:since, '')
  AND (:until IS NULL OR {turns.last_activity} <= :until)"""
# A run is in the period in which it began, a call in the one in which it ended: so a period has the
# calls of a run that began before it.
_IN_PERIOD = f"""
WITH chosen AS MATERIALIZED (
  SELECT s.session_id, {{turns.count}} AS turn_count,
    {{turns.last_activity}} >= :over_before AS recent FROM sessions s {{condition}}),
begun AS MATERIALIZED (  -- so that what is a turn is looked up once
  SELECT r.session_id, r.user_id, {TURN} AS turn, r.status, r.duration, r.started_at,
    max(r.started_at, coalesce(r.completed_at, '')) AS last_at
  FROM chosen CROSS JOIN runs r ON r.session_id = chosen.session_id
  WHERE r.started_at >= coalesce(:since, '') AND (:until IS NULL OR r.started_at <= :until)),
of_runs AS (
  SELECT session_id, count(*) AS runs, sum(turn) AS turns,
    sum(turn AND {HAS_FAILED}) AS failed,
    sum(status = 'running') AS open_runs, total(iif(turn, duration, 0.0)) AS duration,
    {seconds_between("min(started_at)", "max(last_at)")} AS elapsed,
    -- hex makes an empty text of NULL, and of one
    group_concat(DISTINCT iif(user_id IS NULL, NULL, 'x' || hex(user_id))) AS users
  FROM begun r GROUP BY session_id),
of_calls AS (
  SELECT r.session_id, sum(c.cost) AS cost,
    CAST(total(c.tokens_in + c.tokens_out) AS INTEGER) AS tokens,
    CAST(total(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)) AS INTEGER) AS priced_tokens,
    count(*) AS calls, sum({{known}} = 0) AS unmetered
  FROM chosen CROSS JOIN runs r ON r.session_id = chosen.session_id
  CROSS JOIN llm_calls c ON c.run_id = r.run_id
  WHERE c.recorded_at >= coalesce(:since, '') AND (:until IS NULL OR c.recorded_at <= :until)
  GROUP BY r.session_id)
SELECT coalesce(turns, 0), coalesce(turns, 0) = 1 AND turn_count = 1, coalesce(failed, 0),
  coalesce(duration, 0.0), iif(calls IS NULL, 0.0, cost),
  coalesce(tokens, 0), coalesce(priced_tokens, 0), coalesce(calls, 0), coalesce(unmetered, 0),
  coalesce(runs, 0), coalesce(elapsed, 0.0), users, recent,
  iif(turns = 1 AND turn_count = 1 AND failed = 0 AND open_runs > 0, session_id, NULL)
FROM chosen LEFT JOIN of_runs USING (session_id) LEFT JOIN of_calls USING (session_id)
WHERE runs IS NOT NULL OR calls IS NOT NULL
"""  # noqa: S608


class Figures(NamedTuple):
    """Some sessions: columns of equal length, one entry per session.

    `users` are those who took part, as x and hex digits, with commas between.
    `single`: the session has this one turn, and none outside the period either. `recent`: it may
    still go on. `open_alone` is its id where it has a run that is stored as running: the process
    may have ended.
    """

    turns: tuple[int, ...]
    single: tuple[int, ...]
    failed: tuple[int, ...]
    durations: tuple[float, ...]
    costs: tuple[float | None, ...]
    tokens: tuple[int, ...]
    priced_tokens: tuple[int, ...]
    calls: tuple[int, ...]
    unmetered: tuple[int, ...]
    runs: tuple[int, ...]
    elapsed: tuple[float, ...]
    users: tuple[str | None, ...]
    recent: tuple[int, ...]
    open_alone: tuple[str | None, ...]


def session_figures(
    conn: sqlite3.Connection, filter: SessionFilter, gone: GoneProcesses, over_before: str
) -> Iterator[Figures]:
    """Give the figures of the sessions that match the filter, some at a time.

    A session is recent if it was active at `over_before` or later.
    With `since` or `until` they are those of the runs and calls between these times, of each
    session that has one there.
    """
    period = bool(filter.since or filter.until)
    condition, values = where(conn, filter, gone, has_part=period)
    within = _WITHIN.format(turns=turn_columns(conn))
    parts = (
        ((_WHOLE, f"{condition} AND {within}"), (_IN_PERIOD, f"{condition} AND NOT ({within})"))
        if period
        else ((_WHOLE, condition),)
    )
    defaults = {"since": None, "until": None, "over_before": over_before}
    return _figures(conn, parts, defaults | values)


def figures_of(conn: sqlite3.Connection, ids: str, over_before: str) -> Iterator[Figures]:
    """Give the figures of all of each of these sessions; `ids` is a set of ids, as SQL."""
    parts = [(_WHOLE, f"WHERE s.session_id IN {ids}")]
    return _figures(conn, parts, {"over_before": over_before})


def _figures(
    conn: sqlite3.Connection, parts: Iterable[tuple[str, str]], values: dict[str, object]
) -> Iterator[Figures]:
    cursor = conn.cursor()
    # Plain tuples: a hundred thousand `sqlite3.Row` objects would take longer than the query.
    cursor.row_factory = None
    for query, condition in parts:
        sql = query.format(
            turns=turn_columns(conn),
            unmetered=unmetered_calls(conn),
            known=usage_known(conn),
            condition=condition,
        )
        cursor.execute(sql, values)
        while rows := cursor.fetchmany(_PIECE):
            yield Figures(*zip(*rows, strict=True))
