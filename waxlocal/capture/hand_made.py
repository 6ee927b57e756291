"""Which call that was captured in another run the program hands over by hand.

A call is often made where no run is open, in a thread of its own, or in a function that is a run,
and handed over elsewhere. Its row belongs to the inner one of the two runs: the one that the
program names if that lies within the other, or if the other was made for the call alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from waxlocal.capture.facts import Row
from waxlocal.capture.outside_calls import SOON_NS, reports_outside
from waxlocal.capture.pairing import Report, find_counted
from waxlocal.capture.places import is_within
from waxlocal.sdk.run import Run

__all__ = ["Found", "find_made_elsewhere"]


class Found(NamedTuple):
    """A call that was captured in another run.

    `moves`: its row belongs to the run that the program names. `is_alone`: the run that it was
    captured in was made for it.
    """

    report: Report
    moves: bool
    is_alone: bool = False


def find_made_elsewhere(
    run: Run, within: Iterable[Report], of_process: Iterable[Report], by_hand: Row
) -> Found | None:
    """Return the call with these counts that was captured within the last minute; None without.

    In a run around this one or below the same one, whose calls are `within`; in the run of the
    process, whose are `of_process`; or outside any run. Only of this process, in the same file.
    """
    if not (by_hand["tokens_in"] or by_hand["tokens_out"]):
        return None
    if (known := find_counted(_recent(run, within), by_hand)) is not None:
        return Found(known, known.run is not None and is_within(run, known.run))
    if (known := find_counted(_recent(run, of_process), by_hand)) is not None:
        return Found(known, moves=True)
    if (known := find_counted(_recent(run, reports_outside()), by_hand)) is not None:
        return Found(known, moves=True, is_alone=True)
    return None


def _recent(run: Run, reports: Iterable[Report]) -> list[Report]:
    """Return those of other runs; a context that is entered anew is another run."""
    since_ns, recorder = time.monotonic_ns() - SOON_NS, run._recorder
    return [
        one
        for one in reports
        if one.ended_ns >= since_ns
        and (there := one.run) is not None
        and there is not run
        and there._run_id == one.run_id
        and (there._recorder, there._generation) == (recorder, recorder.generation)
    ]
