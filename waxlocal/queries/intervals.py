"""Time intervals in microseconds: clipping, overlap by priority, gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Interval", "clipped", "divided", "gaps"]


class Interval(NamedTuple):
    """A time interval of one kind; empty if it ends before it begins."""

    start: int
    end: int
    kind: str = ""

    @property
    def length(self) -> int:
        """The length in microseconds, never negative."""
        return max(self.end - self.start, 0)


def clipped(intervals: Iterable[Interval], start: int, end: int) -> list[Interval]:
    """Return the parts of the intervals that lie between two times."""
    cut = (Interval(max(one.start, start), min(one.end, end), one.kind) for one in intervals)
    return [one for one in cut if one.start < one.end]


def divided(intervals: Iterable[Interval], order: Sequence[str]) -> dict[str, int]:
    """Return the time of each kind in `order`, each instant counted once.

    Where several kinds overlap, the instant belongs to the one that comes first in `order`.
    """
    rank = {kind: number for number, kind in enumerate(order)}
    edges: list[tuple[int, int, int]] = []
    for start, end, kind in intervals:
        if start < end:
            edges += ((start, rank[kind], 1), (end, rank[kind], -1))
    times = [0] * len(order)
    open_now = [0] * len(order)
    before = 0
    for moment, number, change in sorted(edges):
        first = next((at for at, count in enumerate(open_now) if count), None)
        if first is not None:
            times[first] += moment - before
        open_now[number] += change
        before = moment
    return dict(zip(order, times, strict=True))


def gaps(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the gaps between the intervals."""
    found: list[Interval] = []
    reached: int | None = None
    for one in sorted(intervals):
        if reached is not None and one.start > reached:
            found.append(Interval(reached, one.start))
        reached = one.end if reached is None else max(reached, one.end)
    return found
