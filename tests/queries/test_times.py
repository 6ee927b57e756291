from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from tests.tools.builders import FixedClock, moment
from waxlocal.errors import InvalidQuery
from waxlocal.queries import SessionFilter, parse_time
from waxlocal.queries.times import microseconds, parse_period


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1 D", 86_400),
    ],
)
def test_a_time_ago_is_counted_back_from_the_clock(text: str, seconds: int) -> None:
    """`30m`, `24h`, `7d` and `2w` name the moment that long before now."""
    assert parse_time(text, clock=FixedClock()) == moment(-seconds)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2025-01-14", "2025-01-14T00:00:00.000000Z"),
        ("2025-01-14T10:00:00Z", "2025-01-14T10:00:00.000000Z"),
        ("2025-01-14 10:00", "2025-01-14T10:00:00.000000Z"),
        ("2025-01-14T10:00:00.5Z", "2025-01-14T10:00:00.500000Z"),
        ("2025-01-14T10:00:00.1234567+02:00", "2025-01-14T08:00:00.123456Z"),
        (" 2025-01-14T10:00:00.123456Z ", "2025-01-14T10:00:00.123456Z"),
    ],
)
def test_an_iso_time_becomes_the_text_the_file_holds(text: str, stored: str) -> None:
    """ISO dates and times come out as UTC text with microseconds."""
    assert parse_time(text) == stored


def test_a_time_without_an_offset_is_of_the_given_zone() -> None:
    """A naive time is UTC unless another zone is given."""
    east = timezone(timedelta(hours=2))
    assert parse_time("2025-01-14T10:00", zone=east) == "2025-01-14T08:00:00.000000Z"


def test_a_date_as_an_end_includes_the_whole_day() -> None:
    """With `end`, a bare date is its last moment; a date with a time stays itself."""
    assert parse_time("2025-01-14", end=True) == "2025-01-14T23:59:59.999999Z"
    assert parse_time("2025-01-14T10:00Z", end=True) == "2025-01-14T10:00:00.000000Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01", "24 hours", "-5d", "9999-12-31x"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    """Other text raises `InvalidQuery`, whose hint shows what would do."""
    with pytest.raises(InvalidQuery) as caught:
        parse_time(text)
    assert "24h" in caught.value.hint


@pytest.mark.parametrize("text", ["999999999w", "9999-12-31T23:59:59-12:00"])
def test_a_moment_out_of_all_years_is_the_nearest_or_refused(text: str) -> None:
    """A moment that no year can name never escapes as another error."""
    try:
        stored = parse_time(text, clock=FixedClock())
    except InvalidQuery:
        return
    assert len(stored) == len(moment(0))


def test_a_filter_settles_its_times_when_it_is_made() -> None:
    """`since` and `until` of a filter are stored text, taken from its clock once."""
    chosen = SessionFilter(since="24h", until="2026-02-01", clock=FixedClock())
    assert (chosen.since, chosen.until) == (moment(-86_400), "2026-02-01T23:59:59.999999Z")


def test_a_period_may_lack_an_end() -> None:
    """Its times are those of one moment, and a date as its end is the whole day."""
    clock = FixedClock()
    assert parse_period("5d", None, clock=clock) == (moment(-5 * 86_400), None)
    assert parse_period("", "2026-02-01", clock=clock) == (None, "2026-02-01T23:59:59.999999Z")


def test_a_stored_time_has_microseconds() -> None:
    """Stored text turns into microseconds since 1970; text that is not a valid time into 0."""
    assert microseconds(moment(1.5)) - microseconds(moment(0)) == 1_500_000
    assert microseconds("1970-01-01T00:00:00.000001Z") == 1
    assert microseconds("soon") == microseconds(b"\xff") == 0
