"""Numbers, times and bars as text for the terminal."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Protocol

from waxlocal.queries.times import microseconds
from waxlocal.wording import (
    NOTHING,
    ago,
    cost,
    counted,
    duration,
    money,
    percent,
    priced,
    rate,
    tokens,
    tokens_of,
)

__all__ = [
    "NOTHING",
    "ago",
    "bar",
    "clock_time",
    "cost",
    "cost_of",
    "counted",
    "duration",
    "money",
    "percent",
    "priced",
    "rate",
    "tokens",
    "tokens_of",
]

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


class _Costed(Protocol):
    """A row with a cost, and the share of its tokens that the cost covers."""

    @property
    def total_cost(self) -> float | None: ...
    @property
    def priced_share(self) -> float | None: ...
    @property
    def unmetered_calls(self) -> int: ...


def cost_of(row: _Costed) -> str:
    """Return the cost of a row as `cost` does; `unknown` also where no call has known tokens."""
    share = row.priced_share
    if share is None and row.unmetered_calls:
        share = 0.0
    return cost(row.total_cost, share)


def clock_time(stored: str) -> str:
    """Return a stored time in the local time zone, to the second."""
    try:
        moment = datetime.fromtimestamp(microseconds(stored) // 1_000_000, timezone.utc)
        return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):  # the platform supports fewer years than the file
        return stored


def bar(value: float, whole: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of at most `width` characters; a value above zero gets at least one."""
    if value <= 0 or whole <= 0:
        return ""
    eighths = max(1, round(min(value / whole, 1.0) * width * 8))
    if ascii_only:
        return "#" * max(1, round(eighths / 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
