"""Median and percentiles; every query uses these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["median", "percentile", "place_of"]


def place_of(count: int, q: float) -> int:
    """Return the index of a percentile among so many sorted values."""
    return min(count - 1, int(count * q))


def percentile(ordered: Sequence[float], q: float) -> float | None:
    """Return the value at index `int(n * q)` (at most n - 1) of n sorted values; None if n is 0."""
    return ordered[place_of(len(ordered), q)] if ordered else None


def median(counts: Mapping[int, int]) -> float | None:
    """Return the median of values given as counts."""
    total = sum(counts.values())
    if not total:
        return None
    middle: list[int] = []
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen > (total - 1) // 2 and not middle:
            middle.append(value)
        if seen > total // 2:
            return (middle[0] + value) / 2
    return None
