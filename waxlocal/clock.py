"""Wall time and steady time, behind one small seam, and their text form."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["SYSTEM_CLOCK", "Clock", "given_ns", "monotonic", "stored_ns", "utc_ns", "utc_text"]

# The years that a four-digit ISO date can name; a clock outside them is wrong, and must not be
# able to stop a record.
_EARLIEST_S = -62_135_596_800
_LATEST_S = 253_402_300_799
# The times that 64 bits of nanoseconds can name end in the year 2262.
_LATEST_NS = 2**63


class Clock(Protocol):
    """What the recorder asks the time of; give another one to move time in tests."""

    def time_ns(self) -> int:
        """Return nanoseconds since 1970, as `time.time_ns`; may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back, as `time.monotonic_ns`."""
        ...


class _SystemClock:
    """The machine's clocks, without a Python frame between them and the caller."""

    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


SYSTEM_CLOCK: Clock = _SystemClock()

# What every wait of the recorder goes by, in seconds, as `time.monotonic`, and not that itself: a
# program's tests may freeze time. freezegun then replaces `time.monotonic` in every module that has
# it, and a wait whose clock stands still never ends. A `partial` it does not find.
monotonic = partial(time.monotonic)

# strftime costs ten times as much as the rest of a time's text, and a second lasts long: keep the
# text of the last one. One tuple, replaced whole, so that threads never see a mixed pair.
_second = (1, "1970-01-01T00:00:01.")
# The last second that was read, for the same reason: the times of a run lie near each other.
_read_second = ("1970-01-01T00:00:00", 0)


def utc_text(ns: int) -> str:
    """Return `2026-01-31T09:30:00.123456Z` for nanoseconds since 1970.

    The text sorts as the times do. Times outside the years 1 to 9999 become the nearest of them.
    """
    global _second
    seconds = ns // 1_000_000_000
    known, prefix = _second
    if seconds != known:
        day = time.gmtime(min(max(seconds, _EARLIEST_S), _LATEST_S))
        prefix = (
            f"{day.tm_year:04d}-{day.tm_mon:02d}-{day.tm_mday:02d}"
            f"T{day.tm_hour:02d}:{day.tm_min:02d}:{day.tm_sec:02d}."
        )
        if seconds < 1:  # too few digits for the cut below
            return f"{prefix}{ns % 1_000_000_000 // 1000:06d}Z"
        _second = (seconds, prefix)
    # Cutting the digits out of the whole number takes two thirds of the time of formatting them.
    return f"{prefix}{str(ns)[-9:-3]}Z"


def utc_ns(text: str, zone: tzinfo | None = None) -> int:
    """Return nanoseconds since 1970 for an ISO time: what `utc_text` wrote, or any other form.

    What lies behind the microsecond is cut. Without an offset it is a time of `zone`, which is UTC
    unless given. Raises `ValueError`, also for a time outside the years 1 to 9999.
    """
    fraction, stored = text[20:26], text[10:11] == "T" and text[19:20] == "." and text[26:] == "Z"
    if stored and len(fraction) == 6 and fraction.isdecimal() and fraction.isascii():
        return _seconds_of(text[:19]) * 1_000_000_000 + int(fraction) * 1000
    from datetime import datetime, timedelta, timezone  # 3 ms to import, and rarely needed

    utc = timezone.utc
    try:
        moment = datetime.fromisoformat(_plain_iso(text))
        # In UTC: a difference of two zones would not say that it lies outside these years there.
        moment = moment.replace(tzinfo=moment.tzinfo or zone or utc).astimezone(utc)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return (moment - datetime(1970, 1, 1, tzinfo=utc)) // timedelta(microseconds=1) * 1000


def _seconds_of(text: str) -> int:
    """Return seconds since 1970 for `2026-01-31T09:30:00`; those of the last text are known."""
    global _read_second
    known, seconds = _read_second
    if text != known:
        from datetime import datetime, timezone

        seconds = int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())
        _read_second = (text, seconds)
    return seconds


def stored_ns(cell: object) -> int | None:
    """Return nanoseconds since 1970 for a time in the file; None for what is not a valid time.

    Any program may have written the row, and SQLite keeps whatever it is given.
    """
    try:
        return utc_ns(cell) if isinstance(cell, str) else None
    except ValueError:
        return None


def given_ns(given: object) -> int:
    """Return nanoseconds since 1970 that a caller gives as its own time; 0 for anything else."""
    if type(given) is int or type(given) is float:
        return int(given) if 0 < given < _LATEST_NS else 0
    return 0


def _plain_iso(text: str) -> str:
    """Return an ISO time as Python 3.10 reads it: it knows no Z, and fractions of 3 or 6 digits."""
    import re

    plain = re.sub(r"[.,](\d+)", lambda found: "." + found[1][:6].ljust(6, "0"), text, count=1)
    return plain[:-1] + "+00:00" if plain[-1:] in ("Z", "z") else plain
