"""Compute the cost of an LLM call from the recorder's copy of the file's prices.

The `model_prices` table decouples recording from the price list. A recorder keeps the prices that
the table held when it last read it. For a model without a price it stores NULL as cost and marks
the model `pending`; the next command looks up pending models and prices their calls.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from waxlocal.prices.finer import FINER_COUNTS, difference

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

# Millionths of a dollar per million tokens: almost every price is a whole number of them, so that
# a cost is computed in integers and comes out as 0.0075, not 0.007500000000000001.
_PER_DOLLAR = 1_000_000
_PER_COST = 1e12
_Rate = float | None
# Input, output, cache read, cache write.
_Four = tuple[_Rate, _Rate, _Rate, _Rate]
# The rates of finer counts, by name.
_Finer = Mapping[str, float]
# The same, and the tiers from the highest down: the input tokens above which each applies.
_Rates = tuple[_Rate, _Rate, _Rate, _Rate, tuple[tuple[int, _Four, _Finer], ...]]
_FREE: _Rates = (0, 0, None, None, ())
# The columns of a call that give its cost: the arguments of `Prices.cost`.
PRICED_BY = (
    *("model", "provider", "tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens"),
    "details",
)


class Prices:
    """The prices of one file, for the recorder; a lookup touches neither the file nor a library."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], _Rates] = {}
        self._anywhere: dict[str, _Rates] = {}
        self._unknown: frozenset[tuple[str, str]] = frozenset()
        self._noted: dict[tuple[str, str], float] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Reload the prices from `model_prices`. Raises `sqlite3.Error`."""
        rates: dict[tuple[str, str], _Rates] = {}
        anywhere: dict[str, _Rates] = {}
        unknown, listed = set(), set()
        for model, provider, source, *row in connection.execute(_LOAD).fetchall():
            known = _rates_of(*row)
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
        rates = _rates_of(input_, output, read, write, tiers)
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

        `tokens_in` includes the cached tokens. If `cached_tokens` is larger than `tokens_in`, the
        program counted them separately, and they are charged in addition. `details` is the column
        of that name: finer counts in it have prices of their own at some vendors.
        """
        rates = self._rates.get((model, provider)) or self._elsewhere(model, provider)
        if rates is None:
            return None
        rate_in, rate_out, rate_read, rate_write, tiers = rates
        plain = tokens_in
        if cached_tokens or cache_write_tokens:
            plain -= cached_tokens + cache_write_tokens
            if plain < 0:
                plain = tokens_in
        finer: _Finer | None = None
        if tiers:
            whole = plain + cached_tokens + cache_write_tokens
            (rate_in, rate_out, rate_read, rate_write), finer = _tier(rates, whole)
        if rate_in is None or rate_out is None:
            if (rate_in is None and tokens_in) or (rate_out is None and tokens_out):
                return None
            rate_in, rate_out = rate_in or 0, rate_out or 0
        try:
            total = plain * rate_in + tokens_out * rate_out
            if cached_tokens:
                total += cached_tokens * (rate_in if rate_read is None else rate_read)
            if cache_write_tokens:
                total += cache_write_tokens * (rate_in if rate_write is None else rate_write)
            if finer and details:
                charged = {
                    "input": (plain, rate_in),
                    "output": (tokens_out, rate_out),
                    "cached": (cached_tokens, rate_in if rate_read is None else rate_read),
                    "cache_write": (
                        cache_write_tokens,
                        rate_in if rate_write is None else rate_write,
                    ),
                }
                total += difference(finer, details, charged)
            return total / _PER_COST
        except OverflowError:  # token counts that are not numbers
            return None

    def applied(self, model: str, provider: str, tokens_in: int) -> dict[str, float]:
        """Return the dollars per million tokens that apply to a call with so much input.

        By `input`, `output`, `cache_read`, `cache_write` and the names of finer counts, without
        what has no price.
        """
        rates = self._rates.get((model, provider)) or self._elsewhere(model, provider)
        if rates is None:
            return {}
        four, finer = _tier(rates, tokens_in)
        found = {**dict(zip(_KINDS, four, strict=True)), **finer}
        return {name: rate / _PER_DOLLAR for name, rate in found.items() if rate is not None}

    def _elsewhere(self, model: str, provider: str) -> _Rates | None:
        rates = self._anywhere.get(model)
        if rates is None and provider.lower() in LOCAL_PROVIDERS:
            return _FREE
        return rates

    def unseen(self, model: str, provider: str) -> bool:
        """Return whether to run `NOTE_MODEL` after a call recorded without cost.

        True for a model without a price, at most once a second; False if the table already says
        that the list does not have it.
        """
        pair = (model, provider)
        if pair in self._rates or pair in self._unknown:
            return False
        now = time.monotonic()
        if now - self._noted.get(pair, -math.inf) < NOTE_AGAIN_S:
            return False
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[pair] = now
        return True


def _rates_of(
    input_: object, output: object, read: object, write: object, tiers: str | None
) -> _Rates | None:
    """Return a row's prices as integers; None for a row without prices or with an invalid one."""
    try:
        rates = _four((input_, output, read, write))
        steps = [
            (int(step["above"]), _four([step.get(kind) for kind in _KINDS]), _finer(step))
            for step in (_read(tiers) if tiers else ())
        ]
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # edited by hand
        return None
    if rates[0] is None and rates[1] is None:
        return None
    return (*rates, tuple(sorted(steps, key=lambda step: step[0], reverse=True)))


def _tier(rates: _Rates, tokens_in: int) -> tuple[_Four, _Finer]:
    """Return the rates for a call with so much input: of the highest tier below it, if any."""
    for above, tier, finer in rates[4]:
        if tokens_in > above:
            return tier, finer
    return rates[:4], {}


def _finer(step: Mapping[str, object]) -> _Finer:
    rates = ((name, _rate(step.get(name))) for name in FINER_COUNTS)
    return {name: rate for name, rate in rates if rate is not None}


def _read(json: str) -> Any:
    from json import loads  # a millisecond to import, and few models have tiers

    return loads(json)


def _four(values: Sequence[object]) -> _Four:
    input_, output, read, write = map(_rate, values)
    return (input_, output, read, write)


_KINDS = ("input", "output", "cache_read", "cache_write")


def _rate(dollars: object) -> _Rate:
    if dollars is None:
        return None
    rate = float(dollars) * _PER_DOLLAR  # type: ignore[arg-type]
    whole = round(rate)
    return whole if math.isclose(rate, whole, rel_tol=1e-12) else rate


_LOAD = """
SELECT model, provider, source, input_per_mtok, output_per_mtok, cache_read_per_mtok,
  cache_write_per_mtok, tiers
FROM model_prices
"""
