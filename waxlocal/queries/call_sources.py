"""Where the numbers of a call come from: who said what, what was merged in, and which price."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from waxlocal.prices.catalogue import Price
from waxlocal.prices.finer import FINER_COUNTS, own_counts
from waxlocal.prices.lookup import Prices, PriceSource
from waxlocal.prices.rates import PER_DOLLAR, Charge, charges
from waxlocal.prices.table import PricesByModel, price_for, prices_by_model
from waxlocal.queries.record_rows import LlmCall
from waxlocal.records import ABANDONED, OPENAI_STREAM, CostSource, RecordStatus
from waxlocal.wording import rate

__all__ = ["CallSources", "call_sources"]

BY_HAND = "record_llm_call"
# A callback handler's reports are named by its framework, after this.
_HANDLER = "waxlocal."
# What a field is called in a sentence. A preview is from where the whole text is.
_NAMES = {"duration_ms": "duration", "prompt_preview": "", "response_preview": ""}
# What is charged, and what it is called in a sentence.
_PARTS = {"input": "in", "output": "out", "cache_read": "cached", "cache_write": "cache write"}


@dataclass(frozen=True)
class CallSources:
    """Who said what of one call.

    `sources` has for each field its source where that is not the source of the call; that is
    under `call`: an instrumentation, `waxlocal.FRAMEWORK` for a callback handler, or
    `record_llm_call`. `merged` has the further reports of the same call, in order. `price` is the
    one behind the cost; it is None where the cost was given, or the file does not have the price.
    `lines` say all of it in words.
    """

    position: int
    sources: dict[str, str]
    merged: tuple[str, ...]
    cost_source: str | None
    price: Price | None
    lines: tuple[str, ...]


def call_sources(
    connection: sqlite3.Connection, calls: tuple[LlmCall, ...]
) -> tuple[CallSources, ...]:
    """Return where the numbers of these calls come from, one for each."""
    prices, computing = prices_by_model(connection), Prices()
    computing.load(connection)
    return tuple(_explained(call, prices, computing) for call in calls)


def _explained(call: LlmCall, prices: PricesByModel, computing: Prices) -> CallSources:
    details = call.details if isinstance(call.details, dict) else {}
    said, merged = details.get("sources"), details.get("merged")
    sources = {"call": BY_HAND, **(said if isinstance(said, dict) else {})}
    others = tuple(map(str, merged)) if isinstance(merged, list) else ()
    charged = _charged(call, computing)
    is_priced = call.cost_source == CostSource.PRICE and _is_computed(call, charged)
    price = price_for(prices, call.model, call.provider) if is_priced else None
    note = details.get("usage_note")
    lines = (
        f"recorded by {_named(sources['call'])}",
        *_merged(others, sources),
        *_tokens(call, str(note) if note else ""),
        _cost(call, sources, price, charged),
        *_finer(call, price, charged),
    )
    return CallSources(call.position, sources, others, call.cost_source, price, lines)


def _charged(call: LlmCall, prices: Prices) -> list[Charge]:
    """Return what a call is charged for at the prices of this file, in dollars per million."""
    rates = prices.rates(call.model, call.provider)
    if rates is None:
        return []
    counts = (call.tokens_in, call.tokens_out, call.cached_tokens, call.cache_write_tokens)
    charged = charges(rates, *counts, json.dumps(call.details)) or ()
    return [(kind, count, rate / PER_DOLLAR) for kind, count, rate in charged]


def _is_computed(call: LlmCall, charged: list[Charge]) -> bool:
    """Return whether the prices of this file give the cost of a call.

    They may be newer than the cost, and another waxlocal, which sent the call, may have had others.
    """
    if not charged or call.cost is None:
        return False
    cost = math.fsum(count * rate for _, count, rate in charged) / 1e6
    return math.isclose(cost, call.cost, rel_tol=1e-6)


def _named(source: Any) -> str:
    name = str(source)
    if name == BY_HAND:
        return f"the program ({BY_HAND})"
    if name.startswith(_HANDLER):
        return f"the callback handler for {name.removeprefix(_HANDLER)}"
    return f"automatic capture ({name})"


def _merged(others: tuple[str, ...], sources: dict[str, str]) -> Iterator[str]:
    for other in dict.fromkeys(others):
        fields = (name for name, source in sources.items() if source == other and name != "call")
        names = [said for name in fields if (said := _NAMES.get(name, name))]
        what = ", ".join(names) or "nothing that was not known"
        yield f"also reported by {_named(other)}: same call, merged; from there: {what}"


def _tokens(call: LlmCall, note: str) -> Iterator[str]:
    if not call.usage_known:
        yield f"tokens: unknown; {note or _why_unknown(call)}"
    elif note:
        yield f"tokens: {note}"


def _why_unknown(call: LlmCall) -> str:
    if call.finish_reason() == ABANDONED:
        return "the program left the stream before its end"
    if call.task == OPENAI_STREAM and call.status == RecordStatus.OK:
        return 'of a stream they are told with stream_options={"include_usage": True}'
    return "neither the provider nor the program told them"


def _cost(
    call: LlmCall, sources: dict[str, str], price: Price | None, charged: list[Charge]
) -> str:
    if call.cost_source == CostSource.CALL:
        return f"cost: given by {_named(sources.get('cost', sources['call']))}"
    if call.cost is None and not call.usage_known:
        return "cost: unknown, as the tokens are"
    if call.cost is None:
        return "cost: unknown; the file has no price for this model"
    if price is None:
        return "cost: computed when it was recorded, from a price that the file does not have now"
    rates = [
        f"{count:,} {_PARTS[kind]} at {rate(each)}"
        for kind, count, each in charged
        if kind in _PARTS and count
    ]
    is_base = any(kind == "input" and each == price.input_per_mtok for kind, _, each in charged)
    long = "more for long prompts" if is_base else "for a long prompt"
    tiers = f", {long}" if price.is_tiered else ""
    return f"cost: from prices per million tokens: {', '.join(rates)}{tiers} ({_origin(price)})"


def _finer(call: LlmCall, price: Price | None, charged: list[Charge]) -> Iterator[str]:
    """Say at which price finer counts are in the cost, and which may have one that is not known."""
    if price is None or price.source == PriceSource.LOCAL:
        return
    for kind, count, each in charged:
        if kind in FINER_COUNTS:
            yield f"cost: {count:,} {FINER_COUNTS[kind].words} at {FINER_COUNTS[kind].price(each)}"
    alike = [
        f"{count:,} {FINER_COUNTS[name].words}"
        for name, count in own_counts(call.details).items()
        if name not in price.finer
    ]
    if alike:
        yield f"cost: at the vendor's, these may have a price of their own: {', '.join(alike)}"


def _origin(price: Price) -> str:
    if price.source == PriceSource.OVERRIDE:
        return "set with waxlocal prices set"
    if price.source == PriceSource.LOCAL:
        return "a local model is free"
    return f"price list {price.source}" + (f", {price.matched}" if price.matched else "")
