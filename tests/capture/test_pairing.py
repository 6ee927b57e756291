"""Which reports are of one call, and which are not."""

from __future__ import annotations

from typing import Any

import pytest

from waxlocal.capture.pairing import Report, find_elsewhere, find_unclaimed, same_model

MS = 1_000_000


def _report(
    scope: str,
    start: int,
    end: int,
    *,
    model: str = "m",
    tokens: tuple[int, int] = (5, 7),
    **more: Any,
) -> Report:
    row = {
        "model": model,
        "tokens_in": tokens[0],
        "tokens_out": tokens[1],
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": None,
        "usage_known": True,
        "status": "ok",
        "response_id": None,
        "prompt_preview": None,
    }
    return Report(scope, start * MS, end * MS, row | more)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (_report("b", 110, 180), True),
        (_report("b", 90, 220), True),
        (_report("b", 98, 203), True),
        (_report("a", 110, 180), False),
        (_report("b", 110, 230), False),
        (_report("b", 300, 400), False),
        (_report("b", 110, 180, tokens=(5, 8)), False),
        (_report("b", 110, 180, model="other"), False),
        (_report("b", 110, 180, model="m-2026-01-01"), True),
        (_report("b", 110, 180, response_id="r"), True),
    ],
    ids=[
        "within", "around", "clocks differ a little", "the same instrumentation", "overlaps only",
        "later", "other tokens", "another model", "a dated name", "an id on one side",
    ],
)  # fmt: skip
def test_two_instrumentations_that_say_the_same_of_one_time(other: Report, found: bool) -> None:
    """Neither is inside the other: they have no parent in common."""
    known = _report("a", 100, 200)
    assert (find_elsewhere([known], other) is known) is found


@pytest.mark.parametrize(
    ("asked", "start", "end", "found"),
    [
        ("q", 110, 230, True),
        ("q", 50, 150, True),
        ("q", 210, 230, False),
        ("q", 50, 90, False),
        ("other", 110, 230, False),
        (None, 110, 230, False),
    ],
)
def test_reports_that_overlap_are_of_one_call_if_they_were_asked_the_same(
    asked: str | None, start: int, end: int, found: bool
) -> None:
    """Between the two ends the first one is written, which another process may hold up."""
    known = _report("a", 100, 200, prompt_preview="q")
    other = _report("b", start, end, prompt_preview=asked)
    assert (find_elsewhere([known], other) is known) is found


def test_ids_of_answers_decide_where_both_have_them() -> None:
    """Whatever the counts say."""
    known = _report("a", 100, 200, response_id="r1")
    assert find_elsewhere([known], _report("b", 110, 180, response_id="r1", tokens=(1, 1))) is known
    assert find_elsewhere([known], _report("b", 110, 180, response_id="r2")) is None


def test_without_counts_nothing_is_the_same() -> None:
    """Two calls of which nobody counted anything may be two calls."""
    known = _report("a", 100, 200, tokens=(0, 0))
    assert find_elsewhere([known], _report("b", 110, 180, tokens=(0, 0))) is None


def test_a_call_by_hand_takes_the_first_that_nobody_has_taken() -> None:
    """Two equal calls are handed over twice."""
    first, second = _report("a", 0, 1), _report("a", 2, 3)
    by_hand = {"model": "m", "tokens_in": 5, "tokens_out": 7}
    assert find_unclaimed([first, second], by_hand) is first
    first.claimed = True
    assert find_unclaimed([first, second], by_hand) is second
    second.claimed = True
    assert find_unclaimed([first, second], by_hand) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("GPT-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4", False),
        ("gpt-4", "gpt-4o", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("claude-opus-4", "claude-opus-4-8", False),
        ("gemini-1.5-pro", "gemini-1.5-pro-002", True),
        ("grok-3", "grok-3-latest", True),
        ("", "gpt-4o", False),
    ],
)
def test_names_of_one_model(one: str, other: str, same: bool) -> None:
    """Asked for by a short name, answered by a dated one."""
    assert same_model(one, other) is same
    assert same_model(other, one) is same


@pytest.mark.parametrize(
    ("by_hand", "found"),
    [
        ((1000, 80), True),
        ((70, 80), True),
        ((1000, 50), True),
        ((70, 50), True),
        ((100, 80), False),
        ((930, 80), False),
        ((70, 30), False),
    ],
    ids=[
        "all", "without the cache", "without the reasoning", "without both",
        "without half of the cache", "the cache alone", "the reasoning alone",
    ],
)  # fmt: skip
def test_a_call_by_hand_may_count_as_its_vendor_does(by_hand: tuple[int, int], found: bool) -> None:
    """Anthropic counts the cache beside the input, Gemini the reasoning beside the output."""
    parts = {"cached_tokens": 900, "cache_write_tokens": 30, "reasoning_tokens": 30}
    known = _report("a", 100, 200, tokens=(1000, 80), **parts)
    row = {"model": "m", "tokens_in": by_hand[0], "tokens_out": by_hand[1]}
    assert (find_unclaimed([known], row) is known) is found


def test_a_call_by_hand_is_rather_the_one_with_all_its_counts() -> None:
    cached = _report("a", 100, 200, tokens=(1000, 80), cached_tokens=900)
    same = _report("a", 300, 400, tokens=(100, 80))
    row = {"model": "m", "tokens_in": 100, "tokens_out": 80}
    assert find_unclaimed([cached, same], row) is same
    same.claimed = True
    assert find_unclaimed([cached, same], row) is cached
