"""Model usage over time, read in chunks: one query over a million calls would take too long.

Each chunk is a separate query, so that a server can do other work in between.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field

from waxlocal.prices.table import PricesByModel, source_for
from waxlocal.queries.analysis_rows import ModelUse, place_in_list
from waxlocal.queries.columns import usage_known
from waxlocal.queries.filters import EVERYTHING, SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.percentiles import percentile_of_counts
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.time_buckets import Timeline, timeline_of

__all__ = ["CostOverTime", "Usage", "add_usage", "session_usage"]

# Calls per chunk; a chunk takes about 0.1 s.
CALLS_AT_ONCE = 50_000
# The last character of Unicode sorts after every id.
_BEHIND_ALL = "\U0010ffff"

_LAST_OF_PIECE = """
SELECT run_id FROM llm_calls WHERE run_id > :after ORDER BY run_id LIMIT 1 OFFSET :most
"""
_IN_PIECE = """
run_id > :after AND run_id <= :last
AND (:since IS NULL OR recorded_at >= :since) AND (:until IS NULL OR recorded_at <= :until)
"""
# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_SUMS = """substr(c.recorded_at, 1, 13) AS hour, c.model, c.provider, count(*) AS calls,
  sum(c.status = 'error') AS errors, sum({known} = 0) AS unmetered_calls,
  CAST(total(c.tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(c.tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(c.cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)) AS INTEGER) AS priced_tokens,
  sum(c.cost) AS cost"""
_BY_HOUR = f"SELECT {_SUMS} FROM llm_calls c WHERE {_IN_PIECE} GROUP BY 1, 2, 3"  # noqa: S608
_DURATIONS = f"""
SELECT model, provider, duration_ms, count(*) FROM llm_calls
WHERE {_IN_PIECE} AND duration_ms IS NOT NULL GROUP BY 1, 2, 3
"""  # noqa: S608
_OF_SESSIONS = f"""
SELECT {_SUMS} FROM sessions s CROSS JOIN runs r ON r.session_id = s.session_id
CROSS JOIN llm_calls c ON c.run_id = r.run_id
  AND c.recorded_at >= coalesce(:since, '') AND (:until IS NULL OR c.recorded_at <= :until)
{{condition}} GROUP BY 1, 2, 3
"""  # noqa: S608


@dataclass
class _ModelSum:
    """Totals of one model of one provider."""

    calls: int = 0
    unmetered_calls: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    priced_tokens: int = 0
    cost: float | None = None
    durations: Counter[int] = field(default_factory=Counter)
    cost_by_hour: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class CostOverTime:
    """Dollars over time: the most expensive models by name, the others combined."""

    timeline: Timeline
    series: tuple[tuple[str, tuple[float, ...]], ...]


class Usage:
    """Adds up the chunks; `after` is where the next chunk begins, None after the last."""

    def __init__(self) -> None:
        self.after: str | None = ""
        self.calls = 0
        self._models: dict[tuple[str, str], _ModelSum] = {}
        self._hours: set[str] = set()

    def add_hours(self, rows: list[sqlite3.Row]) -> None:
        """Add sums by hour and model."""
        for row in rows:
            total = self._models.setdefault((row["model"], row["provider"]), _ModelSum())
            for name in (
                "calls",
                "unmetered_calls",
                "errors",
                "tokens_in",
                "tokens_out",
                "cached_tokens",
                "priced_tokens",
            ):
                setattr(total, name, getattr(total, name) + row[name])
            self.calls += row["calls"]
            self._hours.add(row["hour"])
            if row["cost"] is not None:
                total.cost = (total.cost or 0.0) + row["cost"]
                total.cost_by_hour[row["hour"]] += row["cost"]

    def add_durations(self, rows: list[sqlite3.Row]) -> None:
        """Add the count of each duration, by model."""
        for model, provider, duration_ms, calls in rows:
            self._models[model, provider].durations[duration_ms] += calls

    def models(self, prices: PricesByModel) -> list[ModelUse]:
        """Return every model: those that need a price first, then by cost."""
        found = [
            ModelUse(
                model=model,
                provider=provider,
                calls=total.calls,
                unmetered_calls=total.unmetered_calls,
                errors=total.errors,
                tokens_in=total.tokens_in,
                tokens_out=total.tokens_out,
                cached_tokens=total.cached_tokens,
                priced_tokens=total.priced_tokens,
                total_cost=total.cost,
                p50_ms=percentile_of_counts(total.durations, 0.50),
                p95_ms=percentile_of_counts(total.durations, 0.95),
                price_source=source_for(prices, model, provider),
            )
            for (model, provider), total in self._models.items()
        ]
        return sorted(found, key=place_in_list)

    def cost_over_time(self, most: int = 4) -> CostOverTime | None:
        """Return the cost over time of the most expensive models and of the others.

        None if no cost is known. A model that was called through several providers counts once.
        """
        by_model: dict[str, Counter[str]] = {}
        for (model, _provider), total in self._models.items():
            if total.cost is not None:
                by_model.setdefault(model, Counter()).update(total.cost_by_hour)
        if not by_model or not self._hours:
            return None
        timeline = timeline_of(f"{min(self._hours)}:00:00Z", f"{max(self._hours)}:00:00Z")
        costliest = sorted(by_model, key=lambda model: (-by_model[model].total(), model))
        series = [(model, _placed(timeline, by_model[model])) for model in costliest[:most]]
        if rest := costliest[most:]:
            together: Counter[str] = Counter()
            for model in rest:
                together.update(by_model[model])
            series.append((f"{len(rest)} others", _placed(timeline, together)))
        return CostOverTime(timeline, tuple(series))


def _placed(timeline: Timeline, by_hour: Counter[str]) -> tuple[float, ...]:
    placed = [0.0] * timeline.count
    for hour, dollars in by_hour.items():
        placed[timeline.place(hour)] += dollars
    return tuple(placed)


@in_snapshot
def add_usage(
    conn: sqlite3.Connection,
    usage: Usage,
    *,
    since: str | None = None,
    until: str | None = None,
    most: int = CALLS_AT_ONCE,
) -> None:
    """Add the next chunk: about `most` calls, of the runs after `usage.after`.

    `since` and `until` are stored times that limit when a call ended, both inclusive.
    """
    place = {"after": usage.after, "most": most}
    last = conn.execute(_LAST_OF_PIECE, place).fetchone()
    bounds = {
        "after": usage.after,
        "last": _BEHIND_ALL if last is None else last[0],
        "since": since,
        "until": until,
    }
    usage.add_hours(conn.execute(_BY_HOUR.format(known=usage_known(conn)), bounds).fetchall())
    usage.add_durations(conn.execute(_DURATIONS, bounds).fetchall())
    usage.after = None if last is None else last[0]


def session_usage(conn: sqlite3.Connection, *, filter: SessionFilter = EVERYTHING) -> Usage:
    """Return model usage, without durations, in the sessions that match the filter.

    With `since` or `until`, of the calls that ended between these times.
    """
    condition, values = where(conn, filter, GoneProcesses(conn), has_part=True)
    usage = Usage()
    query = _OF_SESSIONS.format(condition=condition, known=usage_known(conn))
    bounds: dict[str, object] = {"since": None, "until": None}
    usage.add_hours(conn.execute(query, bounds | values).fetchall())
    usage.after = None
    return usage
