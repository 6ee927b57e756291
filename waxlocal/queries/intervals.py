"""Time intervals in microseconds: clipping, overlap by priority, gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import pairwise
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


def divided(intervals: Iterable[Interval], order: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the time of each kind, each instant counted once.

    `order` has groups of kinds. Where several intervals overlap, the instant belongs to the first
    group, and there to the interval that began last: it is the innermost one. Of those that began
    together, that is the one that ends first.
    """
    group_of = {kind: number for number, kinds in enumerate(order) for kind in kinds}
    waiting = sorted((one for one in intervals if one.start < one.end), reverse=True)
    # In each group the innermost interval is on top; those that have ended go when they come up.
    open_now: list[list[tuple[int, int, str]]] = [[] for _ in order]
    times = dict.fromkeys(group_of, 0)
    moments = sorted({at for one in waiting for at in (one.start, one.end)})
    for moment, following in pairwise(moments):
        while waiting and waiting[-1].start == moment:
            start, end, kind = waiting.pop()
            heappush(open_now[group_of[kind]], (-start, end, kind))
        kind = _innermost(open_now, moment)
        if kind:
            times[kind] += following - moment
    return times


def _innermost(open_now: Sequence[list[tuple[int, int, str]]], moment: int) -> str:
    for group in open_now:
        while group and group[0][1] <= moment:
            heappop(group)
        if group:
            return group[0][2]
    return ""


def gaps(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the gaps between the intervals."""
    found: list[Interval] = []
    reached: int | None = None
    for one in sorted(intervals):
        if reached is not None and one.start > reached:
            found.append(Interval(reached, one.start))
        reached = one.end if reached is None else max(reached, one.end)
    return found
