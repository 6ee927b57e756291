"""Wall clocks jump; what is recorded stays sensible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crash.files import assert_sound, count, rows
from waxlocal import WaxellContext
from waxlocal.clock import SYSTEM_CLOCK, utc_ns, utc_text
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings

NOW = 1_769_851_800_000_000_000
DAY = 86_400_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class JumpingClock:
    """Wall time from a list, over and over; steady time that only goes on."""

    def __init__(self, times: list[int]) -> None:
        self._times: Iterator[int] = itertools.cycle(times)
        self._steady = 0

    def time_ns(self) -> int:
        """Return the next time of the list."""
        return next(self._times)

    def monotonic_ns(self) -> int:
        """Return a millisecond more than before."""
        self._steady += 1_000_000
        return self._steady


@pytest.mark.parametrize(
    "times",
    [
        [NOW, NOW - DAY],
        [NOW, 0],
        [NOW, NOW + 3_653 * DAY],
        [NOW, NOW - 1, NOW - 2, NOW - 3],
        [NOW, -DAY, 0, NOW + 3_653 * DAY, NOW - DAY, 10**19, -(10**20)],
    ],
    ids=["a day back", "to 1970", "ten years on", "always back", "each call elsewhere"],
)
def test_jumps_harm_no_run(db_path: Path, times: list[int]) -> None:
    """Durations are never negative, no run ends before it began, ids differ and increase."""
    made = Recorder(Settings(db=db_path), clock=JumpingClock(times))
    before = use_recorder(made)
    for _ in range(20):
        with WaxellContext("agent", session_id="s") as run:
            run.record_llm_call(model="m", tokens_in=1, tokens_out=1)
            run.record_step("step")
            run.record_tool_call(name="tool", duration_ms=5)
            span = run.enter_span("span")
            run.exit_span(span)
    with WaxellContext("open"):
        made.interrupt_open_runs()
    use_recorder(before)
    made.close()
    assert [count(db_path, table) for table in ("runs", "llm_calls", "steps")] == [21, 20, 20]
    wrong = "SELECT count(*) FROM runs WHERE duration < 0 OR completed_at < started_at"
    assert rows(db_path, wrong) == [0]
    assert rows(db_path, "SELECT count(*) FROM spans WHERE duration_ms < 0") == [0]
    ids = rows(db_path, "SELECT run_id FROM runs ORDER BY id")
    assert ids == sorted(set(ids))
    assert_sound(db_path)


@given(st.integers(-(10**20), 10**20))
def test_any_time_has_a_text(ns: int) -> None:
    """27 characters for every number, those of the right time between the years 1 and 9999."""
    made = utc_text(ns)
    assert len(made) == 27
    assert made.endswith("Z")
    try:
        expected = EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        assert made[:4] in ("0001", "9999")
        return
    assert made == expected.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


@given(st.lists(st.integers(-(10**19), 10**19), min_size=2))
def test_text_sorts_as_time_does(times: list[int]) -> None:
    """The order of the texts is the order of the times."""
    assert [utc_text(ns) for ns in sorted(times)] == sorted(utc_text(ns) for ns in times)


@given(st.integers(-(10**20), 10**20))
def test_a_time_is_read_as_it_was_written(ns: int) -> None:
    """To the microsecond, and the text of what was read is the same text."""
    text = utc_text(ns)
    assert utc_text(utc_ns(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31 09:30", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00.5z", "2026-01-31T09:30:00.500000Z"),
        ("2026-01-31T09:30:00,123456789Z", "2026-01-31T09:30:00.123456Z"),
        ("2026-01-31T09:30:00.123456+02:00", "2026-01-31T07:30:00.123456Z"),
        ("2026-01-31T09:30:00-00:30", "2026-01-31T10:00:00.000000Z"),
    ],
)
def test_any_form_of_an_iso_time_is_read(text: str, expected: str) -> None:
    """With and without seconds, fraction and offset, on every version of Python."""
    assert utc_text(utc_ns(text)) == expected


def test_a_time_without_an_offset_is_one_of_the_zone() -> None:
    """An offset in the text goes before the zone."""
    east = timezone(timedelta(hours=2))
    assert utc_text(utc_ns("2026-01-31T09:30:00", east)) == "2026-01-31T07:30:00.000000Z"
    assert utc_text(utc_ns("2026-01-31T09:30:00Z", east)) == "2026-01-31T09:30:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-02-31T09:30:00.000000Z",
        "2026-01-31T09:30:60.000000Z",
        "2026-01-31T09:30:00.+12345Z",
        "0001-01-01T00:00:00+23:59x",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "None",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    """No day, second or fraction is made up."""
    with pytest.raises(ValueError, match=r"."):
        utc_ns(text)


def test_the_system_clock_is_the_systems() -> None:
    """The default clock tells the time of day, and a steady time beside it."""
    assert SYSTEM_CLOCK.time_ns() > NOW - 400 * DAY
    assert SYSTEM_CLOCK.monotonic_ns() <= SYSTEM_CLOCK.monotonic_ns()
