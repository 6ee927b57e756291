"""Usage, cost, latency and errors per model."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.encode import text
from waxlocal.prices.table import PricesByModel, prices_by_model, source_for
from waxlocal.queries.analysis_rows import ModelUse, place_in_list
from waxlocal.queries.columns import usage_known
from waxlocal.queries.percentiles import percentile_of_counts
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.sums import NEWER, are_usable
from waxlocal.queries.times import parse_period

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
_SAID = """c.model, c.provider, c.duration_ms, c.status, c.usage_known, c.tokens_in, c.tokens_out,
  c.cached_tokens, c.cost, c.recorded_at"""
# What is in no total.
_APART = f"""(
  SELECT {_SAID} FROM (SELECT run_id FROM runs r WHERE {NEWER})
  CROSS JOIN llm_calls c USING (run_id)
  UNION ALL
  SELECT {_SAID} FROM odd_calls CROSS JOIN llm_calls c
    ON c.run_id = call_run AND c.position = call_position)"""  # noqa: S608
_SUMS = """
SELECT model, provider, NULL AS duration_ms, calls, errors, unmetered_calls,
  CAST(tokens_in AS INTEGER) AS tokens_in, CAST(tokens_out AS INTEGER) AS tokens_out,
  CAST(cached_tokens AS INTEGER) AS cached_tokens, CAST(priced_tokens AS INTEGER) AS priced_tokens,
  iif(priced_calls = 0, NULL, total_cost) AS total_cost
FROM model_sums WHERE calls > 0
"""
_DURATIONS = "SELECT model, provider, duration_ms, calls FROM model_durations WHERE calls > 0"

# By model and provider: how many calls had which duration.
_Durations = defaultdict[tuple[str, str], Counter[int]]


@in_snapshot
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
    first, last = parse_period(since, until, clock=clock)
    values = {
        "since": first,
        "until": last,
        "agent": text(agent) if agent else None,
    }
    summed = not any(values.values()) and are_usable(conn)
    calls = _OF_AGENT if agent else _APART if summed else "llm_calls"
    rows = conn.execute(_CALLS.format(calls=calls, known=usage_known(conn)), values).fetchall()
    timed = list(rows)
    if summed:
        rows += conn.execute(_SUMS).fetchall()
        timed += conn.execute(_DURATIONS).fetchall()
    return _models(rows, _durations(timed), prices_by_model(conn))


def _durations(rows: Iterable[sqlite3.Row]) -> _Durations:
    durations: _Durations = defaultdict(Counter)
    for row in rows:
        if row["duration_ms"] is not None:
            durations[row["model"], row["provider"]][row["duration_ms"]] += row["calls"]
    return durations


def _models(
    rows: Iterable[sqlite3.Row], durations: _Durations, prices: PricesByModel
) -> list[ModelUse]:
    of_model: dict[tuple[str, str], list[sqlite3.Row]] = {}
    for row in rows:
        of_model.setdefault((row["model"], row["provider"]), []).append(row)
    models = [
        _model(key, some, durations[key], source_for(prices, *key))
        for key, some in of_model.items()
    ]
    return sorted(models, key=place_in_list)


def _model(
    key: tuple[str, str], rows: Sequence[sqlite3.Row], durations: Counter[int], source: str | None
) -> ModelUse:
    costs = [row["total_cost"] for row in rows if row["total_cost"] is not None]
    names = (
        *("calls", "unmetered_calls", "errors"),
        *("tokens_in", "tokens_out", "cached_tokens", "priced_tokens"),
    )
    return ModelUse(
        model=key[0],
        provider=key[1],
        **{name: sum(row[name] for row in rows) for name in names},
        total_cost=sum(costs) if costs else None,
        p50_ms=percentile_of_counts(durations, 0.50),
        p95_ms=percentile_of_counts(durations, 0.95),
        price_source=source,
    )
