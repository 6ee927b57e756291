"""Statistics over sessions: turns, one-turn sessions, cost, duration."""

from __future__ import annotations

import sqlite3
from collections import Counter
from operator import truediv
from typing import Any

from waxlocal.queries.analysis_rows import Statistics
from waxlocal.queries.filters import EVERYTHING, SessionFilter
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.percentiles import average, median, percentile
from waxlocal.queries.session_figures import SessionFigures, session_figures
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.records import RunStatus

__all__ = ["session_costs", "statistics"]


@in_snapshot
def statistics(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> Statistics:
    """Return statistics over all sessions that match the filter, in one pass.

    With `since` or `until` they are of what happened between these times: of the turns that began
    then, and of the calls that ended then.
    """
    gone = GoneProcesses(conn)
    found = session_figures(conn, filter, gone)
    # A session may have calls in a period and no turn: they are of one that began before it.
    pairs = zip(found.turns, found.durations, strict=True)
    with_turns = [pair for pair in pairs if pair[0]]
    turns = [count for count, _ in with_turns]
    durations = [spent for _, spent in with_turns]
    slow_after = percentile(sorted(map(truediv, durations, turns)), 0.95)
    ends = _ends(found, slow_after, gone)
    return Statistics(
        sessions=len(found.turns),
        turns=sum(turns),
        runs=sum(found.runs),
        **_turns(turns),
        abandoned=sum(ends.values()),
        abandoned_fine=ends["fine"],
        abandoned_error=ends["error"],
        abandoned_slow=ends["slow"],
        abandoned_open=ends["open"],
        slow_after=slow_after,
        sessions_without_calls=found.calls.count(0),
        **_costs(_known(found)),
        **_durations(sorted(durations)),
        llm_calls=sum(found.calls),
        unmetered_calls=sum(found.unmetered),
        total_tokens=sum(found.tokens),
        priced_tokens=sum(found.priced_tokens),
    )


@in_snapshot
def session_costs(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> list[float]:
    """Return the known costs of the sessions in `statistics`, in dollars, smallest first."""
    return _known(session_figures(conn, filter, GoneProcesses(conn)))


def _known(found: SessionFigures) -> list[float]:
    return sorted(cost for cost in found.costs if cost is not None)


def _turns(turns: list[int]) -> dict[str, Any]:
    distribution = dict(sorted(Counter(turns).items()))
    return {
        "average_turns": average(turns),
        "median_turns": median(distribution),
        "distribution": distribution,
    }


def _ends(found: SessionFigures, slow_after: float | None, gone: GoneProcesses) -> Counter[str]:
    """Count the one-turn sessions by how their turn ended; one whose process has ended failed."""
    limit = float("inf") if slow_after is None else slow_after
    open_ids = [one for one in found.open_alone if one is not None]
    statuses = gone.session_statuses(open_ids) if open_ids else {}
    ends: Counter[str] = Counter()
    columns = (found.single, found.failed, found.durations, found.open_alone)
    for single, bad, duration, open_id in zip(*columns, strict=True):
        if single:
            shown = set() if open_id is None else statuses.get(open_id, set())
            ends[_end(shown, bool(bad), duration > limit)] += 1
    return ends


def _end(shown: set[str], bad: bool, slow: bool) -> str:
    if RunStatus.RUNNING in shown:
        return "open"
    if bad or RunStatus.INTERRUPTED in shown:
        return "error"
    return "slow" if slow else "fine"


def _costs(costs: list[float]) -> dict[str, Any]:
    return {
        "priced_sessions": len(costs),
        "total_cost": sum(costs) if costs else None,
        "average_cost": average(costs),
        "p50_cost": percentile(costs, 0.50),
        "p95_cost": percentile(costs, 0.95),
        "p99_cost": percentile(costs, 0.99),
    }


def _durations(durations: list[float]) -> dict[str, Any]:
    return {
        "average_duration": average(durations),
        "p50_duration": percentile(durations, 0.50),
        "p95_duration": percentile(durations, 0.95),
        "p99_duration": percentile(durations, 0.99),
    }
