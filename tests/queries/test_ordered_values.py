"""Percentiles of many numbers, of which only a few are put in order."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.queries.ordered_values import FEW, ListedValues, SortedPieces, sorted_pieces, value_at
from waxlocal.queries.percentiles import percentile

MANY = FEW + 1_000
SHAPES = {
    "at random": lambda random: random.random(),
    "mostly small": lambda random: random.paretovariate(1.1),
    "mostly equal": lambda random: random.choice((0.0, 0.0, 0.0, random.random())),
    "all equal": lambda random: 2.5,
    "infinite, and below zero": lambda random: random.choice((-1.0, float("inf"), 0.0)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["as made", "sorted", "the largest first", "in waves"])
def test_percentiles_of_many_are_those_of_all_in_order(shape: str, order: str) -> None:
    """Whatever the numbers are, and whatever order they come in: no luck is needed."""
    random = Random(3)
    values = [SHAPES[shape](random) for _ in range(MANY)]
    if order != "as made":
        values.sort(reverse=order == "the largest first")
    if order == "in waves":  # the regular sample sees only the smallest of each wave
        values = [values[start + 2_100 * step] for start in range(2_100) for step in range(10)]
    listed = ListedValues(array("d", values))
    pieces = SortedPieces(sorted_pieces(array("q", (hash(value) for value in values))))
    for q in (0.0, 0.01, 0.5, 0.95, 0.99, 0.9999, 1.0):
        assert listed.percentile(q) == percentile(sorted(values), q)
        assert pieces.percentile(q) == percentile(sorted(map(hash, values)), q)


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.data())
def test_the_value_at_a_place_is_that_of_the_sorted_list(
    values: list[float], data: st.DataObject
) -> None:
    """At every place."""
    place = data.draw(st.integers(0, len(values) - 1))
    assert value_at(values, place) == sorted(values)[place]


@given(
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9))), st.floats(0.0, 1.0)
)
def test_percentiles_of_sorted_pieces_are_those_of_all_in_order(
    pieces: list[list[int]], q: float
) -> None:
    """Whatever the numbers are, and if some pieces, or all, are empty."""
    values = SortedPieces(array("q", sorted(piece)) for piece in pieces)
    assert values.percentile(q) == percentile(sorted(chain(*pieces)), q)


@given(st.lists(st.floats(allow_nan=False)), st.lists(st.floats(allow_nan=False)))
def test_values_are_counted_below_each_limit(values: list[float], limits: list[float]) -> None:
    """Those that are equal to it are not."""
    limits.sort()
    assert ListedValues(values).counts_below(limits) == [
        bisect_left(sorted(values), limit) for limit in limits
    ]
