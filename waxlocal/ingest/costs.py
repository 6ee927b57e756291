"""The cost of a call that arrives: from the price list, or as the program gave it.

The original SDK sends an estimate with every call, and 0 for a model that it does not know, so a
cost does not show whether the program gave it. A cost that equals that of our price list counts as
an estimate; any other counts as given by the program.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from waxlocal.clock import utc_text
from waxlocal.prices.catalogue import look_up
from waxlocal.prices.lookup import NOTE_MODEL, NOTE_PRICED_MODEL, PRICED_BY, Prices
from waxlocal.records import CostSource

__all__ = ["Cost", "Costs", "look_up_prices", "not_looked_up"]

# Estimates are sums of floats, and those of child runs are rounded.
TOLERANCE = 1e-6
# Limits the memory, should a program use a new model name for each call.
MAX_LISTED = 10_000


class _Rates(NamedTuple):
    input: float
    output: float


_list: dict[tuple[str, str], _Rates | None] = {}


class Cost(NamedTuple):
    """Dollars (None if unknown) and their source, as in the columns of `llm_calls`."""

    cost: float | None
    source: str | None


class Costs:
    """The prices of a file, for the calls of one request."""

    def __init__(self, connection: sqlite3.Connection, now_ns: int) -> None:
        self._connection = connection
        self._at = utc_text(now_ns)
        self._prices = Prices()
        self._prices.load(connection)

    def of(self, call: Mapping[str, Any], given: float | None) -> Cost:
        """Return the cost of a call; a model without a price is noted, to be looked up later.

        `call` is its row; `given` the cost that it was sent with.
        """
        model, provider = call["model"], call["provider"]
        price = self._prices.cost(*(call[name] for name in PRICED_BY))
        if given:
            estimate = _listed_cost(call) if price is None else price
            if estimate is None or not math.isclose(given, estimate, rel_tol=TOLERANCE):
                return Cost(given, CostSource.CALL)
            if price is None:
                self._note(NOTE_PRICED_MODEL, model, provider)
            return Cost(estimate, CostSource.PRICE)
        if price is not None:
            return Cost(price, CostSource.PRICE)
        self._note(NOTE_MODEL, model, provider)
        return Cost(None, None)

    def _note(self, statement: str, model: str, provider: str) -> None:
        if self._prices.unseen(model, provider):
            self._connection.execute(statement, (model, provider, self._at))


def not_looked_up(models: Iterable[str]) -> set[str]:
    """Return the models that were not looked up in the price list yet."""
    return {model for model in models if (model, "") not in _list}


def look_up_prices(models: Iterable[str]) -> None:
    """Look up models in the price list, so that it does not happen while the file is locked."""
    for model in models:
        _listed(model, "")


def _listed_cost(call: Mapping[str, Any]) -> float | None:
    rates = _listed(call["model"], call["provider"])
    if rates is None:
        return None
    # Rounded to millionths, as everywhere: 0.0075 and not 0.007500000000000001.
    tokens_in, tokens_out = int(call["tokens_in"]), int(call["tokens_out"])
    return (round(rates.input * 1e6) * tokens_in + round(rates.output * 1e6) * tokens_out) / 1e12


def _listed(model: str, provider: str) -> _Rates | None:
    pair = (model, provider)
    if pair not in _list:
        if len(_list) >= MAX_LISTED:
            _list.clear()
        price = look_up(model, provider)
        rates = None
        if price and price.input_per_mtok is not None and price.output_per_mtok is not None:
            rates = _Rates(price.input_per_mtok, price.output_per_mtok)
        _list[pair] = rates
    return _list[pair]
