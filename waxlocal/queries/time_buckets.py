"""A timeline of equal buckets for charts."""

from __future__ import annotations

from dataclasses import dataclass

from waxlocal.clock import utc_text
from waxlocal.queries.times import microseconds

__all__ = ["MOST_STRETCHES", "Timeline", "timeline_of"]

# More buckets than this are too thin in a chart.
MOST_STRETCHES = 60
_HOUR_US = 3_600_000_000
# Bucket sizes in hours; above the last one, multiples of a year.
_HOURS = (1, 3, 6, 12, 24, 48, 168, 336, 672, 2_184, 8_736)


@dataclass(frozen=True, slots=True)
class Timeline:
    """`count` buckets of `hours` each; the first begins at `start` (microseconds since 1970)."""

    start: int
    hours: int
    count: int

    def place(self, hour: str) -> int:
        """Return the index of the bucket that contains an hour (`2026-01-31T09`)."""
        passed = microseconds(f"{hour}:00:00Z") - self.start
        return min(max(passed // (self.hours * _HOUR_US), 0), self.count - 1)

    def begin(self, number: int) -> str:
        """Return the start of a bucket as UTC text."""
        return utc_text((self.start + number * self.hours * _HOUR_US) * 1_000)


def timeline_of(first: str, last: str) -> Timeline:
    """Return a timeline that spans two stored times, in hours, days, weeks or longer buckets."""
    begin, end = microseconds(first), max(microseconds(first), microseconds(last))
    hours = next((n for n in _HOURS if (end - begin) // (n * _HOUR_US) < MOST_STRETCHES - 1), 0)
    if not hours:
        hours = _HOURS[-1] * ((end - begin) // (_HOURS[-1] * _HOUR_US * (MOST_STRETCHES - 2)) + 1)
    start = begin - begin % (min(hours, 24) * _HOUR_US)
    return Timeline(start, hours, (end - start) // (hours * _HOUR_US) + 1)
