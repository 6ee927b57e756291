"""Model usage per day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from waxlocal.queries.call_sums import CallSums, added

__all__ = ["ModelDay", "model_days"]


@dataclass(frozen=True, slots=True)
class ModelDay:
    """One model of one provider on one day (UTC); `cost` is None when no price is known.

    Nobody told the tokens of `unmetered_calls`.
    """

    date: str
    model: str
    provider: str
    calls: int
    unmetered_calls: int
    tokens: int
    priced_tokens: int
    cost: float | None


def model_days(sums: Iterable[CallSums]) -> list[ModelDay]:
    """Return the usage per model and day, in order."""
    of_day = added(sums, lambda one: (one.date, one.model, one.provider))
    return [
        ModelDay(
            *key,
            one.calls,
            one.unmetered_calls,
            one.tokens_in + one.tokens_out,
            one.priced_tokens,
            one.total_cost,
        )
        for key, one in sorted(of_day.items())
    ]
