"""Totals, costs and activity of many sessions, cheaper to compute than full statistics."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from waxlocal.queries.columns import unmetered_calls, usage_known
from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.many_sessions import SummedSessions, summed_sessions
from waxlocal.queries.percentiles import place_of
from waxlocal.queries.rows import MeteredCalls, share
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.time_buckets import Timeline, timeline_of
from waxlocal.queries.turns import TURN, turn_columns

__all__ = ["Activity", "SessionTotals", "activity", "session_totals", "turn_sizes"]

_TOTALS = """
SELECT count(*) AS sessions, total({turns.count}) AS turns, total(s.run_count) AS runs,
  total({turns.count} = 1) AS one_turn,
  total(s.llm_calls) AS llm_calls, total({unmetered}) AS unmetered_calls,
  total(s.total_tokens) AS total_tokens, total(s.priced_tokens) AS priced_tokens,
  sum({turns.cost}) AS cost, count({turns.cost}) AS known
FROM sessions s {condition}
"""
_COST_AT = """
SELECT {turns.cost} FROM sessions s {condition} {turns.cost} IS NOT NULL
ORDER BY 1 LIMIT 1 OFFSET :place
"""
_HOURS = """
SELECT substr(s.last_activity_at, 1, 13) AS hour, count(*) FROM sessions s {condition}
GROUP BY hour ORDER BY hour
"""
# The last turns of each session, each with what its sub-agents were asked, however deep.
_TURNS = f"""
WITH RECURSIVE last AS MATERIALIZED (
  SELECT r.run_id, r.workflow_id, r.started_at, r.id FROM runs r
  WHERE r.session_id = :session_id AND {TURN}
  ORDER BY r.started_at DESC, r.id DESC LIMIT :most),
inside (turn, run_id, workflow_id) AS (
  SELECT run_id, run_id, workflow_id FROM last
  UNION
  SELECT i.turn, r.run_id, r.workflow_id FROM inside i JOIN runs r
    ON r.parent_workflow_id = i.workflow_id AND r.session_id = :session_id)
SELECT (SELECT iif(total({{known}}) = 0 AND count(*) > 0, NULL,
    CAST(total(tokens_in + tokens_out) AS INTEGER))
  FROM inside i CROSS JOIN llm_calls c ON c.run_id = i.run_id WHERE i.turn = last.run_id) AS size
FROM last ORDER BY started_at DESC, id DESC
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class SessionTotals(MeteredCalls):
    """Totals over sessions.

    `one_turn` counts sessions with a single turn; `p95_cost` covers sessions with a known cost.
    `total_cost` and `p95_cost` are None if no cost is known.
    """

    sessions: int
    turns: int
    runs: int
    one_turn: int
    llm_calls: int
    unmetered_calls: int
    total_tokens: int
    priced_tokens: int
    total_cost: float | None
    p95_cost: float | None

    @property
    def one_turn_share(self) -> float | None:
        """The share of the sessions with a single turn; None without sessions."""
        return share(self.one_turn, self.sessions)


@dataclass(frozen=True, slots=True)
class Activity:
    """The number of sessions last active in each bucket of a timeline."""

    timeline: Timeline
    counts: tuple[int, ...]


@in_snapshot
def session_totals(
    conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING
) -> SessionTotals:
    """Return totals over the sessions that match the filter; raises `InvalidQuery`."""
    gone = GoneProcesses(conn)
    if (summed := summed_sessions(conn, filter, gone)) is not None:
        return _summed(summed)
    condition, values = where(conn, filter, gone)
    query = _TOTALS.format(
        condition=condition, unmetered=unmetered_calls(conn), turns=turn_columns(conn)
    )
    row = conn.execute(query, values).fetchone()
    known = row["known"]
    p95 = None
    if known:
        sql = _COST_AT.format(
            condition=f"{condition} AND" if condition else "WHERE", turns=turn_columns(conn)
        )
        place = place_of(known, 0.95)
        p95 = conn.execute(sql, values | {"place": place}).fetchone()[0]
    names = ("sessions", "turns", "runs", "one_turn", "llm_calls", "unmetered_calls")
    sums = {name: int(row[name]) for name in (*names, "total_tokens", "priced_tokens")}
    return SessionTotals(**sums, total_cost=row["cost"], p95_cost=p95)


def _summed(found: SummedSessions) -> SessionTotals:
    counts = found.counts
    return SessionTotals(
        sessions=counts.sessions,
        turns=counts.turns,
        runs=counts.runs,
        one_turn=counts.distribution[1],
        llm_calls=counts.calls,
        unmetered_calls=counts.unmetered,
        total_tokens=counts.tokens,
        priced_tokens=counts.priced_tokens,
        total_cost=counts.cost if found.costs.count else None,
        p95_cost=found.costs.percentile(0.95),
    )


def activity(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> Activity | None:
    """Return when the matching sessions were last active; None if none match."""
    condition, values = where(conn, filter, GoneProcesses(conn))
    hours = conn.execute(_HOURS.format(condition=condition), values).fetchall()
    if not hours:
        return None
    timeline = timeline_of(f"{hours[0][0]}:00:00Z", f"{hours[-1][0]}:00:00Z")
    counts = [0] * timeline.count
    for hour, count in hours:
        counts[timeline.place(hour)] += count
    return Activity(timeline, tuple(counts))


@in_snapshot
def turn_sizes(
    conn: sqlite3.Connection, session_ids: list[str], *, most: int = 24
) -> dict[str, tuple[int | None, ...]]:
    """Return the tokens per turn, in order, of the last `most` turns of each session.

    None: there were calls, and nobody told their tokens.
    """
    turns = _TURNS.format(known=usage_known(conn))
    sizes = {}
    for one in session_ids:
        rows = conn.execute(turns, {"session_id": one, "most": most}).fetchall()
        sizes[one] = tuple(row[0] for row in reversed(rows))
    return sizes
