"""The calls that a program hands over by hand, and that were captured in another run: one row each.

A call is often made where no run is open, in a thread of its own, or in a function that is a run,
and handed over elsewhere. Its row belongs to the inner one of the two runs: the one that the
program names if that lies within the other, or if the other was made for the call alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.facts import Row
from waxlocal.capture.outside_calls import SOON_NS, reports_outside
from waxlocal.capture.pairing import Report, find_counted
from waxlocal.capture.places import is_within
from waxlocal.recording.statements import IS_UPLOADED
from waxlocal.sdk.run import Run, captured
from waxlocal.sdk.scope import outermost

__all__ = ["claim", "merge_hand_made"]


def merge_hand_made() -> None:
    """Have the SDK ask for each call that the program hands over whether it was captured."""
    captured.claim = claim


def claim(run: Run, by_hand: dict[str, Any]) -> bool:
    """Merge a call that the program records into the one that was captured; False without any.

    That is one of this run, or within the last minute one with the same counts: of a run around
    this one or below the same one, or outside any run.
    """
    if not run._run_id:
        return False
    own = CapturedCalls.of(run)
    if own.claim(by_hand):
        return True
    if not (by_hand["tokens_in"] or by_hand["tokens_out"]):
        return False
    if (known := find_counted(_recent(run, own.within), by_hand)) is not None:
        moves = known.run is not None and is_within(run, known.run)
        return _merge(own, known, by_hand, moves=moves)
    if outermost.run is not None:
        of_process = CapturedCalls.of(outermost.run).reports
        if (known := find_counted(_recent(run, of_process), by_hand)) is not None:
            return _merge(own, known, by_hand, moves=True)
    known = find_counted(_recent(run, reports_outside()), by_hand)
    return known is not None and _merge(own, known, by_hand, moves=True, alone=True)


def _recent(run: Run, reports: Iterable[Report]) -> list[Report]:
    """Return those that this process has recorded in other runs a moment ago, into the same file.

    A context that is entered anew is another run.
    """
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


def _merge(
    own: CapturedCalls, known: Report, by_hand: Row, *, moves: bool, alone: bool = False
) -> bool:
    if known.run is None:
        return False
    # A server that has the other run would keep there what is removed here.
    if moves and not known.run._recorder.store.fetch(IS_UPLOADED, (known.run_id,)):
        return own.take(known, by_hand, alone=alone)
    return CapturedCalls.of(known.run).claim_this(known, by_hand)
