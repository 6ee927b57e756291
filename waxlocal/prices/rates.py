"""The prices of one model as they stand in a row of the file, and what they charge a call.

They are kept in millionths of a dollar per million tokens: almost every price is a whole number of
them, so that a cost is computed in integers and comes out as 0.0075, not 0.007500000000000001.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.prices.finer import FINER_COUNTS, own_counts

__all__ = ["FREE", "MAX_RATE", "PER_DOLLAR", "Charge", "Rates", "charges", "rates_of", "step_at"]

PER_DOLLAR = 1_000_000
# Dollars per million tokens. Higher than any price: more is a mistake in the unit, and the sum of
# such costs could become infinite.
MAX_RATE = 1e9


class Step(NamedTuple):
    """The rates of calls whose input has more tokens than `above`, and those of finer counts.

    None is a rate that is not known. What has no rate in the cache costs what input costs.
    """

    above: float
    input: float | None
    output: float | None
    cache_read: float
    cache_write: float
    finer: Mapping[str, float]


# The steps from the highest down; the last one is for any call.
Rates = tuple[Step, ...]
FREE: Rates = (Step(-math.inf, 0, 0, 0, 0, {}),)

# What was charged, how many of it, and its rate: `input`, `output`, `cache_read`, `cache_write`, or
# a finer count. Tuples without names, as one is made for each part of each call that is recorded.
Charge = tuple[str, int, float]

# How the encoder writes it: most calls have none, and need not be read.
_KEY = '"token_details"'


def rates_of(
    input_: object, output: object, read: object, write: object, tiers: str | None
) -> Rates | None:
    """Return the rates in a row of `model_prices`; None for a row without prices or edited wrongly.

    Takes dollars per million tokens, and the tiers as `Price` describes them. Wrong is what is no
    number from 0 to `MAX_RATE`. Raises nothing.
    """
    try:
        base = _step(-math.inf, (input_, output, read, write), {})
        steps = [_tier(told) for told in (_from_json(tiers) if tiers else ())]
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None
    if base.input is None and base.output is None:
        return None
    return (*sorted(steps, key=lambda step: step.above, reverse=True), base)


def step_at(rates: Rates, tokens: int) -> Step:
    """Return the rates for a call with so many tokens of input, those of the cache among them."""
    for step in rates:
        if tokens > step.above:
            return step
    return rates[-1]


def charges(
    rates: Rates,
    tokens_in: int,
    tokens_out: int,
    cached: int = 0,
    written: int = 0,
    details: str | None = None,
) -> list[Charge] | None:
    """Return what a call is charged for; None if a rate that it needs is unknown.

    `tokens_in` includes what the cache gave and what was written to it. If these are more, the
    program counted them separately, and they are charged in addition. `details` is the column of
    that name, whose finer counts are charged apart where they have a rate. Raises nothing.
    """
    plain = tokens_in
    if cached or written:
        plain -= cached + written
        if plain < 0:
            plain = tokens_in
    step = rates[0] if len(rates) == 1 else step_at(rates, plain + cached + written)
    _, rate_in, rate_out, rate_read, rate_write, finer = step
    if (rate_in is None and tokens_in) or (rate_out is None and tokens_out):
        return None
    found: list[Charge] = [("input", plain, rate_in or 0), ("output", tokens_out, rate_out or 0)]
    if cached:
        found.append(("cache_read", cached, rate_read))
    if written:
        found.append(("cache_write", written, rate_write))
    if finer and isinstance(details, str) and _KEY in details:
        return _charged_apart(found, finer, details)
    return found


def _charged_apart(found: list[Charge], finer: Mapping[str, float], details: str) -> list[Charge]:
    """Take finer counts out of the parts that they belong to, as far as these go."""
    try:
        counts = own_counts(_from_json(details))
    except (RecursionError, ValueError):  # not as we write it
        return found
    left = {part: tokens for part, tokens, _ in found}
    apart: list[Charge] = []
    for name, rate in finer.items():
        tokens, part = counts.get(name, 0), FINER_COUNTS[name].part
        if part:
            tokens = min(tokens, left.get(part, 0))
            left[part] = left.get(part, 0) - tokens
        apart.append((name, tokens, rate))
    return [
        *((part, left[part], rate) for part, _, rate in found),
        *(charge for charge in apart if charge[1] > 0),
    ]


_KINDS = ("input", "output", "cache_read", "cache_write")


def _tier(told: Any) -> Step:
    above = int(told["above"])
    rates = ((name, _rate(told.get(name))) for name in FINER_COUNTS)
    finer = {name: rate for name, rate in rates if rate is not None}
    # An entry of 0 is for short calls, also for those without input.
    return _step(above or -math.inf, tuple(told.get(kind) for kind in _KINDS), finer)


def _step(above: float, dollars: tuple[object, ...], finer: Mapping[str, float]) -> Step:
    input_, output, read, write = map(_rate, dollars)
    plain = input_ or 0
    return Step(
        above,
        input_,
        output,
        plain if read is None else read,
        plain if write is None else write,
        finer,
    )


def _rate(dollars: object) -> float | None:
    """Return a price as a rate; raises `ValueError` or `TypeError` for what is none."""
    if dollars is None:
        return None
    value = math.nan if isinstance(dollars, bool) else float(dollars)  # type: ignore[arg-type]
    if not 0 <= value <= MAX_RATE:  # also false for nan
        raise ValueError
    rate = value * PER_DOLLAR
    whole = round(rate)
    return whole if math.isclose(rate, whole, rel_tol=1e-12) else rate


def _from_json(text: str) -> Any:
    from json import loads  # a millisecond to import, which not every program needs

    return loads(text)
