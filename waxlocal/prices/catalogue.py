"""Look up model prices in the bundled list of the `genai-prices` library, without the network.

A wrong price is worse than none. A name is first parsed (a Bedrock or Vertex id, a router's path, a
fine-tune), then looked up at the one provider that it names. A family's price applies only to names
that add nothing but a date or a version to the family's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.prices.finer import FINER_COUNTS
from waxlocal.prices.lookup import LOCAL_PROVIDERS, PriceSource
from waxlocal.prices.rates import PER_DOLLAR, Rates, rates_of, step_at

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

__all__ = ["Price", "context_window", "listed_models", "look_up"]


@dataclass(frozen=True)
class Price:
    """A row of `model_prices`: dollars per million tokens, None for a price that does not exist.

    `tiers` is a JSON array ordered by `above`. Each entry has the prices for all tokens of a call
    whose input has more tokens than `above`:
    `[{"above": 200000, "input": 2.5, "output": 15.0, "cache_read": 0.25, "cache_write": null}]`.
    Prices of finer counts (`FINER_COUNTS`) stand there, too; with them an entry of 0 and up.
    """

    model: str
    provider: str
    input_per_mtok: float | None
    output_per_mtok: float | None
    cache_read_per_mtok: float | None
    cache_write_per_mtok: float | None
    tiers: str | None
    source: str
    matched: str | None
    updated_at: str

    @property
    def is_tiered(self) -> bool:
        """Whether the price rises with the input of a call."""
        return any(step.above > 0 for step in self._steps)

    @property
    def finer(self) -> dict[str, float]:
        """The prices of finer counts by name, for a call whose input is below all tiers.

        In dollars per million, also of what is no token.
        """
        rates = step_at(self._steps, 0).finer if self._steps else {}
        return {name: rate / PER_DOLLAR for name, rate in rates.items()}

    @property
    def _steps(self) -> Rates:
        known = rates_of(
            self.input_per_mtok,
            self.output_per_mtok,
            self.cache_read_per_mtok,
            self.cache_write_per_mtok,
            self.tiers,
        )
        return known or ()


def look_up(model: str, provider: str = "", clock: Clock = SYSTEM_CLOCK) -> Price | None:
    """Return today's price from the bundled list; None if it has no usable price.

    `model` and `provider` are the recorded names, in any case. A listed model is still None if
    tokens alone do not determine its cost: prices by time of day, by request, by minute of audio.
    The first call imports the library, which takes about 0.2 s.
    """
    now = clock.time_ns()
    name, host = model.strip().lower(), provider.strip().lower()
    if host in LOCAL_PROVIDERS or name.partition("/")[0] in LOCAL_PROVIDERS:
        return Price(
            model, provider, 0.0, 0.0, None, None, None, PriceSource.LOCAL, None, utc_text(now)
        )
    for provider_id, reference in _readings(name, host):
        found = _find(provider_id, reference)
        if found is not None:
            rates = _rates(found, datetime.fromtimestamp(now / 1e9, timezone.utc))
            if rates is None:
                return None
            matched = f"{provider_id}/{found.id}"
            return Price(model, provider, *rates, _source(), matched, utc_text(now))
    return None


def listed_models(provider_id: str) -> list[ModelInfo]:
    """Return the models of a provider in the bundled list; empty for an unknown provider."""
    provider = _providers().get(provider_id)
    return [] if provider is None else list(provider.models)


def context_window(model: str, provider: str = "") -> int | None:
    """Return how many tokens the context of a model holds; None if the list does not say."""
    for provider_id, reference in _readings(model.strip().lower(), provider.strip().lower()):
        found = _find(provider_id, reference)
        if found is not None and found.context_window:
            return int(found.context_window)
    return None


def _source() -> str:
    import genai_prices

    return f"genai-prices {genai_prices.__version__}"


@cache
def _providers() -> dict[str, Provider]:
    # The module's data, not its snapshot: the program may replace the snapshot by asking the
    # library for newer prices from the network.
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


# -- reading names --------------------------------------------------------------------------------

_BEDROCK_ID = re.compile(
    r"(?:[a-z]{2,6}(?:-gov)?\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai?|nvidia|openai"
    r"|qwen|stability|twelvelabs|writer|zai)\.[a-z]"
)
_VERTEX_PATH = re.compile(r"(?:projects/.*/)?(?:publishers/.*/)?models/")
# Paths whose first part is a router, not the provider.
_ROUTERS = frozenset(("litellm", "litellm_proxy"))
# The OpenAI client talks to every compatible server, so the provider that it reports is less
# reliable than the model's name.
_GENERIC = frozenset(("openai", *_ROUTERS))
# Every host sells these at their maker's price; open-weight models have a price per host.
_ONE_PRICE = frozenset(("anthropic", "google", "openai", "x-ai"))
_OPEN_WEIGHTS = ("codegemma", "deepseek-r1", "gemma", "gpt-oss", "mistral-7b", "mixtral")
_MAKERS = frozenset(("deepseek", "google", "mistralai", "openai"))
# OpenAI names that the list's rule for names without a provider misses.
_OPENAI_NAMES = ("chatgpt-", "codex-", "ft:gpt-", "text-embedding-")
# Spellings of a provider (letters and digits only), and its id in the list.
_SPELLINGS = (
    (re.compile(r"az(ure)?(ai|openai).*|azure"), "azure"),
    (re.compile(r".*bedrock.*|amazon|aws"), "aws"),
    (re.compile(r".*vertex.*|gemini|google.*|gcp.*"), "google"),
    (re.compile(r"(text)?(completion)?openai(chat|compatible|responses)?"), "openai"),
    (re.compile(r"fireworks(ai)?"), "fireworks"),
    (re.compile(r"together(ai)?"), "together"),
    (re.compile(r"mistral(ai)?"), "mistral"),
    (re.compile(r"moonshot(ai)?"), "moonshotai"),
    (re.compile(r"voyage(ai)?"), "voyageai"),
    (re.compile(r"cohere(chat)?"), "cohere"),
)


def _readings(name: str, host: str) -> Iterator[tuple[str, str]]:
    """Yield each (provider in the list, name there) that a recorded name can stand for."""
    last = name.rpartition("/")[2]
    given = _provider_named(host)
    if name.startswith("arn:") or _BEDROCK_ID.match(last):
        yield "aws", last
        return
    if _VERTEX_PATH.match(name) or given == "google":
        yield "google", last
        return
    if given == "aws":
        yield "aws", last
        return
    head, _, rest = name.partition("/")
    if given:
        yield given, name
        if rest and _provider_named(head) == given:
            yield given, rest
    if given is None or host in _GENERIC:
        anyone = not host or host in _GENERIC
        for reading in _readings_without_host(name, head, rest):
            if anyone or reading[0] in _ONE_PRICE:
                yield reading


def _readings_without_host(name: str, head: str, rest: str) -> Iterator[tuple[str, str]]:
    if rest and head in _ROUTERS:
        yield from _readings(rest, "")
    via = _provider_named(head) if rest else None
    if via:
        if head in _MAKERS and rest.startswith(_OPEN_WEIGHTS):
            return
        yield via, rest.rpartition("/")[2] if via in ("aws", "google") else rest
    elif name.startswith(_OPENAI_NAMES):
        yield "openai", name
    elif not name.startswith(_OPEN_WEIGHTS):
        for provider in _providers().values():
            if provider.model_match is not None and provider.model_match.is_match(name):
                yield provider.id, name


@cache
def _provider_named(host: str) -> str | None:
    """Return the list's id for any spelling of a provider; None if it is not in the list."""
    if host in _providers():
        return host
    letters = re.sub(r"[^a-z0-9]", "", host)
    for provider_id in _providers():
        if letters and letters == re.sub(r"[^a-z0-9]", "", provider_id):
            return provider_id
    for pattern, provider_id in _SPELLINGS:
        if pattern.fullmatch(letters):
            return provider_id
    return None


