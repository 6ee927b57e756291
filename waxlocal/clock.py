"""Wall time and steady time, behind one small seam, and their text form."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "utc_ns", "utc_text"]

# The years that a four-digit ISO date can name; a clock outside them is wrong, and must not be
# able to stop a record.
_EARLIEST_S = -62_135_596_800
_LATEST_S = 253_402_300_799


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

# strftime costs ten times as much as the rest of a time's text, and a second lasts long: keep the
# text of the last one. One tuple, replaced whole, so that threads never see a mixed pair.
_second = (0, "1970-01-01T00:00:00.")


def utc_text(ns: int) -> str:
    """Return `2026-01-31T09:30:00.123456Z` for nanoseconds since 1970.

    The text sorts as the times do. Times outside the years 1 to 9999 become the nearest of them.
    """
    global _second
    seconds, rest = divmod(ns, 1_000_000_000)
    known, prefix = _second
    if seconds != known:
        day = time.gmtime(min(max(seconds, _EARLIEST_S), _LATEST_S))
        prefix = (
            f"{day.tm_year:04d}-{day.tm_mon:02d}-{day.tm_mday:02d}"
            f"T{day.tm_hour:02d}:{day.tm_min:02d}:{day.tm_sec:02d}."
        )
        _second = (seconds, prefix)
    return f"{prefix}{rest // 1000:06d}Z"


def utc_ns(text: str) -> int:
    """Return nanoseconds since 1970 for what `utc_text` wrote. Raises `ValueError`."""
    from datetime import datetime, timezone  # 3 ms to import, and rarely needed

    if text[4:5] != "-" or text[10:11] != "T":  # fromisoformat knows more forms
        raise ValueError(f"{text!r} is not of the form 2026-01-31T09:30:00.123456Z")
    # A fifth of what strptime takes.
    second = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)
    return int(second.timestamp()) * 1_000_000_000 + int(text[20:26]) * 1000
