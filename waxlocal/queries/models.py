"""Usage, cost, latency and errors per model."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.prices.table import prices_by_model, source_for
from waxlocal.queries.analysis_rows import ModelUse, place_in_list
from waxlocal.queries.call_sums import CallSums, added, asked_for, call_durations, call_sums
from waxlocal.queries.days import ModelDay, model_days
from waxlocal.queries.percentiles import percentile_of_counts
from waxlocal.queries.snapshot import in_snapshot

__all__ = ["ModelUsage", "list_models", "model_usage"]


class ModelUsage(NamedTuple):
    """The usage of each model, those first that need a price, then by cost; and per day."""

    models: list[ModelUse]
    days: list[ModelDay]


def list_models(
    conn: sqlite3.Connection,
    *,
    since: str | None = None,
    until: str | None = None,
    agent: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> list[ModelUse]:
    """Return every model that was called: see `model_usage`."""
    return model_usage(conn, since=since, until=until, agent=agent, clock=clock).models


@in_snapshot
def model_usage(
    conn: sqlite3.Connection,
    *,
    since: str | None = None,
    until: str | None = None,
    agent: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ModelUsage:
    """Return the usage of every model that was called, of all and per day.

    `since` and `until` limit when calls ended, in any form that `parse_time` accepts; `agent`
    limits them to that agent's runs. Raises `InvalidQuery`.
    """
    asked = asked_for(since, until, agent, clock)
    sums = call_sums(conn, asked)
    durations = call_durations(conn, asked)
    prices = prices_by_model(conn)
    models = [
        _model(one, durations[key], source_for(prices, *key))
        for key, one in added(sums, lambda one: (one.model, one.provider)).items()
    ]
    return ModelUsage(sorted(models, key=place_in_list), model_days(sums))


def _model(sums: CallSums, durations: Counter[int], source: str | None) -> ModelUse:
    return ModelUse(
        model=sums.model,
        provider=sums.provider,
        calls=sums.calls,
        unmetered_calls=sums.unmetered_calls,
        errors=sums.errors,
        tokens_in=sums.tokens_in,
        tokens_out=sums.tokens_out,
        cached_tokens=sums.cached_tokens,
        priced_tokens=sums.priced_tokens,
        total_cost=sums.total_cost,
        p50_ms=percentile_of_counts(durations, 0.50),
        p95_ms=percentile_of_counts(durations, 0.95),
        price_source=source,
    )
