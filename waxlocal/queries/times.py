"""Parse times as people type them (`24h`, `2026-01-31`) into the UTC text stored in the file."""

from __future__ import annotations

import re
from datetime import date, timedelta, timezone, tzinfo

from waxlocal.clock import SYSTEM_CLOCK, Clock, stored_ns, utc_ns, utc_text
from waxlocal.errors import InvalidQuery

__all__ = ["length_us", "microseconds", "parse_period", "parse_time", "seconds_between"]

# Seconds; more is no length of anything, but any program may have written the row.
_LONGEST_S = 1e12

_AGO = re.compile(r"(\d{1,9})\s*([smhdw])", re.IGNORECASE)
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_time(
    text: str, *, end: bool = False, zone: tzinfo = timezone.utc, clock: Clock = SYSTEM_CLOCK
) -> str:
    """Return a time as UTC text in the format of the file.

    `30m`, `24h`, `7d` and `2w` (also `90s`) mean that long before now; everything else is an ISO
    date, or date and time. Without an offset, the time is in `zone`. A date alone means its start,
    or with `end` its end. Raises `InvalidQuery`.
    """
    return _time(text, clock.time_ns(), end=end, zone=zone)


def _time(text: str, now_ns: int, *, end: bool = False, zone: tzinfo = timezone.utc) -> str:
    given = text.strip()
    ago = _AGO.fullmatch(given)
    if ago:
        seconds = int(ago[1]) * _UNIT_S[ago[2].lower()]
        return utc_text(now_ns - seconds * 1_000_000_000)
    try:
        if end and _DATE.fullmatch(given):
            # Not 24 hours later: a day is longer or shorter when the clocks change.
            next_day = date.fromisoformat(given) + timedelta(days=1)
            return utc_text(utc_ns(next_day.isoformat(), zone) - 1_000)
        return utc_text(utc_ns(given, zone))
    except (ValueError, OverflowError):
        raise InvalidQuery(
            f"{text!r} is not a valid time",
            hint="use 30m, 24h, 7d, 2w, a date like 2026-01-31, or 2026-01-31T09:30:00Z",
        ) from None


def parse_period(
    since: str | None,
    until: str | None,
    *,
    zones: tuple[tzinfo, tzinfo] = (timezone.utc, timezone.utc),
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[str | None, str | None]:
    """Return both ends of a period as `parse_time` does, counted from the same moment.

    None, or empty, is without an end. `zones` are those of the two. Nothing is in a period that
    ends before it begins. Raises `InvalidQuery`.
    """
    now_ns = clock.time_ns()
    return (
        _time(since, now_ns, zone=zones[0]) if since else None,
        _time(until, now_ns, end=True, zone=zones[1]) if until else None,
    )


def seconds_between(begin: str, end: str) -> str:
    """Return SQL for the seconds between two stored times, to the millisecond.

    0 where one is not a valid time, or the end comes first.
    """
    days = f"julianday({end}) - julianday({begin})"
    return f"max(0.0, coalesce(round(({days}) * 86400.0, 3), 0.0))"


def length_us(seconds: float) -> int:
    """Return a length in microseconds, from 0 to 30,000 years: what is beyond that is cut."""
    return round(min(max(seconds, 0.0), _LONGEST_S) * 1e6)


def microseconds(stored: object) -> int:
    """Return a stored time in microseconds since 1970; 0 for what is not a valid time."""
    return (stored_ns(stored) or 0) // 1_000
