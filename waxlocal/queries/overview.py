"""Totals, costs and activity of many sessions, cheaper to compute than full statistics."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from waxlocal.queries.columns import unmetered_calls, usage_known
from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.many_sessions import SummedSessions, summed_sessions
from waxlocal.queries.rows import MeteredCalls, share
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.time_buckets import Timeline, timeline_of
from waxlocal.queries.turns import TURN, turn_columns

__all__ = ["Activity", "Overview", "SessionTotals", "overview", "turn_sizes"]

# One pass: a condition may have to look at the runs of each session. The p95 is the value at the
# index that `percentile` takes.
_BY_HOUR = """
WITH found AS MATERIALIZED (
  SELECT substr(s.last_activity_at, 1, 13) AS hour, {turns.count} AS turns, s.run_count AS runs,
    s.llm_calls, {unmetered} AS unmetered_calls, s.total_tokens, s.priced_tokens,
    {turns.cost} AS cost
  FROM sessions s {condition})
SELECT hour, count(*) AS sessions, total(turns) AS turns, total(runs) AS runs,
  total(turns = 1) AS one_turn, total(llm_calls) AS llm_calls,
  total(unmetered_calls) AS unmetered_calls, total(total_tokens) AS total_tokens,
  total(priced_tokens) AS priced_tokens, total(cost) AS cost, count(cost) AS known,
  (SELECT cost FROM found WHERE cost IS NOT NULL ORDER BY cost LIMIT 1 OFFSET (
    SELECT min(count(cost) - 1, CAST(count(cost) * 0.95 AS INTEGER)) FROM found)) AS p95
FROM found GROUP BY hour ORDER BY hour
"""
_HOURS = """
SELECT substr(s.last_activity_at, 1, 13) AS hour, count(*) AS sessions FROM sessions s
GROUP BY hour ORDER BY hour
"""
_COUNTS = ("sessions", "turns", "runs", "one_turn", "llm_calls", "unmetered_calls")
_TOKENS = ("total_tokens", "priced_tokens")
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


@dataclass(frozen=True, slots=True)
class Overview:
    """What sessions have together, and when they were last active: None if there are none."""

    totals: SessionTotals
    activity: Activity | None


@in_snapshot
def overview(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> Overview:
    """Return the totals and the activity of the sessions that match; raises `InvalidQuery`."""
    gone = GoneProcesses(conn)
    if (summed := summed_sessions(conn, filter, gone)) is not None:
        return Overview(_summed(summed), _activity(conn.execute(_HOURS).fetchall()))
    condition, values = where(conn, filter, gone)
    query = _BY_HOUR.format(
        condition=condition, unmetered=unmetered_calls(conn), turns=turn_columns(conn)
    )
    hours = conn.execute(query, values).fetchall()
    return Overview(_added(hours), _activity(hours))


def _added(hours: Sequence[sqlite3.Row]) -> SessionTotals:
    sums = {name: int(sum(row[name] for row in hours)) for name in (*_COUNTS, *_TOKENS)}
    # Where two infinities of different sign meet, SQLite's sum is NULL.
    costs = [math.nan if row["cost"] is None else row["cost"] for row in hours]
    cost = float(sum(costs))
    is_known = any(row["known"] for row in hours) and not math.isnan(cost)
    return SessionTotals(
        **sums,
        total_cost=cost if is_known else None,
        p95_cost=hours[0]["p95"] if hours else None,
    )


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


def _activity(hours: Sequence[sqlite3.Row]) -> Activity | None:
    if not hours:
        return None
    timeline = timeline_of(*(f"{row['hour']}:00:00Z" for row in (hours[0], hours[-1])))
    counts = [0] * timeline.count
    for row in hours:
        counts[timeline.place(row["hour"])] += row["sessions"]
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
