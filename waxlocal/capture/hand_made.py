"""Which call that was captured in another run the program hands over by hand.

A call is often made where no run is open, in a thread of its own, or in a function that is a run,
and handed over elsewhere. Its row belongs to the inner one of the two runs: the one that the
program names if that lies within the other, or if the other was made for the call alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from waxlocal.capture.facts import Row
from waxlocal.capture.outside_calls import SOON_NS, Outside, outside_since
from waxlocal.capture.pairing import Report, best_of, find_counted, find_lacking, is_handed_over
from waxlocal.sdk.run import Run
from waxlocal.sdk.scope import outermost

__all__ = ["Found", "find_made_elsewhere", "made_here_by"]


class Found(NamedTuple):
    """A call that was captured in another run.

    `moves`: its row belongs to the run that the program names. `is_alone`: the run that it was
    captured in was made for it.
    """

    report: Report
    moves: bool
    is_alone: bool = False


def find_made_elsewhere(
    run: Run,
    by_hand: Row,
    here: Iterable[Report],
    *,
    within: Iterable[Report],
    of_process: Iterable[Report],
) -> Found | None:
    """Return the call that was captured in another run within the last minute; None without any.

    One that was made `here`, in the same task, wherever. Else one with the same counts, or of which
    only one side has counts: in a run around this one or below the same one, whose calls are
    `within`; in the run of the process, whose are `of_process`; or outside any run. Only of this
    process, in the same file.
    """
    since_ns = time.monotonic_ns() - SOON_NS
    mine = [one for one in _recent(run, here, since_ns) if is_handed_over(one, by_hand)]
    if mine:
        return _found(_best_of_task(mine, by_hand, run, since_ns), run, since_ns)
    if not (by_hand["tokens_in"] or by_hand["tokens_out"]):
        return None
    outside = (one for made in outside_since(since_ns) for one in made.calls.reports)
    for reports in (within, of_process, outside):
        recent = list(_recent(run, reports, since_ns))
        known = find_counted(recent, by_hand, elsewhere=True)
        known = known or find_lacking(recent, by_hand, elsewhere=True)
        if known is not None:
            return _found(known, run, since_ns)
    return None


def _best_of_task(mine: list[Report], by_hand: Row, run: Run, since_ns: int) -> Report:
    """Return the call that agrees best with what is handed over.

    Several may agree alike. Then the place of the last one decides, and there the first is taken:
    a program that has just asked outside any run does not mean an older call in a run that ended.
    """
    alone = {made.run._run_id for made in outside_since(since_ns)}
    around = _ids_around(run)

    def place(one: Report) -> tuple[bool, bool]:
        return one.run_id in alone, one.run_id in around

    last = place(mine[-1])
    return best_of(mine, by_hand, lambda one: place(one) == last)


def _found(known: Report, run: Run, since_ns: int) -> Found:
    for made in outside_since(since_ns):
        if known.run_id == made.run._run_id:
            return Found(known, moves=_may_leave(made, run), is_alone=True)
    return Found(known, moves=known.run_id in _ids_around(run))


def _recent(run: Run, reports: Iterable[Report], since_ns: int) -> Iterator[Report]:
    """Return those of other runs; a context that is entered anew is another run."""
    made_by, run_id = made_here_by(run), run._run_id
    return (
        one
        for one in reports
        if one.ended_ns >= since_ns and one.run_id != run_id and one.made_by == made_by
    )


def made_here_by(run: Run) -> tuple[object, int]:
    """Return by what a report of this process is made, in the file of a run: see `Report`."""
    return run._recorder, run._recorder.generation


def _ids_around(run: Run) -> set[str]:
    found: set[str] = set() if outermost.run is None else {outermost.run._run_id}
    around: Run | None = run
    while around is not None:
        found.add(around._run_id)
        around = around._outer
    return found


def _may_leave(made: Outside, run: Run) -> bool:
    """Return whether a call may leave the run that was made for it.

    Not before that has ended: a framework may report the call once more. And not a session or a
    user that the program has named: it would not be in them any more.
    """
    alone = made.run
    return (
        alone._ended
        and (not made.is_named or alone._session_id == run._session_id)
        and alone._user_id in ("", run._user_id)
    )
