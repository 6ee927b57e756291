"""When to try again: with full jitter, once in each span of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import NamedTuple

__all__ = ["CAP_S", "Slot", "next_slot", "retry_after"]

BASE_S = 1.0
CAP_S = 300.0
# The longest `Retry-After` to obey: a wrong clock on the server must not stop the upload.
RETRY_AFTER_CAP_S = 3600.0


class Slot(NamedTuple):
    """A span of time with one attempt: at `at`, before `end`; in seconds of one clock."""

    at: float
    end: float


def next_slot(now: float, end: float, failures: int, random: Callable[[], float]) -> Slot:
    """Return the next attempt after `failures` failures in a row (1 or more).

    Spans of 1, 2, 4, ... 300 seconds follow one another without a gap, each with one attempt at a
    random time. Plain full jitter draws from zero each time, so on average it tries twice as often
    as its cap allows; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    length = min(CAP_S, BASE_S * 2.0 ** min(failures - 1, 16))
    # An end far ahead was written before the clock was set back.
    begin = max(now, end) if end - now <= CAP_S else now
    return Slot(begin + random() * length, begin + length)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most an hour.

    The header gives seconds or a date (RFC 9110, 10.2.3); `now` is in seconds since 1970. None if
    it is missing or invalid.
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
