"""The way to one server: open, waiting after failures, or closed because the key is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from waxlocal.clock import Clock, utc_ns, utc_text
from waxlocal.delivery.outbox import Outbox
from waxlocal_daemon.backoff import CAP_S, RETRY_AFTER_CAP_S, Slot, next_slot

__all__ = ["USUAL_PACE", "Lane", "Pace"]

# Nothing is ever postponed for longer.
LONGEST_WAIT_S = RETRY_AFTER_CAP_S + CAP_S
# How often success is written down while all goes well.
NOTE_S = 1.0
# Failures of different runs in a row, with nothing accepted between them, that make it the
# server's failure and no longer that of a run.
TELLING_FAILURES = 3


class Pace(NamedTuple):
    """How patient to be: factors of time, for tests that cannot wait for minutes.

    `unit`: what the first backoff is measured by; `paused`: seconds between attempts with a key
    that is refused; `stop`: seconds that an upload may go on for what is in flight once it is told
    to stop.
    """

    unit: float = 1.0
    paused: float = 300.0
    stop: float = 8.0


USUAL_PACE = Pace()


class Lane:
    """Says when a request may leave, and keeps that in the file.

    Waiting is measured by the steady clock, which nobody can set; the file has wall times, for
    the next process and for people.
    """

    def __init__(
        self, outbox: Outbox, clock: Clock, random: Callable[[], float], pace: Pace = USUAL_PACE
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._random = random
        self._pace = pace
        self.failures = outbox.target.failures
        self.reason = outbox.target.reason or ""
        self.paused = False
        # A key that was refused may be another one now: a new process tries at once.
        stays = not outbox.target.paused_at
        self._not_before = self._left(outbox.target.not_before) if stays else 0.0
        self._end = self._left(outbox.target.backoff_until) if stays else 0.0
        self._in_a_row = 0
        self._closed_at = self._noted = float("-inf")

    def _left(self, text: str | None) -> float:
        """Return a time of the file on the steady clock, 0 for one that is past."""
        left = (utc_ns(text) - self._clock.time_ns()) / 1e9 if text else 0.0
        # What is further ahead was written by a clock that has been put back since.
        return self.now() + left if 0 < left <= LONGEST_WAIT_S else 0.0

    def now(self) -> float:
        """Return seconds on the steady clock."""
        return self._clock.monotonic_ns() / 1e9

    @property
    def troubled(self) -> bool:
        """Whether the last that was heard of the server is a failure: one request at a time."""
        return self.paused or self.failures > 0

    def wait(self) -> float:
        """Return the seconds until a request may leave, 0 for now."""
        return max(self._not_before - self.now(), 0.0)

    def answered(self) -> None:
        """Note that the server accepted a request."""
        self._in_a_row = 0
        now = self.now()
        if not self.troubled and now - self._noted < NOTE_S:
            return
        self._noted = now
        self.failures, self.paused, self.reason = 0, False, ""
        self._not_before = self._end = 0.0
        self._outbox.host_answered()

    def failed(self, reason: str, *, sent: float, of_host: bool, retry_after: float | None) -> bool:
        """Note a failure of a request sent at `sent`; return whether the lane closes by it."""
        self._in_a_row += 1
        if sent < self._closed_at:
            return False  # it was under way when the lane closed, and is of the same trouble
        if not of_host and self._in_a_row < TELLING_FAILURES and not self.troubled:
            return False
        self.failures += 1
        slot = self._slot(self._end, self.failures)
        if retry_after is not None:
            at = self.now() + retry_after * self._pace.unit
            slot = Slot(max(slot.at, at), max(slot.end, at))
        self._close(slot, reason)
        self._outbox.host_failed(self.failures, self.text(slot.at), self.text(slot.end), reason)
        return True

    def refused(self, reason: str, *, sent: float) -> bool:
        """Note that the server refuses the key; return whether that is new."""
        if sent < self._closed_at:
            return False
        new = not self.paused
        self.paused = True
        at = self.now() + self._pace.paused
        self._close(Slot(at, at), reason)
        self._outbox.host_paused(self.text(at), reason)
        return new

    def _close(self, slot: Slot, reason: str) -> None:
        self.reason = reason
        self._not_before, self._end = slot
        self._closed_at = self.now()

    def postponed(self, failures: int) -> Slot:
        """Return when a run that has failed so often in a row is tried again."""
        return self._slot(0.0, failures)

    def _slot(self, end: float, failures: int) -> Slot:
        unit = self._pace.unit
        slot = next_slot(self.now() / unit, end / unit, failures, self._random)
        return Slot(slot.at * unit, slot.end * unit)

    def text(self, at: float) -> str:
        """Return a time of the steady clock as UTC text."""
        return utc_text(self._clock.time_ns() + int((at - self.now()) * 1e9))

    def horizon(self) -> str:
        """Return a time that nothing is postponed beyond."""
        return self.text(self.now() + LONGEST_WAIT_S)
