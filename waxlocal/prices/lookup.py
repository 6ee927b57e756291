"""Compute the cost of an LLM call from the recorder's copy of the file's prices.

The `model_prices` table decouples recording from the price list. A recorder keeps the prices that
the table held when it last read it. For a model without a price it stores NULL as cost and marks
the model `pending`; the next command looks up pending models and prices their calls.
"""

from __future__ import annotations

import math
import sqlite3
import time
from typing import Final

from waxlocal.prices.rates import FREE, PER_DOLLAR, Rates, charges, rates_of

__all__ = [
    "LOCAL_PROVIDERS",
    "NOTE_MODEL",
    "NOTE_PRICED_MODEL",
    "PRICED_BY",
    "PriceSource",
    "Prices",
]


class PriceSource:
    """Where a price comes from, if not from the price list, whose name stands there then."""

    PENDING: Final = "pending"  # to be looked up; a price that is there already holds meanwhile
    UNKNOWN: Final = "unknown"  # looked up, not found
    LOCAL: Final = "local"  # runs on the user's own machine, and costs nothing
    OVERRIDE: Final = "override"  # set by hand


# (model, provider, time). A model whose price is already known becomes pending too: the call that
# caused this note was recorded without a cost, and the next command must price it.
NOTE_MODEL = """
INSERT INTO model_prices (model, provider, source, updated_at) VALUES (?, ?, 'pending', ?)
ON CONFLICT (model, provider) DO UPDATE SET source = 'pending', updated_at = excluded.updated_at
WHERE source NOT IN ('unknown', 'override')
"""

# (model, provider, time). For a call that came with the price of the list: the next command reads
# that price into the table, where people look for it.
NOTE_PRICED_MODEL = """
INSERT INTO model_prices (model, provider, source, updated_at) VALUES (?, ?, 'pending', ?)
ON CONFLICT (model, provider) DO NOTHING
"""

# Programs that run models on the user's own machine: their tokens are free. (Not vLLM and similar
# servers: they also run on rented GPUs.)
# fmt: off
LOCAL_PROVIDERS = frozenset((
    "gpt4all", "jan", "koboldcpp", "llama-cpp", "llama.cpp", "llama_cpp", "llamacpp", "llamafile",
    "lm-studio", "lm_studio", "lmstudio", "local", "localai", "mlx", "ollama", "ollama_chat",
))
# fmt: on
# How often `Prices.unseen` notes the same model again. In between, a command may find the price
# long before this process reads the table again.
NOTE_AGAIN_S = 1.0
# A bound, for programs that invent a model name per call.
MAX_NOTED = 10_000

_PER_COST = 1e6 * PER_DOLLAR
# The columns of a call that give its cost: the arguments of `Prices.cost`.
PRICED_BY = (
    *("model", "provider", "tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens"),
    "details",
)


class Prices:
    """The prices of one file, for the recorder; a lookup touches neither the file nor a library."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], Rates] = {}
        self._anywhere: dict[str, Rates] = {}
        self._unknown: frozenset[tuple[str, str]] = frozenset()
        self._noted: dict[tuple[str, str], float] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Reload the prices from `model_prices`. Raises `sqlite3.Error`."""
        rates: dict[tuple[str, str], Rates] = {}
        anywhere: dict[str, Rates] = {}
        unknown, listed = set(), set()
        for model, provider, source, *row in connection.execute(_LOAD).fetchall():
            known = rates_of(*row)
            if known is None:
                if source == PriceSource.UNKNOWN:
                    unknown.add((model, provider))
                continue
            rates[model, provider] = known
            if source != PriceSource.OVERRIDE:
                listed.add((model, provider))
            elif not provider:
                anywhere[model] = known
        for model, provider in listed:
            # A price set without a provider applies to all providers.
            if model in anywhere:
                rates[model, provider] = anywhere[model]
        self._rates, self._anywhere, self._unknown = rates, anywhere, frozenset(unknown)

    def add(
        self,
        model: str,
        provider: str,
        input_: float | None,
        output: float | None,
        read: float | None,
        write: float | None,
        tiers: str | None,
    ) -> None:
        """Add a price that the file does not hold, in dollars per million tokens, until `load`."""
        rates = rates_of(input_, output, read, write, tiers)
        if rates is not None:
            self._rates[model, provider] = rates

    def cost(
        self,
        model: str,
        provider: str,
        tokens_in: int,
        tokens_out: int,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        details: str | None = None,
    ) -> float | None:
        """Return dollars; None if a price that this call needs is unknown.

        The counts and `details` are the columns of those names, as `charges` takes them.
        """
        rates = self.rates(model, provider)
        if rates is None:
            return None
        charged = charges(rates, tokens_in, tokens_out, cached_tokens, cache_write_tokens, details)
        if charged is None:
            return None
        total: float = 0
        try:
            for _, count, rate in charged:
                total += count * rate
            return total / _PER_COST
        except OverflowError:  # token counts that are not numbers
            return None

    def rates(self, model: str, provider: str) -> Rates | None:
        """Return the rates of a model; None if its price is not known."""
        rates = self._rates.get((model, provider)) or self._anywhere.get(model)
        if rates is None and provider.lower() in LOCAL_PROVIDERS:
            return FREE
        return rates

    def may_be_listed(self, model: str, provider: str) -> bool:
        """Return whether the table lacks a model that the price list may have."""
        pair = (model, provider)
        return pair not in self._rates and pair not in self._unknown

    def unseen(self, model: str, provider: str) -> bool:
        """Return whether to run `NOTE_MODEL` after a call recorded without cost.

        True for a model without a price, at most once a second; False if the table already says
        that the list does not have it.
        """
        pair = (model, provider)
        if not self.may_be_listed(model, provider):
            return False
        now = time.monotonic()
        if now - self._noted.get(pair, -math.inf) < NOTE_AGAIN_S:
            return False
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[pair] = now
        return True


_LOAD = """
SELECT model, provider, source, input_per_mtok, output_per_mtok, cache_read_per_mtok,
  cache_write_per_mtok, tiers
FROM model_prices
"""
