"""Figures as the pages show them."""

from __future__ import annotations

import pytest

from waxlocal.web.pages.figures import (
    axis_money,
    byte_size,
    exact_time,
    milliseconds,
    pretty,
    short_id,
    short_tokens,
)
from waxlocal.web.pages.folds import fold
from waxlocal.wording import NOTHING, rate


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, NOTHING), (0, "0"), (1_250, "1,250"), (999_949, "999,949"), (999_950, "1.0 M"),
     (1_312_000, "1.3 M"), (999_949_999, "999.9 M"), (999_950_000, "1.0 B"),
     (2_785_233_563, "2.8 B")],
)  # fmt: skip
def test_tokens_are_short_from_a_million_on(number: int | None, shown: str) -> None:
    """No number reads as a thousand of its smaller unit."""
    assert short_tokens(number) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(0, "$0"), (0.5, "$0.50"), (0.0025, "$0.0025"), (0.25, "$0.25"), (1.4, "$1.40"),
     (1234.5, "$1,234.50"), (0.00001, "$0.00001"), (0.2, "$0.20")],
)  # fmt: skip
def test_money_on_an_axis_has_no_idle_zeros(dollars: float, shown: str) -> None:
    """But always cents."""
    assert axis_money(dollars) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, "1 byte"), (840, "840 bytes"), (12_345, "12.3 kB"), (999_950, "1.0 MB")],
)
def test_sizes_have_one_unit(number: int, shown: str) -> None:
    """Bytes, kilobytes, megabytes."""
    assert byte_size(number) == shown


def test_other_figures() -> None:
    """Milliseconds as durations, prices with the digits they have, times in full."""
    assert milliseconds(1_500) == "1.5 s"
    assert milliseconds(None) == NOTHING
    assert (rate(2.5), rate(0.075), rate(None)) == ("$2.50", "$0.075", NOTHING)
    assert exact_time("2026-01-31T09:30:00.123456Z") == "2026-01-31 09:30:00 UTC"
    assert exact_time(None) == ""


def test_a_long_id_keeps_both_ends() -> None:
    """And a short one stays as it is."""
    assert short_id("sess_00000000000de301") == "sess_00000000000de301"
    long = short_id("a" * 100 + "tail-1")
    assert len(long) == 28
    assert long.endswith("…tail-1")


def test_values_are_text_or_indented_json() -> None:
    """Text is not quoted, nothing is escaped that need not be."""
    assert pretty("as it is\n") == "as it is\n"
    assert pretty({"a": "ü"}) == '{\n  "a": "ü"\n}'
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert '"$deep"' in pretty(deep)


def test_a_text_that_is_a_little_long_is_not_folded() -> None:
    """A click must be worth it."""
    assert fold("x" * 1_500, most=5_000).head == ""  # type: ignore[union-attr]
    folded = fold("x" * 1_600, most=5_000)
    assert folded is not None
    assert (len(folded.head), folded.cut) == (1_000, False)
    lines = fold("\n".join(map(str, range(100))), most=5_000)
    assert lines is not None
    assert lines.head == "\n".join(map(str, range(16)))


@pytest.mark.parametrize("nothing", [None, "", "  \n"])
def test_nothing_to_say_is_no_text(nothing: str | None) -> None:
    """And leaves no empty box."""
    assert fold(nothing, most=100) is None


def test_more_than_a_page_takes_is_cut_and_counted() -> None:
    """With the length of the whole."""
    folded = fold("y" * 500, most=100, chars=50)
    assert folded is not None
    assert (len(folded.text), folded.length, folded.cut) == (100, 500, True)
