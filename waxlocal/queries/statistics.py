"""Statistics over sessions: turns, one-turn sessions, cost, duration."""

from __future__ import annotations

import sqlite3
from collections import Counter
from operator import truediv
from typing import Any

from waxlocal.queries.analysis_rows import Statistics
from waxlocal.queries.columns import unmetered_calls
from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.percentiles import average, median, percentile
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.records import RunStatus

__all__ = ["statistics"]

_COLUMNS = """s.run_count, s.failed_runs, s.open_runs, s.total_duration, s.total_cost,
  s.total_tokens, s.priced_tokens, s.llm_calls, {unmetered}"""
_PIECE = 500
_OPEN_AND_ALONE = "s.run_count = 1 AND s.open_runs = 1"


@in_snapshot
def statistics(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> Statistics:
    """Return statistics over all sessions that match the filter, in one pass."""
    gone = GoneProcesses(conn)
    condition, values = where(conn, filter, gone)
    cursor = conn.cursor()
    # Plain tuples: a hundred thousand `sqlite3.Row` objects would take longer than the query.
    cursor.row_factory = None
    columns = _COLUMNS.format(unmetered=unmetered_calls(conn))
    cursor.execute(f"SELECT {columns} FROM sessions s {condition}", values)  # noqa: S608
    turns, failed, open_runs, durations, costs, *sums = _columns(cursor)
    tokens, priced_tokens, calls, unmetered = map(sum, sums)
    without_calls = sums[2].count(0)
    slow_after = percentile(sorted(map(truediv, durations, turns)), 0.95)
    lost = _interrupted(conn, condition, values, gone) if 1 in open_runs else 0
    ends = _ends(turns, failed, open_runs, durations, slow_after)
    return Statistics(
        sessions=len(turns),
        runs=sum(turns),
        **_turns(turns),
        abandoned=sum(ends.values()),
        abandoned_fine=ends["fine"],
        abandoned_error=ends["error"] + lost,
        abandoned_slow=ends["slow"],
        abandoned_open=ends["open"] - lost,
        slow_after=slow_after,
        sessions_without_calls=without_calls,
        **_costs(sorted(cost for cost in costs if cost is not None)),
        **_durations(sorted(durations)),
        llm_calls=calls,
        unmetered_calls=unmetered,
        total_tokens=tokens,
        priced_tokens=priced_tokens,
    )


def _columns(cursor: sqlite3.Cursor) -> list[list[Any]]:
    """Return all rows of a result as columns.

    Reads in small batches: a hundred thousand live tuples trigger the garbage collector again and
    again, which takes half of the total time.
    """
    columns: list[list[Any]] = [[] for _ in cursor.description]
    while rows := cursor.fetchmany(_PIECE):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(values)
    return columns


def _turns(turns: list[int]) -> dict[str, Any]:
    distribution = dict(sorted(Counter(turns).items()))
    return {
        "average_turns": average(turns),
        "median_turns": median(distribution),
        "distribution": distribution,
    }


def _ends(
    turns: list[int],
    failed: list[int],
    open_runs: list[int],
    durations: list[float],
    slow_after: float | None,
) -> Counter[str]:
    """Count the one-run sessions by how their run ended."""
    limit = float("inf") if slow_after is None else slow_after
    ends: Counter[str] = Counter()
    for runs, bad, going, duration in zip(turns, failed, open_runs, durations, strict=True):
        if runs == 1:
            ends[
                "error" if bad else "open" if going else "slow" if duration > limit else "fine"
            ] += 1
    return ends


def _interrupted(
    conn: sqlite3.Connection, condition: str, values: dict[str, object], gone: GoneProcesses
) -> int:
    """Count the one-run sessions whose run is stored as open but whose process has ended."""
    alone = f"{condition} AND {_OPEN_AND_ALONE}" if condition else f"WHERE {_OPEN_AND_ALONE}"
    sql = f"SELECT s.session_id FROM sessions s {alone}"  # noqa: S608
    ids = [row[0] for row in conn.execute(sql, values).fetchall()]
    statuses = gone.session_statuses(ids)
    return sum(shown == {RunStatus.INTERRUPTED} for shown in statuses.values())


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
