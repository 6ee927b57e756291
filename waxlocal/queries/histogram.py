"""Numbers counted in bins of equal, round width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from waxlocal.queries.ordered_values import Values

__all__ = ["Bin", "bins", "drawn"]

# No value is drawn larger.
_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Bin:
    """The count of values from `low` up to `high`; the last bin has no upper limit."""

    low: float
    high: float
    count: int


def bins(values: Values, upper: float, most: int = 24) -> list[Bin]:
    """Return counts in at most about `most` bins up to `upper`, and one bin for the rest."""
    if not values.count:
        return []
    upper = drawn(upper)
    step = _round_step(max(upper, drawn(values.percentile(0.0) or 0.0), 1e-9) / most)
    count = max(1, math.ceil(upper / step - 1e-9))
    below = values.counts_below([(number - 1e-9) * step for number in range(1, count + 1)])
    counts = [more - less for less, more in pairwise([0, *below, values.count])]
    found = [Bin(number * step, (number + 1) * step, n) for number, n in enumerate(counts[:-1])]
    return [*found, Bin(count * step, math.inf, counts[-1])] if counts[-1] else found


def drawn(value: float) -> float:
    """Return what is drawn of a value: any program may have written an infinite or a negative one.

    What is not a number is drawn as 0.
    """
    return min(value, _MOST) if value > 0 else 0.0


def _round_step(least: float) -> float:
    """Return the smallest round number (1, 2, 2.5 or 5 times a power of 10) not below this one."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)
