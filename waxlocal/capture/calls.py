"""The captured calls of one run: each gets one row, however often it is reported."""

from __future__ import annotations

import threading
from collections import deque

from waxlocal.capture.call_rows import Row, columns_of, merged, with_hand_made
from waxlocal.capture.pairing import Report, find_elsewhere, find_unclaimed
from waxlocal.sdk.context import WaxellContext

__all__ = ["CapturedCalls"]

# How many calls of a run are kept in memory for reports of them that may follow.
RECENT = 256


class CapturedCalls:
    """Writes the calls of a run and remembers the last ones; safe from any thread."""

    def __init__(self, run: WaxellContext) -> None:
        self._run = run
        self._recent: deque[Report] = deque(maxlen=RECENT)
        self._lock = threading.RLock()

    @classmethod
    def of(cls, run: WaxellContext) -> CapturedCalls:
        """Return those of a run."""
        found = run._captured
        if not isinstance(found, CapturedCalls):
            found = run._captured = cls(run)
        return found

    def record(self, report: Report, inner: list[int]) -> int:
        """Write a call, or merge it into the row of another report of it; return the position.

        `inner`: the row of the call that was reported inside this one, if there is one.
        """
        with self._lock:
            known = self._at(inner[0]) if inner else find_elsewhere(self._recent, report)
            if known is None:
                report.position = self._run._add_llm_call(**self._columns(report.row))
                self._recent.append(report)
                return report.position
            within = bool(inner) or known.started_ns >= report.started_ns
            first, second = (known, report) if within else (report, known)
            known.row = merged(first.row, second.row, second.scope)
            known.scopes.append(report.scope)
            self._change(known)
            return known.position

    def claim(self, by_hand: Row) -> bool:
        """Merge a call that the program records into the one captured; False if there is none."""
        with self._lock:
            known = find_unclaimed(self._recent, by_hand)
            if known is None:
                return False
            known.claimed = True
            known.row = with_hand_made(known.row, by_hand)
            self._change(known)
            return True

    def _at(self, position: int) -> Report | None:
        return next((one for one in self._recent if one.position == position), None)

    def _change(self, report: Report) -> None:
        self._run._change_llm_call(report.position, self._columns(report.row))

    def _columns(self, row: Row) -> Row:
        return columns_of(row, keep_content=self._run._recorder.capture_content)
