"""What the calls of a period add up to, by day and model: from the totals where these have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import isnan
from typing import TypeVar

from waxlocal.queries.call_blocks import HOUR, IN_PERIOD, IS_INSIDE, Asked, to_read
from waxlocal.queries.columns import usage_known

__all__ = ["CallSums", "added", "call_sums"]

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class CallSums:
    """Calls of one day (UTC), model and provider; `total_cost` is None where no cost is known."""

    date: str
    model: str
    provider: str
    calls: int
    errors: int
    unmetered_calls: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    priced_tokens: int
    total_cost: float | None

    def __add__(self, other: CallSums) -> CallSums:
        """Return both together, under the names of this one."""
        costs = [one.total_cost for one in (self, other) if one.total_cost is not None]
        return CallSums(
            self.date,
            self.model,
            self.provider,
            self.calls + other.calls,
            self.errors + other.errors,
            self.unmetered_calls + other.unmetered_calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cached_tokens + other.cached_tokens,
            self.priced_tokens + other.priced_tokens,
            _sum(costs),
        )


def _sum(costs: Sequence[float]) -> float | None:
    """Return the sum of costs, None where there is none: as SQL's `sum` does.

    Nothing has no sum, nor have two infinities of which one is below zero.
    """
    total = sum(costs)
    return total if costs and not isnan(total) else None


# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_ADDED_UP = f"""
SELECT substr({HOUR}, 1, 10) AS date,
  model, provider, count(*) AS calls,
  sum(status = 'error') AS errors, sum({{known}} = 0) AS unmetered_calls,
  CAST(total(tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(iif(cost IS NULL, 0, tokens_in + tokens_out)) AS INTEGER) AS priced_tokens,
  sum(cost) AS total_cost
FROM {{calls}} WHERE {IN_PERIOD} GROUP BY 1, 2, 3
"""  # noqa: S608
_OF_BLOCKS = f"""
SELECT date, model, provider, sum(calls) AS calls, sum(errors) AS errors,
  sum(unmetered_calls) AS unmetered_calls,
  CAST(total(tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens,
  sum(iif(priced_calls = 0, NULL, total_cost)) AS total_cost
FROM model_sums
WHERE calls > 0 AND (:agent IS NULL OR agent = :agent)
  AND block IN (SELECT block FROM call_blocks WHERE {IS_INSIDE})
GROUP BY date, model, provider
"""  # noqa: S608


def call_sums(conn: sqlite3.Connection, asked: Asked) -> list[CallSums]:
    """Return the sums of these calls.

    Two may be of one day, model and provider: `added` adds them up. Call it in the same `snapshot`
    as other questions about these calls.
    """
    values = asked._asdict()
    calls, summed = to_read(conn, asked)
    rows = conn.execute(_ADDED_UP.format(calls=calls, known=usage_known(conn)), values).fetchall()
    if summed:
        rows += conn.execute(_OF_BLOCKS, values).fetchall()
    return [CallSums(*row) for row in rows]


def added(sums: Iterable[CallSums], key: Callable[[CallSums], Key]) -> dict[Key, CallSums]:
    """Add up the sums that have the same key, and return them by key."""
    found: dict[Key, list[CallSums]] = {}
    for one in sums:
        found.setdefault(key(one), []).append(one)
    return {of: reduce(CallSums.__add__, some) for of, some in found.items()}
