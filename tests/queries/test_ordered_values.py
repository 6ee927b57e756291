"""Percentiles of many numbers, which are in order in pieces only."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.queries.ordered_values import PIECE, ListedValues, value_at
from waxlocal.queries.percentiles import percentile

MANY = 61_000
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
    if order == "in waves":  # a piece has only some of the range
        values = [values[start + 2_100 * step] for start in range(2_100) for step in range(10)]
    listed = ListedValues(values)
    for q in (0.0, 0.01, 0.5, 0.95, 0.99, 0.9999, 1.0):
        assert listed.percentile(q) == percentile(sorted(values), q)


def test_pieces_may_differ_in_all() -> None:
    """One has most of them; many have few, which lie elsewhere."""
    random = Random(5)
    pieces = [sorted(random.gauss(0, 1) for _ in range(3 * PIECE))]
    pieces += [sorted(random.gauss(9, 1) for _ in range(3)) for _ in range(900)]
    whole = sorted(chain(*pieces))
    for place in (0, 1, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        assert value_at(pieces, place) == whole[place]


NUMBERS = st.floats(allow_nan=False) | st.integers(0, 9).map(float)


@given(st.lists(st.lists(NUMBERS), min_size=1), st.data())
def test_the_value_at_a_place_is_that_of_all_in_order(
    made: list[list[float]], data: st.DataObject
) -> None:
    """At every place, by guesses alone, too; some pieces, or all but one, may be empty."""
    whole = sorted(chain(*made, [0.0]))
    pieces = [sorted(piece) for piece in (*made, [0.0])]
    place = data.draw(st.integers(0, len(whole) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("waxlocal.queries.ordered_values.PIECE", data.draw(st.sampled_from([0, 3])))
        assert value_at(pieces, place) == whole[place]


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1))), st.floats(0.0, 1.0))
def test_whole_numbers_stay_exact(made: list[list[int]], q: float) -> None:
    """Those that come in order, and those that come in any."""
    values = ListedValues((), "q")
    for piece in made[::2]:
        values.add(array("q", sorted(piece)))
    for piece in made[1::2]:
        values.extend(piece)
    assert values.percentile(q) == percentile(sorted(chain(*made)), q)
    assert values.count == sum(map(len, made))


@given(st.lists(NUMBERS), st.lists(st.floats(allow_nan=False)))
def test_values_are_counted_below_each_limit(values: list[float], limits: list[float]) -> None:
    """Those that are equal to it are not."""
    assert ListedValues(values).counts_below(limits) == [
        bisect_left(sorted(values), limit) for limit in limits
    ]
    assert [*ListedValues(values).in_order()] == sorted(values)
