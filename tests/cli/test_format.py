"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from tests.tools.builders import START_NS, moment
from tests.tools.zones import UTC, in_zone
from waxlocal.cli import figures


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (0.0045, "$0.0045"),
        (0.00009, "$0.000090"),
        (0.000996, "$0.0010"),
        (0.00996, "$0.0100"),
        (1e-12, "<$0.000000001"),
        (0.99999, "$1.00"),
        (0.5, "$0.5000"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
        (math.inf, "$1,000,000,000,000,000,000.00"),
    ],
)
def test_money_has_four_decimals_below_a_dollar_and_two_digits_below_a_cent(
    dollars: float | None, shown: str
) -> None:
    """An unknown amount is `unknown`, and never reads as nothing."""
    assert figures.money(dollars) == shown


@pytest.mark.parametrize(
    ("dollars", "share", "shown"),
    [
        (0.0042, 1.0, "$0.0042"),
        (0.0042, 0.934, "$0.0042 (93% priced)"),
        (0.0042, 0.9999, "$0.0042 (99% priced)"),
        (0.0042, 0.0001, "$0.0042 (<1% priced)"),
        (None, 0.0, "unknown"),
        (0.0, 0.0, "unknown"),
        (0.0, 1.0, "$0"),
        (None, None, figures.NOTHING),
    ],
)
def test_a_cost_says_how_much_of_it_is_known(
    dollars: float | None, share: float | None, shown: str
) -> None:
    """The priced share stands beside a cost unless all of the tokens have a price."""
    assert figures.cost(dollars, share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, figures.NOTHING),
        (0.0, "0 ms"),
        (0.0002, "<1 ms"),
        (0.84, "840 ms"),
        (0.9996, "1.0 s"),
        (2.44, "2.4 s"),
        (59.96, "1 m 0 s"),
        (192.0, "3 m 12 s"),
        (3599.8, "1 h 0 m"),
        (7500.0, "2 h 5 m"),
        (86_390.0, "1 d 0 h"),
        (273_600.0, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, shown: str) -> None:
    """No duration reads as sixty of its smaller unit."""
    assert figures.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "<1 s"), (0.2, "200 ms"), (1, "1.0 s"), (61, "1 m 1 s")]
)
def test_elapsed_time_is_exact_where_it_is_known(seconds: float, shown: str) -> None:
    """Of 0.2 a session with one run of 22 ms does not say that 0 ms have gone by."""
    assert figures.elapsed(seconds) == shown


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (3, "just now"),
        (42, "42 s ago"),
        (125, "2 min ago"),
        (3 * 3600, "3 h ago"),
        (5 * 86_400, "5 d ago"),
        (-30, "just now"),
        (-7200, "2026-01-31 11:30"),
    ],
)
def test_times_are_relative_to_now(before: int, shown: str) -> None:
    """A recent time is told by its distance, one in the future as it is."""
    with in_zone(UTC):
        assert figures.ago(moment(-before), START_NS) == shown


def test_an_old_time_is_its_date() -> None:
    """After a month a date says more than a number of days."""
    with in_zone(UTC):
        assert figures.ago(moment(-40 * 86_400), START_NS) == "2025-12-22"
    assert figures.ago(None, START_NS) == figures.NOTHING


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0%"), (0.001, "<1%"), (0.125, "12%"), (0.999, "99%"), (1.0, "100%")],
)
def test_only_all_is_a_hundred_percent(share: float, shown: str) -> None:
    """Rounding makes neither everything of almost everything nor nothing of a little."""
    assert figures.percent(share) == shown


def test_a_bar_is_as_long_as_its_value() -> None:
    """The longest fills the width, a very short one still shows, nothing shows nothing."""
    assert figures.bar(10, 10, 8) == "█" * 8
    assert figures.bar(5, 10, 8) == "█" * 4
    assert figures.bar(0.001, 10, 8) == "▏"
    assert figures.bar(0, 10, 8) == ""
    assert figures.bar(20, 10, 8) == "█" * 8
    assert figures.bar(5, 10, 8, ascii_only=True) == "####"
