"""The circuit breaker of one server: requests stop after failures, or while its key is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from waxlocal.clock import Clock, stored_ns, utc_text
from waxlocal.delivery.outbox import Outbox
from waxlocal_daemon.backoff import CAP_S, RETRY_AFTER_CAP_S, Slot, next_slot

__all__ = ["USUAL_PACE", "Circuit", "Pace"]

# No request or run is postponed for longer.
LONGEST_WAIT_S = RETRY_AFTER_CAP_S + CAP_S
# Seconds between two notes of an answer in the file.
NOTE_S = 1.0
# After this many different runs failed in a row, the failure is the server's and not a run's.
TELLING_FAILURES = 3


class Pace(NamedTuple):
    """How long to wait; tests use shorter times.

    `unit`: the factor of every backoff; `paused`: seconds between attempts with a refused key;
    `stop`: seconds that a stopped upload waits for the requests in flight.
    """

    unit: float = 1.0
    paused: float = 300.0
    stop: float = 8.0


USUAL_PACE = Pace()


class Circuit:
    """Says when a request may be sent, and keeps that in the file. While it is open, none may.

    Waits are measured by the monotonic clock, which cannot be set; the file has wall times, for the
    next process and for people.
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
        # A new process tries at once: a refused key may have been replaced.
        stays = not outbox.target.paused_at
        self._not_before = self._left(outbox.target.not_before) if stays else 0.0
        self._end = self._left(outbox.target.backoff_until) if stays else 0.0
        self._in_a_row = 0
        # How often it has opened. Each request carries the number at which it left; a time would
        # not do, for a response lies in a queue before it is looked at.
        self.openings = 0
        self._answered_at = self._accepted_at = float("-inf")

    def _left(self, text: str | None) -> float:
        """Return a time in the file on the monotonic clock; 0 if it is past."""
        at = stored_ns(text)
        left = 0.0 if at is None else (at - self._clock.time_ns()) / 1e9
        # A time further ahead was written before the clock was set back.
        return self.now() + left if 0 < left <= LONGEST_WAIT_S else 0.0

    def now(self) -> float:
        """Return seconds on the monotonic clock."""
        return self._clock.monotonic_ns() / 1e9

    @property
    def troubled(self) -> bool:
        """Whether the last response was a failure; then only one request is sent at a time."""
        return self.paused or self.failures > 0

    def wait(self) -> float:
        """Return the seconds until a request may be sent; 0 for now."""
        return max(self._not_before - self.now(), 0.0)

    def answered(self, *, openings: int, accepted: bool, refused: bool) -> None:
        """Note that the server answered a request; `accepted`: it took what it was sent.

        A `refused` one does not show that a server has healed, nor does one that left before the
        circuit opened last (`openings`: how often it had then).
        """
        if openings != self.openings:
            return
        if refused and self.failures and not self.paused:
            return
        if not refused:
            self._in_a_row = 0
        now = self.now()
        noted = self._accepted_at if accepted else self._answered_at
        if not self.troubled and now - noted < NOTE_S:
            return
        self._answered_at = now
        if accepted:
            self._accepted_at = now
        self.failures, self.paused, self.reason = 0, False, ""
        self._not_before = self._end = 0.0
        self._outbox.host_answered(accepted=accepted)

    def failed(
        self, reason: str, *, openings: int, of_host: bool, retry_after: float | None
    ) -> bool:
        """Note a failure; return whether it opens the circuit.

        `openings`: how often that had opened when the request was sent.
        """
        self._in_a_row += 1
        if openings != self.openings:
            return False  # it was under way when the circuit opened: the same failure
        if not of_host and self._in_a_row < TELLING_FAILURES and not self.troubled:
            return False
        self.failures += 1
        slot = self._slot(self._end, self.failures)
        if retry_after is not None:
            at = self.now() + retry_after * self._pace.unit
            slot = Slot(max(slot.at, at), max(slot.end, at))
        self._open(slot, reason)
        self._outbox.host_failed(self.failures, self.text(slot.at), self.text(slot.end), reason)
        return True

    def refused(self, reason: str, *, openings: int) -> bool:
        """Note that the server refuses the key; return whether that is new.

        `openings`: how often the circuit had opened when the request was sent.
        """
        if openings != self.openings:
            return False
        new = not self.paused
        self.paused = True
        at = self.now() + self._pace.paused
        self._open(Slot(at, at), reason)
        self._outbox.host_paused(self.text(at), reason)
        return new

    def _open(self, slot: Slot, reason: str) -> None:
        self.reason = reason
        self._not_before, self._end = slot
        self.openings += 1

    def postponed(self, failures: int) -> Slot:
        """Return when a run that has failed this often in a row is tried again."""
        return self._slot(0.0, failures)

    def _slot(self, end: float, failures: int) -> Slot:
        unit = self._pace.unit
        slot = next_slot(self.now() / unit, end / unit, failures, self._random)
        return Slot(slot.at * unit, slot.end * unit)

    def text(self, at: float) -> str:
        """Return a time on the monotonic clock as UTC text."""
        return utc_text(self._clock.time_ns() + int((at - self.now()) * 1e9))

    def horizon(self) -> str:
        """Return the latest time that a run may be postponed to, as UTC text."""
        return self.text(self.now() + LONGEST_WAIT_S)
