"""Usage, cost, latency and errors per model."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.prices.table import prices_by_model, source_for
from waxlocal.queries.analysis_rows import ModelUse, place_in_list
from waxlocal.queries.call_blocks import Asked, asked_for
from waxlocal.queries.call_durations import call_durations
from waxlocal.queries.call_sums import CallSums, added, call_sums
from waxlocal.queries.cost_over_time import CostOverTime, over_time, period_costs
from waxlocal.queries.days import ModelDay, model_days
from waxlocal.queries.ordered_values import ListedValues
from waxlocal.queries.snapshot import in_snapshot

__all__ = ["ModelUsage", "ModelsOverTime", "list_models", "model_usage", "models_over_time"]


class ModelUsage(NamedTuple):
    """The usage of each model, those first that need a price, then by cost; and per day."""

    models: list[ModelUse]
    days: list[ModelDay]


class ModelsOverTime(NamedTuple):
    """The usage of each model, as `ModelUsage` has it, and what all of them cost over time."""

    models: list[ModelUse]
    cost: CostOverTime | None


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
    return ModelUsage(_models(conn, asked, sums), model_days(sums))


@in_snapshot
def models_over_time(
    conn: sqlite3.Connection,
    *,
    since: str | None = None,
    until: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ModelsOverTime:
    """Return the usage of every model, and their cost over time: as `model_usage`."""
    asked = asked_for(since, until, None, clock)
    sums = call_sums(conn, asked)
    cost = over_time(period_costs(conn, asked, sums))
    return ModelsOverTime(_models(conn, asked, sums), cost)


def _models(conn: sqlite3.Connection, asked: Asked, sums: Sequence[CallSums]) -> list[ModelUse]:
    durations = call_durations(conn, asked)
    prices = prices_by_model(conn)
    models = [
        _model(one, durations.get(key, ListedValues()), source_for(prices, *key))
        for key, one in added(sums, lambda one: (one.model, one.provider)).items()
    ]
    return sorted(models, key=place_in_list)


def _model(sums: CallSums, durations: ListedValues, source: str | None) -> ModelUse:
    p50, p95 = (durations.percentile(q) for q in (0.50, 0.95))
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
        p50_ms=None if p50 is None else int(p50),
        p95_ms=None if p95 is None else int(p95),
        price_source=source,
    )
