"""Usage, cost, latency and errors per model."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.encode import text
from waxlocal.prices.table import prices_by_model, source_for
from waxlocal.queries.analysis_rows import ModelUse, place_in_list
from waxlocal.queries.columns import usage_known
from waxlocal.queries.percentiles import percentile_of_counts
from waxlocal.queries.times import parse_time

__all__ = ["list_models"]

# Also grouped by duration: counts of equal durations are enough for percentiles, in far fewer rows
# than one per call.
# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_CALLS = """
SELECT model, provider, duration_ms, count(*) AS calls, sum(status = 'error') AS errors,
  sum({known} = 0) AS unmetered_calls,
  CAST(total(tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(iif(cost IS NULL, 0, tokens_in + tokens_out)) AS INTEGER) AS priced_tokens,
  sum(cost) AS total_cost
FROM {calls}
WHERE (:since IS NULL OR recorded_at >= :since) AND (:until IS NULL OR recorded_at <= :until)
GROUP BY model, provider, duration_ms
"""
_OF_AGENT = (
    "(SELECT run_id FROM runs WHERE agent_name = :agent) CROSS JOIN llm_calls USING (run_id)"
)


def list_models(
    conn: sqlite3.Connection,
    *,
    since: str | None = None,
    until: str | None = None,
    agent: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> list[ModelUse]:
    """Return every model that was called: those that need a price first, then by cost.

    `since` and `until` limit when calls ended, in any form that `parse_time` accepts; `agent`
    limits them to that agent's runs. Raises `InvalidQuery`.
    """
    bounds = {
        "since": parse_time(since, clock=clock) if since else None,
        "until": parse_time(until, end=True, clock=clock) if until else None,
    }
    prices = prices_by_model(conn)
    if agent:
        bounds["agent"] = text(agent)
    query = _CALLS.format(calls=_OF_AGENT if agent else "llm_calls", known=usage_known(conn))
    rows = conn.execute(query, bounds).fetchall()
    models = [
        _model(list(group), source_for(prices, *key))
        for key, group in groupby(rows, itemgetter("model", "provider"))
    ]
    return sorted(models, key=place_in_list)


def _model(rows: Sequence[sqlite3.Row], source: str | None) -> ModelUse:
    durations: Counter[int] = Counter()
    for row in rows:
        if row["duration_ms"] is not None:
            durations[row["duration_ms"]] += row["calls"]
    costs = [row["total_cost"] for row in rows if row["total_cost"] is not None]
    names = (
        *("calls", "unmetered_calls", "errors"),
        *("tokens_in", "tokens_out", "cached_tokens", "priced_tokens"),
    )
    return ModelUse(
        model=rows[0]["model"],
        provider=rows[0]["provider"],
        **{name: sum(row[name] for row in rows) for name in names},
        total_cost=sum(costs) if costs else None,
        p50_ms=percentile_of_counts(durations, 0.50),
        p95_ms=percentile_of_counts(durations, 0.95),
        price_source=source,
    )
