"""The zone of the commands: people type and read times in that of their machine (`TZ`).

JSON, CSV and pipes have times in UTC, which say so themselves. The API and the SDK know no reader,
so that a time without an offset is UTC there.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo

from waxlocal.errors import InvalidQuery
from waxlocal.queries.times import microseconds, parse_period

__all__ = ["TIME_FORMS", "LocalZone", "local_period", "local_time", "time_of_day"]

TIME_FORMS = "30m, 24h, 7d, 2w, or an ISO date or time: in local time unless it has an offset."


class LocalZone(tzinfo):
    """The zone of this machine, in which a time may occur twice or never: clocks are changed.

    Such a time is the earlier or the later one that it can mean, so that a period which begins or
    ends there leaves out nothing that was meant. A day begins once: at its first midnight or, if
    the clocks pass that over, when they are changed.
    """

    def __init__(self, *, later: bool) -> None:
        self._choose = min if later else max

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return how far local time is ahead of UTC."""
        if moment is None:
            return None
        naive = moment.replace(tzinfo=None)
        # Which fold is which of a time that never occurs depends on the version of Python.
        offsets = [_offset(naive.replace(fold=fold)) for fold in (0, 1)]
        if naive.time() != time():
            return self._choose(offsets)
        occurs = any(_local(naive - offset) == naive for offset in offsets)
        # The later reading of a midnight that is passed over is the moment of the change.
        return max(offsets) if occurs else min(offsets)

    def dst(self, moment: datetime | None) -> None:
        """Return nothing: how much of it is daylight saving is not asked."""

    def tzname(self, moment: datetime | None) -> str:
        """Return a name, which `tzinfo` demands."""
        return "local"


def _offset(naive: datetime) -> timedelta:
    try:
        return naive.astimezone().utcoffset() or timedelta()
    except (OverflowError, OSError, ValueError):  # the platform knows no zone in this year
        return timedelta()


def _local(utc: datetime) -> datetime:
    try:
        return utc.replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)
    except (OverflowError, OSError, ValueError):
        return utc


def local_period(since: str | None, until: str | None) -> tuple[str | None, str | None]:
    """Return the times of `--since` and `--until` as UTC text; of a date alone, its end as `until`.

    Both are counted from the same moment: `24h` and `1d` are one time. Raises `InvalidQuery`, also
    for a period that ends before it begins.
    """
    zones = LocalZone(later=False), LocalZone(later=True)
    since, until = parse_period(since, until, zones=zones)
    if since and until and microseconds(since) > microseconds(until):
        raise InvalidQuery(
            f"the period ends before it begins: --since is {local_time(since)},"
            f" --until is {local_time(until)}",
            hint="exchange the two",
        )
    return since, until


def local_time(stored: str) -> str:
    """Return a stored time as `2026-01-31 18:30:00+09:00`, which `--since` takes."""
    try:
        moment = datetime.fromtimestamp(microseconds(stored) // 1_000_000, timezone.utc)
        return moment.astimezone().isoformat(" ", "seconds")
    except (OverflowError, OSError, ValueError):  # the platform supports fewer years than the file
        return stored


def time_of_day(stored: str, before: str = "") -> str:
    """Return a stored time as `18:30:00`; whole if its day is not that of the time `before`."""
    whole = local_time(stored)
    same_day = bool(before) and local_time(before)[:10] == whole[:10]
    return whole[11:19] if same_day else whole
