"""What an emitter's counts mean: all input and all output, whatever stood beside them."""

from __future__ import annotations

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.token_counts import MAX_COUNT, TokenCounts, count, settled

COUNTS = st.integers(0, 10**9)
MAYBE = st.none() | COUNTS
ANYTHING = st.tuples(MAYBE, MAYBE, MAYBE, MAYBE, MAYBE).map(lambda five: TokenCounts(*five))


@given(ANYTHING, MAYBE, st.booleans())
def test_input_is_the_sum_exactly_where_the_cache_was_counted_beside_it(
    sent: TokenCounts, total: int | None, known_beside: bool
) -> None:
    read, write = sent.cached or 0, sent.cache_write or 0
    result = settled(sent, total, cache_beside=known_beside).tokens_in
    if sent.tokens_in is None:
        assert result is None
        return
    out = sent.tokens_out or 0
    beside = read + write > 0 and (
        known_beside
        or read + write > sent.tokens_in
        or total == sent.tokens_in + out + read + write
    )
    assert result == sent.tokens_in + (read + write if beside else 0)


@given(ANYTHING, MAYBE, st.booleans(), st.booleans())
def test_the_parts_of_a_settled_count_fit_into_the_whole(
    sent: TokenCounts, total: int | None, cache_beside: bool, reasoning_beside: bool
) -> None:
    found = settled(sent, total, cache_beside=cache_beside, reasoning_beside=reasoning_beside)
    if found.tokens_in is not None:
        assert (found.cached or 0) + (found.cache_write or 0) <= found.tokens_in
    if found.tokens_out is not None:
        assert (found.reasoning or 0) <= found.tokens_out
    # What was not counted stays unknown, and the parts stay as they were sent.
    assert (found.tokens_in is None) == (sent.tokens_in is None)
    assert (found.tokens_out is None) == (sent.tokens_out is None)
    assert found[2:5] == sent[2:5]


@given(ANYTHING, MAYBE)
def test_a_sum_that_the_numbers_called_for_is_said(sent: TokenCounts, total: int | None) -> None:
    found = settled(sent, total)
    changed = found.tokens_in != sent.tokens_in or found.tokens_out != sent.tokens_out
    assert bool(found.note) == changed


def test_a_note_names_the_numbers_and_the_reason() -> None:
    more = settled(TokenCounts(tokens_in=200, cached=900, cache_write=100))
    assert more.note == (
        "1,000 cached tokens were counted beside the input: more than the 200 of input"
    )
    total = settled(TokenCounts(2000, 80, 900, 100), 3080)
    assert (total.tokens_in, total.note) == (
        3000,
        "1,000 cached tokens were counted beside the input: as the total of 3,080 says",
    )
    thought = settled(TokenCounts(100, 20, reasoning=30), 150)
    assert (thought.tokens_out, thought.note) == (
        50,
        "30 reasoning tokens were counted beside the output: more than the 20 of output",
    )


def test_an_emitter_that_is_known_needs_no_note() -> None:
    assert settled(TokenCounts(5000, 1, 3000), cache_beside=True) == TokenCounts(8000, 1, 3000)


def test_input_that_was_cached_to_the_last_token_is_the_input() -> None:
    sent = TokenCounts(1000, 30, 900, 100, 30)
    assert settled(sent) == sent


def test_a_total_that_is_input_and_output_changes_nothing() -> None:
    sent = TokenCounts(1200, 80, 900, 100, 30)
    assert settled(sent, 1280) == sent


class Level(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), (7, 7), (7.0, 7), ("1200", 1200), (Level.SEVEN, 7), (MAX_COUNT, MAX_COUNT)],
)
def test_counts_come_as_numbers_or_digits(value: object, number: int) -> None:
    found = count(value)
    assert found == number
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, -1, -7.0, 1.5, float("nan"), float("inf"), MAX_COUNT + 1, 10**400),
        *("", "-1", "1.0", "seven", "\u0667", "9" * 10_000, [], {}, b"7", object()),
    ],
)
def test_what_is_not_a_count_is_unknown(value: object) -> None:
    assert count(value) is None


def test_counts_are_known_when_the_input_or_the_output_is() -> None:
    assert TokenCounts(tokens_in=0).is_known
    assert TokenCounts(tokens_out=3).is_known
    assert not TokenCounts(cached=3).is_known
