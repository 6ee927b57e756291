"""One attempt in each span of time, drawn from all of it; a server's wishes are honoured."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal_daemon.backoff import CAP_S, RETRY_AFTER_CAP_S, next_slot, retry_after

NOW = 1_769_851_800.0  # 2026-01-31T09:30:00Z


def test_spans_double_up_to_the_cap() -> None:
    """After 1, 2, 3 failures the span is 1, 2, 4 seconds long, and never longer than 5 minutes."""
    lengths = [next_slot(0.0, 0.0, failures, lambda: 0.0).end for failures in range(1, 12)]
    assert lengths == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(st.integers(1, 50), st.floats(0, 0.999), st.floats(0, 1e6), st.floats(0, 300))
def test_the_attempt_lies_in_its_span(
    failures: int, drawn: float, now: float, ahead: float
) -> None:
    """Spans follow each other without gap, so none holds two attempts."""
    slot = next_slot(now, now + ahead, failures, lambda: drawn)
    assert now + ahead <= slot.at <= slot.end <= now + ahead + CAP_S + 1e-6


def test_a_day_of_outage_takes_one_attempt_per_cap() -> None:
    """24 hours hold 288 spans of 5 minutes; the first nine are shorter."""
    random, now, end, attempts = Random(7).random, 0.0, 0.0, 0
    while now < 86_400:
        attempts += 1
        now, end = next_slot(now, end, attempts, random)
    assert 280 <= attempts <= 288 + 10


def test_a_clock_set_back_does_not_stop_the_upload() -> None:
    """An end that lies further ahead than any span is long comes from another time."""
    assert next_slot(100.0, 1e9, 3, lambda: 0.5).end <= 100 + CAP_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("Sat, 31 Jan 2026 09:31:00 GMT", 60.0),
        ("Sat, 31 Jan 2026 09:31:00 -0000", 60.0),
        ("Sat, 31 Jan 2020 09:31:00 GMT", 0.0),
        ("-5", 0.0),
        ("99999999", RETRY_AFTER_CAP_S),
        ("1e9", RETRY_AFTER_CAP_S),
        ("inf", RETRY_AFTER_CAP_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_CAP_S),
        ("nan", None),
        ("tomorrow", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_comes_in_two_forms_and_in_none(
    header: str | None, seconds: float | None
) -> None:
    """Seconds or a date, at most an hour; what cannot be understood is not a header."""
    assert retry_after(header, NOW) == seconds