# -- finding a name in the list -------------------------------------------------------------------

_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=-|:|$)")
# What a name may add to its family's name and still be the same model: dates, versions, stages.
_SAME_MODEL = re.compile(
    r"(?:[-@](?:v\d|\d{2,8}|preview|exp|latest|instruct)|:\d+k?|:beta|:thinking)*"
)
# The same where the family's name ends within a number: 001 after "...-0", 20250514 after
# "...-2025"; but not 10 after "...-1".
_LONG_NUMBER = re.compile(r"\d{3,8}(?!\d)")


def _find(provider_id: str, name: str) -> ModelInfo | None:
    """Return the provider's model of that name, its own or one that it hosts."""
    provider = _providers()[provider_id]
    others = getattr(provider, "fallback_model_providers", None) or ()
    # Routers write 20251211 where the maker writes 2025-12-11.
    for reference in dict.fromkeys((name, _COMPACT_DATE.sub(r"-\1-\2-\3", name))):
        for owner in (provider, *(_providers()[other] for other in others)):
            for model in owner.models:
                if name == model.id.lower() or _names(model.match, reference):
                    return model
    return None


def _names(clause: Any, name: str) -> bool:
    """Return whether the list's rule matches this exact model, not just a name that begins so."""
    if hasattr(clause, "or_"):
        return any(_names(part, name) for part in clause.or_)
    if hasattr(clause, "and_"):
        return all(_names(part, name) for part in clause.and_)
    if not clause.is_match(name):
        return False
    for kind in ("starts_with", "contains", "ends_with"):
        if family := getattr(clause, kind, "").lower():
            head, _, tail = name.partition(family)
            apart = not head or head[-1] in "./" or family[0] == "/"
            return apart and _adds_nothing(family, tail)
    return True  # the whole name is the rule


