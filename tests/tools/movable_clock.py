"""A clock that tests move."""

from __future__ import annotations

import math

from waxlocal.clock import Clock

__all__ = ["DAY_S", "YEAR_S", "MovableClock"]

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S


class MovableClock(Clock):
    """Stands still until time passes; its wall time can also be set."""

    def __init__(self, wall_ns: int, steady_ns: int = 1_000_000_000_000) -> None:
        self._wall = wall_ns
        self._steady = steady_ns

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self._wall

    def monotonic_ns(self) -> int:
        """Return nanoseconds that only grow."""
        return self._steady

    def sleep(self, seconds: float) -> None:
        """Let time pass, a microsecond at least: no sleep is over before its end."""
        ns = math.ceil(seconds * 1e6) * 1_000
        self._wall += ns
        self._steady += ns

    def jump(self, seconds: float) -> None:
        """Set the wall time forward, or back; no time passes."""
        self._wall += round(seconds * 1e9)
