"""Statistics over sessions: turns, one-turn sessions, cost, duration."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.queries.analysis_rows import Statistics
from waxlocal.queries.filters import EVERYTHING, SessionFilter
from waxlocal.queries.histogram import Bin, bins
from waxlocal.queries.many_sessions import Counts, ManySessions, many_sessions
from waxlocal.queries.ordered_values import Values
from waxlocal.queries.percentiles import median
from waxlocal.queries.session_ends import Ends
from waxlocal.queries.snapshot import in_snapshot

__all__ = ["Analysis", "analysis", "statistics"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Statistics, and a histogram of the known costs: each bin counts sessions."""

    statistics: Statistics
    costs: tuple[Bin, ...]


@in_snapshot
def statistics(
    conn: sqlite3.Connection,
    *,
    filter: SessionFilter = EVERYTHING,
    clock: Clock = SYSTEM_CLOCK,
) -> Statistics:
    """Return statistics over all sessions that match the filter, in one pass.

    With `since` or `until` they are of what happened between these times: of the turns that began
    then, and of the calls that ended then. The clock tells which sessions are over.
    """
    return _statistics(many_sessions(conn, filter, clock))


@in_snapshot
def analysis(
    conn: sqlite3.Connection,
    *,
    filter: SessionFilter = EVERYTHING,
    clock: Clock = SYSTEM_CLOCK,
) -> Analysis:
    """Return `statistics` and a histogram of the known costs, in the same pass."""
    found = many_sessions(conn, filter, clock)
    figures = _statistics(found)
    return Analysis(figures, tuple(bins(found.costs)))


def _statistics(found: ManySessions) -> Statistics:
    counts = found.counts
    slow_after = found.means.percentile(0.95)
    ends = found.ends(slow_after)
    return Statistics(
        sessions=counts.sessions,
        runs=counts.runs,
        **_turns(counts),
        **_ends(ends),
        slow_after=slow_after,
        sessions_without_calls=counts.without_calls,
        priced_sessions=found.costs.count,
        total_cost=counts.cost if found.costs.count else None,
        **_spread("cost", counts.cost, found.costs),
        **_spread("duration", counts.duration, found.durations),
        **_spread("elapsed", counts.elapsed, found.elapsed),
        **_spread("waiting", counts.waiting, found.waiting),
        users=found.visits.users,
        returning_users=found.visits.returning,
        llm_calls=counts.calls,
        unmetered_calls=counts.unmetered,
        total_tokens=counts.tokens,
        priced_tokens=counts.priced_tokens,
    )


def _turns(counts: Counts) -> dict[str, Any]:
    sessions = counts.distribution.total()
    return {
        "turns": counts.turns,
        "average_turns": counts.turns / sessions if sessions else None,
        "median_turns": median(counts.distribution),
        "distribution": dict(sorted(counts.distribution.items())),
    }


def _ends(ends: Ends) -> dict[str, Any]:
    over = ("fine", "error", "slow")
    return {
        "abandoned": sum(ends.counts[end] for end in over),
        **{f"abandoned_{end}": ends.counts[end] for end in over},
        **{f"abandoned_{end}_cost": ends.cost(end) for end in over},
        "not_over": ends.counts["going"],
    }


def _spread(name: str, total: float, values: Values) -> dict[str, Any]:
    return {
        f"average_{name}": total / values.count if values.count else None,
        f"p50_{name}": values.percentile(0.50),
        f"p95_{name}": values.percentile(0.95),
        f"p99_{name}": values.percentile(0.99),
    }
