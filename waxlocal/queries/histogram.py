"""Dollars counted in bins whose edges are 1, 2 and 5 times a power of ten: a log scale.

In bins of equal width one expensive session would push nearly all others into the first one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from waxlocal.queries.ordered_values import Values

__all__ = ["Bin", "bins", "drawn"]

# No value is drawn larger.
_MOST = 1e15
# A millionth of a dollar is less than any call costs; what is below counts with what is free.
_POWERS = range(-6, 7)
_EDGES = tuple(float(f"{factor}e{power}") for power in _POWERS for factor in (1, 2, 5))
_DECADES = tuple(float(f"1e{power}") for power in _POWERS)
_MOST_BINS = 24


@dataclass(frozen=True, slots=True)
class Bin:
    """The count of values from `low` up to `high`; the first has what is less, the last no end."""

    low: float
    high: float
    count: int


def bins(values: Values) -> list[Bin]:
    """Return counts from the first bin with a value to the last one, at most 24 of them."""
    found = _counted(values, _EDGES)
    return found if len(found) <= _MOST_BINS else _counted(values, _DECADES)


def _counted(values: Values, edges: Sequence[float]) -> list[Bin]:
    # A value that was added up may be a little less than its edge.
    below = values.counts_below([edge * (1 - 1e-9) for edge in edges])
    counts = [more - less for less, more in pairwise([0, *below, values.count])]
    ends = pairwise([0.0, *edges, math.inf])
    found = [Bin(low, high, count) for (low, high), count in zip(ends, counts, strict=True)]
    filled = [place for place, one in enumerate(found) if one.count]
    return found[filled[0] : filled[-1] + 1] if filled else []


def drawn(value: float) -> float:
    """Return what is drawn of a value: any program may have written an infinite or a negative one.

    What is not a number is drawn as 0.
    """
    return min(value, _MOST) if value > 0 else 0.0
