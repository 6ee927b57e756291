"""The captured calls of one run: each gets one row, however often it is reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from waxlocal.capture.call_rows import columns_of, merged, with_hand_made
from waxlocal.capture.callback_calls import open_here
from waxlocal.capture.facts import Row
from waxlocal.capture.hand_made import Found, find_made_elsewhere, made_here_by
from waxlocal.capture.outside_calls import SOON_NS, remove_left
from waxlocal.capture.pairing import (
    Report,
    find_counted,
    find_elsewhere,
    find_lacking,
    find_reported,
    find_unclaimed,
)
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.recording.statements import MAY_LEAVE
from waxlocal.sdk.run import Run, captured
from waxlocal.sdk.scope import outermost

__all__ = ["CapturedCalls"]

# How many calls of a run are kept in memory for reports of them that may follow.
RECENT = 256
# How many of the runs inside it are kept for the program to hand them over.
RECENT_BELOW = 64

# Guards the reports of all runs. One for all costs nothing: what is written under it waits for the
# lock of the store anyway.
_guard = ProcessLock()

# The last calls that were captured in this task or thread: what it hands over by hand is of them.
_made_here: ContextVar[tuple[Report, ...]] = ContextVar("waxlocal_made_here", default=())
# How many they are.
RECENT_HERE = 16


def _note_made_here(report: Report) -> None:
    kept = [one for one in _made_here.get() if one is not report and not one.claimed]
    _made_here.set((*kept, report)[-RECENT_HERE:])


class CapturedCalls:
    """Writes the calls of a run, remembers the last ones; safe from any thread, and over `fork`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # Of a run with no other around it: those that were captured in the runs inside it.
        self._below: deque[Report] = deque(maxlen=RECENT_BELOW)
        # Read by copies: a signal handler or a finalizer may add to it in between.
        self._recent: deque[Report] = deque(maxlen=RECENT)

    @classmethod
    def of(cls, run: Run) -> CapturedCalls:
        """Return those of a run: the same object in all threads."""
        found = run._captured
        return found if isinstance(found, CapturedCalls) else cls._made(run)

    @staticmethod
    @_guard.alone
    def _made(run: Run) -> CapturedCalls:
        found = run._captured
        if not isinstance(found, CapturedCalls):
            found = run._captured = CapturedCalls(run)
            captured.claim = _claim
        return found

    @_guard.alone
    def record(self, report: Report, inner: Sequence[Report]) -> Report:
        """Write a call, or merge it into the row of another report of it; return whose row it is.

        `inner`: the call that was reported inside this one, if there is one. After a signal handler
        has struck it may be called again with the same report, which is written once.
        """
        if report.merged_into is not None:
            return report.merged_into
        known = inner[0] if inner else find_elsewhere(self._recent.copy(), report)
        if known is not None:
            self._merge(known, report, bool(inner) or known.started_ns >= report.started_ns)
            return known
        self._add(report)
        for outer in open_here():
            if report not in outer.captured:
                outer.captured.append(report)
        self._keep(report)
        return report

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
    def claim(self, known: Report, by_hand: Row) -> None:
        """Merge a call that the program records into this one, wherever its row is."""
        self._change(known, with_hand_made(known.row, by_hand))
        # Not before: a program that was struck in between hands it over again.
        known.claimed = True

    def settle(self, found: Found, by_hand: Row) -> None:
        """Do the same with one that was captured in another run, where its row belongs and may be.

        For whoever holds the guard.
        """
        known, store, run_id = found.report, self._run._recorder.store, found.report.run_id
        there = {"run_id": run_id, "position": known.position}
        # A file beside the file cannot say that what is in it is gone: it may have been copied.
        if not (found.moves and store.file == store.path and store.fetch(MAY_LEAVE, there)):
            self.claim(known, by_hand)
            return
        self._take(known, by_hand)
        if found.is_alone:
            remove_left(self._run, run_id)

    def _take(self, known: Report, by_hand: Row) -> None:
        """Have the row of a call come into this run."""
        row, there = with_hand_made(known.row, by_hand), (known.run_id, known.position)
        here, columns = self._run._next(), self._columns(row)
        self._run._take_llm_call(here, columns, known.recorded_ns, there)
        known.run_id, known.position, known.row, known.claimed = self._run._run_id, here, row, True
        self._keep(known)

    @property
    def reports(self) -> Iterable[Report]:
        """Those of this run, the last ones; a copy."""
        return self._recent.copy()

    @property
    def within(self) -> Iterable[Report]:
        """Those of all runs from the outermost one around this one on, the last ones; a copy."""
        return CapturedCalls.of(_root_of(self._run))._below.copy()

    def _keep(self, report: Report) -> None:
        self._recent.append(report)
        report.merged_into = report
        _note_made_here(report)
        CapturedCalls.of(_root_of(self._run))._keep_below(report)

    def _keep_below(self, report: Report) -> None:
        # They have whole messages, of runs that are over.
        since_ns = report.ended_ns - SOON_NS
        while self._below and self._below[0].ended_ns < since_ns:
            self._below.popleft()
        self._below.append(report)

    def _merge(
        self, known: Report, report: Report, known_is_inner: bool, outside: bool = False
    ) -> None:
        first, second = (known, report) if known_is_inner else (report, known)
        self._change(known, merged(first.row, second.row, second.scope))
        report.merged_into, report.merged_outside = known, outside
        _note_made_here(known)
        known.scopes.append(report.scope)

    def _add(self, report: Report) -> None:
        """Write the row of a call; a second time if a signal handler has struck the first one."""
        run = self._run
        report.run_id, report.position = run._run_id, report.position or run._next()
        report.made_by = made_here_by(run)
        report.recorded_ns = report.recorded_ns or run._recorder.clock.time_ns()
        columns = self._columns(report.row)
        run._add_llm_call(**columns, ended_ns=report.recorded_ns, position=report.position)

    def _change(self, report: Report, row: Row) -> None:
        self._run._change_llm_call(report.run_id, report.position, self._columns(row))
        report.row = row

    def _columns(self, row: Row) -> Row:
        return columns_of(row, keep_content=self._run._recorder.capture_content)

    def may_be(self, by_hand: Row) -> bool:
        """Return whether one of them may be a call that the program hands over."""
        return find_unclaimed(self.reports, by_hand) is not None


@_guard.alone
def _claim(run: Run, by_hand: Row) -> bool:
    """Merge a call that the program records into the one that was captured; False without any.

    Its row is then in the inner one of the two runs, as `hand_made` says.
    """
    if not run._run_id:
        return False
    own = CapturedCalls.of(run)
    here = _made_here.get()
    # A forked child has copies of its parent's: those are not its own to change.
    mine = [one for one in own.reports if one.made_by == made_here_by(run)]
    if (known := find_counted(mine, by_hand, here)) is not None:
        own.claim(known, by_hand)
        return True
    of_process = CapturedCalls.of(outermost.run).reports if outermost.run is not None else ()
    found = find_made_elsewhere(run, by_hand, here, within=own.within, of_process=of_process)
    if found is not None:
        own.settle(found, by_hand)
        return True
    if (known := find_lacking(mine, by_hand)) is not None:
        own.claim(known, by_hand)
    return known is not None


def _root_of(run: Run) -> Run:
    """Return the outermost run around this one; it may be this one."""
    around: Run | None = run
    while around is not None:
        run, around = around, around._outer
    return run