def _adds_nothing(family: str, tail: str) -> bool:
    # A family that ends in a separator, and fine-tunes, match any suffix on purpose.
    if not tail or family[-1] in "-@" or family.startswith("ft:"):
        return True
    if tail[0].isdigit():
        stem = family.rstrip("0123456789")
        long = _LONG_NUMBER.match(family[len(stem) :] + tail)
        if long is None:
            return False
        tail = tail.lstrip("0123456789")
    return _SAME_MODEL.fullmatch(tail) is not None


# -- reading prices -------------------------------------------------------------------------------

_KINDS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_Rate = float | None


def _rates(model: ModelInfo, now: datetime) -> tuple[_Rate, _Rate, _Rate, _Rate, str | None] | None:
    """Return the four prices and the tiers; None if tokens alone do not determine the cost."""
    prices = model.prices if isinstance(model.prices, list) else []
    if any(hasattr(price.constraint, "start_time") for price in prices):
        return None
    price = model.get_prices(now)
    if getattr(price, "requests_kcount", None):
        return None
    base = _rates_above(price, None)
    if base[0] is None and base[1] is None:
        return (0.0, 0.0, None, None, None) if model.id.endswith(":free") else None
    return (*base, _tiers(price))


def _rates_above(price: ModelPrice, tokens: int | None) -> tuple[_Rate, _Rate, _Rate, _Rate]:
    """Return the prices for calls above that many input tokens; None means the base prices."""
    rates = [_applicable(price, kind, tokens) for kind in _KINDS]
    return (rates[0], rates[1], rates[2], rates[3])


def _applicable(price: ModelPrice, kind: str, tokens: int | None) -> _Rate:
    value: Any = getattr(price, kind, None)
    rate = getattr(value, "base", value)
    for tier in sorted(getattr(value, "tiers", ()), key=lambda tier: int(tier.start)):
        if tokens is not None and tier.start <= tokens:
            rate = tier.price
    per_million = 1000 if kind.endswith("_kcount") else 1  # the list counts those in thousands
    return None if rate is None else float(rate) * per_million


def _tiers(price: ModelPrice) -> str | None:
    finer = _listed_finer(price)
    values: list[Any] = [getattr(price, kind, None) for kind in (*_KINDS, *finer.values())]
    starts = {tier.start for value in values for tier in getattr(value, "tiers", ())}
    names = ("above", "input", "output", "cache_read", "cache_write")
    tiers = [
        dict(zip(names, (start, *_rates_above(price, start)), strict=True))
        | {name: _applicable(price, kind, start) for name, kind in finer.items()}
        for start in sorted(starts | {0} if finer else starts)
    ]
    return json.dumps(tiers) if tiers else None


def _listed_finer(price: ModelPrice) -> dict[str, str]:
    """Return the name in the list of each finer count's price.

    Sound from a cache that has no price is charged as sound.
    """
    listed = {name: one.listed for name, one in FINER_COUNTS.items() if _has(price, one.listed)}
    for name, one in FINER_COUNTS.items():
        if one.within in listed and name not in listed and not _has(price, "cache_read_mtok"):
            listed[name] = listed[one.within]
    return listed


def _has(price: ModelPrice, kind: str) -> bool:
    return getattr(price, kind, None) is not None
