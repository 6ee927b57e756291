"""The zone of the commands: people type and read times in that of their machine (`TZ`).

JSON, CSV and pipes have times in UTC, which say so themselves. The API and the SDK know no reader,
so that a time without an offset is UTC there.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo

import click

from waxlocal.cli.filled import filled
from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import InvalidQuery
from waxlocal.queries.times import microseconds, parse_time

__all__ = ["TIME_FORMS", "LocalZone", "local_time", "since_time", "time_of_day", "until_time"]

# The key in `ctx.meta` of when the command began.
_BEGAN_KEY = "waxlocal.began"

TIME_FORMS = "30m, 24h, 7d, 2w, or an ISO date or time: in local time unless it has an offset."


class _Stopped:
    """The clock of a command: it stands at its beginning, so that 24h and 1d are the same time."""

    def __init__(self, now: Clock) -> None:
        self._ns = now.time_ns()
        self.monotonic_ns = now.monotonic_ns

    def time_ns(self) -> int:
        """Return when the command began, in nanoseconds since 1970."""
        return self._ns


def _clock_of(ctx: click.Context) -> Clock:
    clock: Clock = ctx.meta.setdefault(_BEGAN_KEY, _Stopped(SYSTEM_CLOCK))
    return clock


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


def since_time(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the time of an option as UTC text, as its callback. Raises `InvalidQuery`."""
    given = filled(ctx, param, value)
    zone, clock = LocalZone(later=False), _clock_of(ctx)
    since = None if given is None else parse_time(given, zone=zone, clock=clock)
    _check_order(since, ctx.params.get("until"))
    return since


def until_time(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the time of an option as `since_time` does; of a date alone, its end."""
    given = filled(ctx, param, value)
    zone, clock = LocalZone(later=True), _clock_of(ctx)
    until = None if given is None else parse_time(given, end=True, zone=zone, clock=clock)
    _check_order(ctx.params.get("since"), until)
    return until


def _check_order(since: str | None, until: str | None) -> None:
    """Refuse a period that ends before it begins; the option that is read last sees both."""
    if since and until and microseconds(since) > microseconds(until):
        raise InvalidQuery(
            f"the period ends before it begins: --since is {local_time(since)},"
            f" --until is {local_time(until)}",
            hint="exchange the two",
        )


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
