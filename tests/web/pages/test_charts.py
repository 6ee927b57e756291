"""Charts as shapes: inside their frame, true to their numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.queries.histogram import bins
from waxlocal.queries.ordered_values import ListedValues
from waxlocal.web.pages.charts import (
    Part,
    columns,
    histogram,
    lines,
    share,
    sparkline,
    stretch,
)

ONE = (Part("p1", "sessions"),)
COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=80)
COSTS = st.lists(st.floats(0, 1_000, allow_nan=False), min_size=1, max_size=200).map(sorted)


@pytest.mark.parametrize(
    ("value", "whole", "percent"),
    [(5, 10, 50.0), (10, 10, 100.0), (20, 10, 100.0), (0, 10, 0.0), (None, 10, 0.0), (1, 0, 0.0),
     (0.001, 10, 0.8), (-1, 10, 0.0)],
)  # fmt: skip
def test_a_bar_is_as_long_as_its_value(value: float, whole: float, percent: float) -> None:
    """What is more than nothing shows, and nothing is longer than all."""
    assert share(value, whole) == percent


@given(COUNTS)
def test_columns_are_as_tall_as_their_values(values: list[int]) -> None:
    """The tallest fills the height; all stand on the same floor, side by side, inside."""
    rows = [(str(n), str(value)) for n, value in enumerate(values)]
    chart = columns(
        "t", "s", [str(n) for n in range(len(values))], [(value,) for value in values],
        parts=ONE, head=("n", "value"), rows=rows,
    )  # fmt: skip
    assert len(chart.bars) == sum(value > 0 for value in values)
    assert chart.rows == tuple(rows)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= 100.01
        assert bar.y >= 0
        assert bar.y + bar.height == pytest.approx(chart.floor, abs=0.1)
    if chart.bars:
        tallest = max(bar.height for bar in chart.bars)
        said = max(chart.bars, key=lambda bar: bar.height).label
        assert int(said.rsplit(" ", 1)[1]) == max(values)
        assert tallest > 90


def test_a_column_is_one_link_however_many_parts_it_has() -> None:
    """So is the row of the table that says the same; a part that is nothing has no bar."""
    chart = columns(
        "t", "s", ["1", "2"], [(3, 4), (0, 5)], parts=(Part("p2", "old"), Part("p1", "new")),
        head=("n", "new"), rows=[("1", "4"), ("2", "5")], hrefs=["#one", "#two"],
    )  # fmt: skip
    found = [(href, [bar.kind for bar in bars]) for href, _, bars in chart.columns]
    assert found == [("#one", ["p2", "p1"]), ("#two", ["p1"])]
    assert [label for _, label, _ in chart.columns] == ["n: 1, new: 4", "n: 2, new: 5"]
    assert chart.hrefs == ("#one", "#two")


def test_a_stack_is_as_tall_as_its_sum() -> None:
    """Its parts stand on each other, in their order from the floor up."""
    chart = columns(
        "t", "s", ["1", "2"], [(30, 10), (0, 80)], parts=(Part("p2", "old"), Part("p1", "new")),
        head=("n", "a"), rows=[("1", "x"), ("2", "y")],
    )  # fmt: skip
    old, new, other = chart.bars
    assert old.y == pytest.approx(new.y + new.height)
    assert old.height == pytest.approx(3 * new.height)
    assert old.height + new.height == pytest.approx(other.height / 2)
    assert [part.name for part in chart.parts] == ["old", "new"]


@given(st.lists(st.one_of(st.sampled_from([0.0, 1e-6, 0.1, 0.2, 0.5]), st.floats(0, 1e9))))
def test_every_value_is_in_one_bin(costs: list[float]) -> None:
    """Between its bounds, which are 1, 2 and 5 times powers of ten, or powers alone."""
    found = bins(ListedValues(costs))
    assert sum(one.count for one in found) == len(costs)
    edges = [one.low * (1 - 1e-9) for one in found] + [math.inf]
    for one, (low, high) in zip(found, pairwise(edges), strict=True):
        assert sum(low <= cost < high for cost in costs) == one.count
    assert all(one.high == next_.low for one, next_ in pairwise(found))
    ratios = {round(one.high / one.low, 6) for one in found if one.low > 0 and one.high < math.inf}
    assert ratios <= {2.0, 2.5} or ratios == {10.0}
    assert len(found) <= 24
    assert not found or (found[0].count and found[-1].count)


def test_cheap_sessions_are_told_apart_beside_an_expensive_one() -> None:
    """A thousand of a cent to a dollar do not stand in one bar."""
    costs = [10.0**-power * digit for power in (1, 2, 3) for digit in range(1, 10)]
    found = bins(ListedValues([*costs, 2_000.0]))
    assert max(one.count for one in found) == 5
    assert (found[0].low, found[-1].low) == (0.001, 2_000.0)


@given(COSTS)
def test_a_histogram_stays_inside_and_marks_where_values_lie(costs: list[float]) -> None:
    """Marks stand between the first and the last bin."""
    found = bins(ListedValues(costs))
    labels = [f"{one.low:g}" for one in found]
    chart = histogram(
        "t", "s", found, labels, head=("cost", "n"),
        rows=[(label, str(one.count)) for label, one in zip(labels, found, strict=True)],
        marks=[(costs[len(costs) // 2], "p50"), (costs[-1], "max")],
    )  # fmt: skip
    assert all(0 <= bar.x <= 100 and bar.y >= 0 for bar in chart.bars)
    assert all(0 <= mark.x <= 100 for mark in chart.marks)
    assert chart.marks[0].x <= chart.marks[1].x


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), min_size=1, max_size=5))
def test_lines_run_from_edge_to_edge(series: list[list[float]]) -> None:
    """The largest value of all touches the top; each line has a dash of its own."""
    named = [(f"m{n}", values) for n, values in enumerate(series)]
    chart = lines("t", "s", ["a", "b", "c"], named, top_label="most", head=("x",), rows=[])
    assert len({line.kind for line in chart.lines}) == len(series)
    for line in chart.lines:
        assert [x for x, _ in line.points] == [0.0, 50.0, 100.0]
        assert all(0 <= y <= chart.floor for _, y in line.points)


def test_a_line_of_one_stretch_is_seen() -> None:
    """It is drawn across."""
    [line] = lines("t", "s", ["a"], [("m", [5.0])], top_label="", head=(), rows=[]).lines
    assert [x for x, _ in line.points] == [0.0, 100.0]


@given(st.floats(-10, 20), st.floats(0, 30), st.floats(0, 10))
def test_a_stretch_stays_on_the_axis(start: float, length: float, whole: float) -> None:
    """Whatever the clocks said; and it can be seen."""
    place, width = stretch(start, length, whole)
    assert 0 <= place <= 100
    assert width > 0
    assert place + width <= 100.01


def test_a_sparkline_has_a_bar_for_each_value() -> None:
    """The tallest as tall as it may be, nothing as nothing."""
    assert sparkline([0, 5, 10], 10) == ((0, 10, 0.0), (1, 5.0, 5.0), (2, 0.0, 10.0))
    assert sparkline([], 10) == ()
    assert sparkline([0], 10) == ((0, 10, 0.0),)
