"""The captured calls of one run: each gets one row, however often it is reported."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar

from waxlocal.capture.call_rows import Row, columns_of, merged, with_hand_made
from waxlocal.capture.pairing import SLACK_NS, Report, find_elsewhere, find_reported, find_unclaimed
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.context import WaxellContext

__all__ = [
    "AUTO_WORKFLOW",
    "ONE_CALL",
    "CallbackCall",
    "CapturedCalls",
    "auto_agent",
    "keep_outside",
    "run_outside",
    "take_outside",
]

# As the original names and marks the run of a call outside any run.
AUTO_WORKFLOW = "auto"
ONE_CALL = {"auto_collected": True, "call_count": 1}

# How many calls of a run are kept in memory for reports of them that may follow.
RECENT = 256
# And of how many calls outside any run.
RECENT_OUTSIDE = 128


class CallbackCall:
    """A call of a model whose beginning a framework's callback has told: what is captured inside.

    It is known by the context, also to the tasks and threads that begin inside it. The end may be
    told in another context; then that of the beginning forgets it with its next call.
    """

    def __init__(self) -> None:
        self.captured: list[Report] = []
        self.ended = False
        _around.set((*_open_here(), self))

    def end(self) -> None:
        """Take no more calls."""
        self.ended = True
        _around.set(_open_here())


_around: ContextVar[tuple[CallbackCall, ...]] = ContextVar("waxlocal_callback_calls", default=())


def _open_here() -> tuple[CallbackCall, ...]:
    return tuple(one for one in _around.get() if not one.ended)


# Guards the reports of all runs. One for all costs nothing: what is written under it waits for the
# lock of the store anyway.
_guard = ProcessLock()


class CapturedCalls:
    """Writes the calls of a run, remembers the last ones; safe from any thread, and over `fork`."""

    def __init__(self, run: WaxellContext) -> None:
        self._run = run
        self._recent: deque[Report] = deque(maxlen=RECENT)

    @classmethod
    def of(cls, run: WaxellContext) -> CapturedCalls:
        """Return those of a run: the same object in all threads."""
        with _guard.lock:
            found = run._captured
            if not isinstance(found, CapturedCalls):
                found = run._captured = cls(run)
            return found

    def record(self, report: Report, inner: list[int]) -> int:
        """Write a call, or merge it into the row of another report of it; return the position.

        `inner`: the row of the call that was reported inside this one, if there is one.
        """
        with _guard.held():
            known = self._at(inner[0]) if inner else find_elsewhere(self._recent, report)
            if known is None:
                report.position = self._add(report)
                self._recent.append(report)
                for outer in _open_here():
                    outer.captured.append(report)
                return report.position
            self._merge(known, report, bool(inner) or known.started_ns >= report.started_ns)
            return known.position

    def take(self, report: Report) -> bool:
        """Merge a call into the row of another report of it; False if there is none."""
        asked = report.row["prompt_preview"]
        with _guard.held():
            alike = [one for one in self._recent if one.row["prompt_preview"] in (asked, None)]
            known = find_elsewhere(alike if asked else self._recent, report)
            if known is not None:
                self._merge(known, report, known.started_ns >= report.started_ns)
            return known is not None

    def record_around(self, report: Report, inside: Sequence[Report]) -> None:
        """Write a call that callbacks report, or merge it into one that was captured inside it.

        Where several were captured inside and none of them is it, they are the calls.
        """
        with _guard.held():
            mine = (one for one in inside if one in self._recent)
            below = [one for one in mine if report.scope not in one.scopes]
            if not below:
                report.position = self._add(report)
                self._recent.append(report)
            elif (known := find_reported(below, report)) is not None:
                known.row = merged(known.row, report.row, report.scope)
                known.scopes.append(report.scope)
                self._change(known)

    def claim(self, by_hand: Row) -> bool:
        """Merge a call that the program records into the one captured; False if there is none."""
        with _guard.held():
            known = find_unclaimed(self._recent, by_hand)
            if known is None:
                return False
            known.claimed = True
            known.row = with_hand_made(known.row, by_hand)
            self._change(known)
            return True

    def _merge(self, known: Report, report: Report, known_is_inner: bool) -> None:
        first, second = (known, report) if known_is_inner else (report, known)
        known.row = merged(first.row, second.row, second.scope)
        known.scopes.append(report.scope)
        self._change(known)

    def _at(self, position: int) -> Report | None:
        return next((one for one in self._recent if one.position == position), None)

    def _add(self, report: Report) -> int:
        return self._run._add_llm_call(**self._columns(report.row), ended_ns=report.recorded_ns)

    def _change(self, report: Report) -> None:
        self._run._change_llm_call(report.position, self._columns(report.row))

    def _columns(self, row: Row) -> Row:
        return columns_of(row, keep_content=self._run._recorder.capture_content)

    def may_be(self, by_hand: Row) -> bool:
        """Return whether `claim` would find a call."""
        with _guard.lock:
            return find_unclaimed(self._recent, by_hand) is not None


# The last runs that were made for calls outside any, each with the time of its call.
_outside: deque[tuple[int, WaxellContext, CapturedCalls]] = deque(maxlen=RECENT_OUTSIDE)
# A program reports a call soon after it; later it is another one with the same counts.
SOON_NS = 60_000_000_000


def auto_agent(model: str) -> str:
    """Return the agent of the run that a call of a model outside any run becomes."""
    return f"auto:{model}"


def keep_outside(run: WaxellContext) -> None:
    """Remember the run that was made for a call outside any."""
    _outside.append((time.monotonic_ns(), run, CapturedCalls.of(run)))


def take_outside(report: Report) -> bool:
    """Merge a call into the run that was made for an earlier report of it; False without any.

    Some frameworks report a whole invocation when it is over, or in another task than that of the
    call: its client has reported it by then, outside any run.
    """
    recorder = current_recorder()
    for made_ns, run, calls in reversed(tuple(_outside)):
        if made_ns < report.started_ns - SLACK_NS:
            return False
        if run._recorder is recorder and calls.take(report):
            return True
    return False


def run_outside(by_hand: Row) -> WaxellContext | None:
    """Return the run that was made for a captured call which this may be a report of."""
    since_ns, recorder = time.monotonic_ns() - SOON_NS, current_recorder()
    for made_ns, run, calls in tuple(_outside):
        # A program may record into another file since.
        if made_ns >= since_ns and run._recorder is recorder and calls.may_be(by_hand):
            return run
    return None
