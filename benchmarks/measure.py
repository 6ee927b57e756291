"""Timing variants against each other: in alternating blocks, or one by one after idling."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from benchmarks.workload import Turn

__all__ = ["Samples", "Variant", "after_idle", "alternated", "timed"]

BLOCK = 200
# Enough for every page cache, prepared statement and branch predictor to have seen the work.
WARM_UP = 1_000
IDLE_S = 0.010


class Samples:
    """Durations in nanoseconds, in the order in which they were taken."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.values = array("q", values)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, value: int) -> None:
        """Take one more duration."""
        self.values.append(value)

    def time(self, record: Callable[[Turn], object], turns: Sequence[Turn]) -> None:
        """Take the duration of one call for each turn."""
        clock, add = time.perf_counter_ns, self.values.append
        for turn in turns:
            before = clock()
            record(turn)
            add(clock() - before)

    def us(self, quantile: float) -> float:
        """Return a quantile by nearest rank, in microseconds; NaN when there are no samples."""
        if not self.values:
            return float("nan")
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] / 1_000

    def ms(self, quantile: float) -> float:
        """Return a quantile in milliseconds."""
        return self.us(quantile) / 1_000

    @property
    def max_us(self) -> float:
        """The slowest, in microseconds."""
        return self.us(1.0)

    @property
    def mean_us(self) -> float:
        """The mean, in microseconds: with checkpoints and all."""
        return sum(self.values) / len(self.values) / 1_000 if self.values else float("nan")


@dataclass(frozen=True)
class Variant:
    """One way to do the same unit of work.

    `block` is entered around each block of calls, outside of what is timed.
    """

    name: str
    record: Callable[[Turn], object]
    turns: Sequence[Turn]
    block: Callable[[], AbstractContextManager[object]] = nullcontext


def alternated(variants: Sequence[Variant], *, block: int = BLOCK) -> dict[str, Samples]:
    """Time each call of each variant, flat out, block by block in turn.

    The order within a round is reversed every time, so that none always follows the same other.
    The first `WARM_UP` turns of each are not counted.
    """
    taken = {variant.name: Samples() for variant in variants}
    uncounted = Samples()
    # What this program holds must not be walked by the collector while others are timed.
    gc.collect()
    gc.freeze()
    order = list(variants)
    for start in range(0, max(len(variant.turns) for variant in variants), block):
        for variant in order:
            turns = variant.turns[start : start + block]
            with variant.block():
                counted = taken[variant.name] if start >= WARM_UP else uncounted
                counted.time(variant.record, turns)
        order.reverse()
    gc.unfreeze()
    return taken


def after_idle(
    variants: Sequence[Variant], count: int, *, idle: float = IDLE_S
) -> dict[str, Samples]:
    """Time `count` calls of each variant, each after `idle` seconds of sleep, call by call in turn.

    An agent does not record flat out: after a pause the caches hold something else and the
    processor has clocked down.
    """
    taken = {variant.name: Samples() for variant in variants}
    gc.collect()
    gc.freeze()
    order = list(variants)
    for index in range(count):
        for variant in order:
            with variant.block():
                time.sleep(idle)
                taken[variant.name].time(variant.record, variant.turns[index : index + 1])
        order.reverse()
    gc.unfreeze()
    return taken


def timed(calls: Sequence[tuple[str, Callable[[], object]]], rounds: int) -> dict[str, Samples]:
    """Time each call `rounds` times, in turn, after one uncounted round."""
    taken = {name: Samples() for name, _call in calls}
    for index in range(rounds + 1):
        for name, call in calls:
            before = time.perf_counter_ns()
            call()
            if index:
                taken[name].add(time.perf_counter_ns() - before)
    return taken
