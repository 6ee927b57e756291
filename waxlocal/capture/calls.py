"""The captured calls of one run: each gets one row, however often it is reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from waxlocal.capture.call_rows import columns_of, merged, with_hand_made
from waxlocal.capture.callback_calls import open_here
from waxlocal.capture.facts import Row
from waxlocal.capture.hand_made import find_made_elsewhere
from waxlocal.capture.pairing import Report, find_elsewhere, find_reported, find_unclaimed
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.recording.statements import IS_UPLOADED
from waxlocal.sdk.run import Run, captured
from waxlocal.sdk.scope import outermost

__all__ = ["CapturedCalls"]

# How many calls of a run are kept in memory for reports of them that may follow.
RECENT = 256

# Guards the reports of all runs. One for all costs nothing: what is written under it waits for the
# lock of the store anyway.
_guard = ProcessLock()


class CapturedCalls:
    """Writes the calls of a run, remembers the last ones; safe from any thread, and over `fork`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # Of a run with no other around it: those that were captured in the runs inside it.
        self._below: deque[Report] = deque(maxlen=RECENT)
        # Read by copies: a signal handler or a finalizer may add to it in between.
        self._recent: deque[Report] = deque(maxlen=RECENT)

    @classmethod
    def of(cls, run: Run) -> CapturedCalls:
        """Return those of a run: the same object in all threads."""
        with _guard.lock:
            found = run._captured
            if not isinstance(found, CapturedCalls):
                found = run._captured = cls(run)
                captured.claim = _claim
            return found

    @_guard.alone
    def record(self, report: Report, inner: list[int]) -> int:
        """Write a call, or merge it into the row of another report of it; return the position.

        `inner`: the row of the call that was reported inside this one, if there is one. After a
        signal handler has struck it may be called again with the same report, which is written
        once.
        """
        if report.position and self._at(report.position) is not None:
            return report.position
        known = self._at(inner[0]) if inner else find_elsewhere(self._recent.copy(), report)
        if known is not None:
            self._merge(known, report, bool(inner) or known.started_ns >= report.started_ns)
            return known.position
        self._add(report)
        for outer in open_here():
            if report not in outer.captured:
                outer.captured.append(report)
        self._keep(report)
        return report.position

    @_guard.alone
    def merge_outside(self, report: Report) -> bool:
        """Merge a call into the row of another report of it, as `record`; False if there is none.

        For the calls of a run that stands for a call outside any.
        """
        if report.merged_outside:
            return True
        asked, recent = report.row["prompt_preview"], self._recent.copy()
        alike = [one for one in recent if one.row["prompt_preview"] in (asked, None)]
        known = find_elsewhere(alike if asked else recent, report)
        if known is not None:
            is_inner = known.started_ns >= report.started_ns
            self._merge(known, report, is_inner, outside=True)
        return report.merged_outside

    @_guard.alone
    def record_around(self, report: Report, inside: Sequence[Report]) -> None:
        """Write a call that callbacks report, or merge it into one that was captured inside it.

        Where several were captured inside and none of them is it, they are the calls.
        """
        recent = self._recent.copy()
        mine = (one for one in inside if one in recent)
        below = [one for one in mine if report.scope not in one.scopes]
        if not below:
            self._add(report)
            self._keep(report)
        elif (known := find_reported(below, report)) is not None:
            self._merge(known, report, known_is_inner=True)

    @_guard.alone
    def claim(self, by_hand: Row) -> bool:
        """Merge a call that the program records into the one captured; False if there is none."""
        known = find_unclaimed(self.reports, by_hand)
        return known is not None and self.claim_this(known, by_hand)

    @_guard.alone
    def claim_this(self, known: Report, by_hand: Row) -> bool:
        """Merge a call that the program records into this one; False if another took it before."""
        if known.claimed:
            return False
        known.claimed = True
        self._change(known, with_hand_made(known.row, by_hand))
        return True

    @_guard.alone
    def take(self, known: Report, by_hand: Row, *, alone: bool) -> bool:
        """Do the same with a call that was captured in another run; its row comes into this one.

        `alone`: that run was made for the call, and goes with it.
        """
        if known.claimed:
            return False
        known.claimed = True
        row, there = with_hand_made(known.row, by_hand), (known.run_id, known.position)
        columns = self._columns(row)
        here = self._run._take_llm_call(columns, known.recorded_ns, *there, alone=alone)
        known.run, known.run_id, known.position, known.row = self._run, self._run._run_id, here, row
        self._keep(known)
        return True

    @property
    def reports(self) -> list[Report]:
        """Those of this run, the last ones; a copy."""
        return list(self._recent.copy())

    @property
    def within(self) -> list[Report]:
        """Those of all runs from the outermost one around this one on, the last ones; a copy."""
        return list(CapturedCalls.of(_root_of(self._run))._below.copy())

    def _keep(self, report: Report) -> None:
        self._recent.append(report)
        CapturedCalls.of(_root_of(self._run))._below.append(report)

    def _merge(
        self, known: Report, report: Report, known_is_inner: bool, outside: bool = False
    ) -> None:
        first, second = (known, report) if known_is_inner else (report, known)
        self._change(known, merged(first.row, second.row, second.scope))
        report.position, report.merged_outside = known.position, outside
        known.scopes.append(report.scope)

    def _at(self, position: int) -> Report | None:
        mine = (one for one in self._recent.copy() if one.run is self._run)  # not one taken away
        return next((one for one in mine if one.position == position), None)

    def _add(self, report: Report) -> None:
        """Write the row of a call; a second time if a signal handler has struck the first one."""
        report.run, report.run_id = self._run, self._run._run_id
        report.position = report.position or self._run._next()
        columns = self._columns(report.row)
        self._run._add_llm_call(**columns, ended_ns=report.recorded_ns, position=report.position)

    def _change(self, report: Report, row: Row) -> None:
        run = report.run or self._run
        run._change_llm_call(report.position, self._columns(row))
        report.row = row

    def _columns(self, row: Row) -> Row:
        return columns_of(row, keep_content=self._run._recorder.capture_content)

    def may_be(self, by_hand: Row) -> bool:
        """Return whether `claim` would find a call."""
        with _guard.lock:
            return find_unclaimed(self.reports, by_hand) is not None


def _claim(run: Run, by_hand: Row) -> bool:
    """Merge a call that the program records into the one that was captured; False without any.

    Its row is then in the inner one of the two runs, as `hand_made` says.
    """
    if not run._run_id:
        return False
    own = CapturedCalls.of(run)
    if own.claim(by_hand):
        return True
    of_process = CapturedCalls.of(outermost.run).reports if outermost.run is not None else ()
    found = find_made_elsewhere(run, own.within, of_process, by_hand)
    if found is None or (there := found.report.run) is None:
        return False
    # A server that has the other run would keep there what is removed here.
    if found.moves and not there._recorder.store.fetch(IS_UPLOADED, (found.report.run_id,)):
        return own.take(found.report, by_hand, alone=found.is_alone)
    return CapturedCalls.of(there).claim_this(found.report, by_hand)


def _root_of(run: Run) -> Run:
    """Return the outermost run around this one; it may be this one."""
    around: Run | None = run
    while around is not None:
        run, around = around, around._outer
    return run
