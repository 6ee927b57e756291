"""What calls cost over time, by model: in a period, or in some sessions."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from waxlocal.queries.call_blocks import HOUR, IN_PERIOD, IS_INSIDE, Asked, to_read
from waxlocal.queries.call_sums import CallSums
from waxlocal.queries.filters import SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.time_buckets import Timeline, timeline_of
from waxlocal.queries.times import microseconds
from waxlocal.wording import counted

__all__ = ["CostOverTime", "HourCost", "over_time", "period_costs", "session_costs"]

# A longer time is shown in days or more: see `time_buckets`.
IN_HOURS_US = 31 * 86_400_000_000

_SUMS = f"{HOUR}, c.model, count(*), sum(c.cost)"
_READ = f"SELECT {_SUMS} FROM {{calls}} c WHERE {IN_PERIOD} GROUP BY 1, 2"  # noqa: S608
_OF_BLOCKS = f"""
SELECT hour, model, sum(calls), sum(iif(priced_calls = 0, NULL, total_cost)) FROM hour_sums
WHERE calls > 0 AND block IN (SELECT block FROM call_blocks WHERE {IS_INSIDE}) GROUP BY hour, model
"""  # noqa: S608
_OF_SESSIONS = f"""
SELECT {_SUMS} FROM sessions s CROSS JOIN runs r ON r.session_id = s.session_id
CROSS JOIN llm_calls c ON c.run_id = r.run_id AND {IN_PERIOD}
{{condition}} GROUP BY 1, 2
"""  # noqa: S608


class HourCost(NamedTuple):
    """What calls of a model cost in an hour (`2026-01-31T09`, UTC), None where that is unknown.

    The hour is empty where a call has no valid day, the first one where it has no valid hour.
    """

    hour: str
    model: str
    calls: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class CostOverTime:
    """Dollars over time: the most expensive models by name, the others combined."""

    timeline: Timeline
    series: tuple[tuple[str, tuple[float, ...]], ...]


def period_costs(
    conn: sqlite3.Connection, asked: Asked, sums: Sequence[CallSums]
) -> list[HourCost]:
    """Return the costs of calls by hour, or by day over a long time; `sums` is theirs.

    Of any agent. Call it in the `snapshot` of `call_sums`.
    """
    days = sorted(filter(None, (microseconds(f"{one.date}T00:00:00Z") for one in sums)))
    if days and days[-1] - days[0] > IN_HOURS_US:
        return [
            HourCost(one.date and f"{one.date}T00", one.model, one.calls, one.total_cost)
            for one in sums
        ]
    values = asked._asdict()
    calls, summed = to_read(conn, asked)
    rows = conn.execute(_READ.format(calls=calls), values).fetchall()
    if summed:
        rows += conn.execute(_OF_BLOCKS, values).fetchall()
    return [HourCost(*row) for row in rows]


@in_snapshot
def session_costs(conn: sqlite3.Connection, filter: SessionFilter) -> list[HourCost]:
    """Return the costs of calls by hour, in the sessions that match the filter.

    With `since` or `until`, of the calls that ended between these times.
    """
    condition, values = where(conn, filter, GoneProcesses(conn), has_part=True)
    query = _OF_SESSIONS.format(condition=condition)
    bounds: dict[str, object] = {"since": None, "until": None}
    return [HourCost(*row) for row in conn.execute(query, bounds | values).fetchall()]


def over_time(costs: Iterable[HourCost], most: int = 4) -> CostOverTime | None:
    """Return the cost over time of the `most` expensive models and of the others.

    None if no cost is known. A model that was called through several providers counts once.
    """
    placed = [one for one in costs if one.hour]
    by_model: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in placed:
        if one.cost is not None:
            by_model[one.model][one.hour] += one.cost
    if not by_model:
        return None
    hours = {one.hour for one in placed}
    timeline = timeline_of(f"{min(hours)}:00:00Z", f"{max(hours)}:00:00Z")
    costliest = sorted(by_model, key=lambda model: (-sum(by_model[model].values()), model))
    series = [(model, _placed(timeline, by_model[model])) for model in costliest[:most]]
    if rest := costliest[most:]:
        others = [_placed(timeline, by_model[model]) for model in rest]
        series.append((counted(len(rest), "other"), tuple(map(sum, zip(*others, strict=True)))))
    return CostOverTime(timeline, tuple(series))


def _placed(timeline: Timeline, by_hour: Mapping[str, float]) -> tuple[float, ...]:
    placed = [0.0] * timeline.count
    for hour, dollars in by_hour.items():
        placed[timeline.place(hour)] += dollars
    return tuple(placed)
