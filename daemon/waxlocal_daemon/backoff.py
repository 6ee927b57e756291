"""When to try again: full jitter, one attempt in each span of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import NamedTuple

__all__ = ["CAP_S", "Slot", "next_slot", "retry_after"]

BASE_S = 1.0
CAP_S = 300.0
# A server may ask for patience, but not for ever: a wrong clock there would stop the upload.
RETRY_AFTER_CAP_S = 3600.0


class Slot(NamedTuple):
    """A span of time with one attempt in it: at `at`, before `end`; seconds of one clock."""

    at: float
    end: float


def next_slot(now: float, end: float, failures: int, random: Callable[[], float]) -> Slot:
    """Return the next attempt after so many failures in a row (1 or more).

    Spans of 1, 2, 4, ... 300 seconds follow each other without gap, and in each there is one
    attempt, at a time drawn evenly from all of it. Full jitter alone would draw from zero each
    time, and so try twice as often as its cap says; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    length = min(CAP_S, BASE_S * 2.0 ** min(failures - 1, 16))
    # An end far ahead comes from a clock that has been set back since.
    begin = max(now, end) if end - now <= CAP_S else now
    return Slot(begin + random() * length, begin + length)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most an hour.

    Seconds or a date (RFC 9110, 10.2.3); `now` in seconds since 1970. None when there is no
    header or none that can be understood.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        seconds = date.timestamp() - now
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_CAP_S)
