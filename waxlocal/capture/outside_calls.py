"""The runs that were made for calls outside any, while another report of the call may follow."""

from __future__ import annotations

import atexit
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from waxlocal.capture.facts import Row
from waxlocal.capture.pairing import SLACK_NS, Report
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.statements import REMOVE_EMPTY_RUN
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.run import Run

if TYPE_CHECKING:
    from waxlocal.capture.calls import CapturedCalls

__all__ = [
    "AUTO_WORKFLOW",
    "ONE_CALL",
    "Outside",
    "auto_agent",
    "keep_outside",
    "outside_since",
    "remove_left",
    "run_outside",
    "take_outside",
]

# As the original names and marks the run of a call outside any run.
AUTO_WORKFLOW = "auto"
ONE_CALL = {"auto_collected": True, "call_count": 1}

# How many of them are kept in memory.
RECENT = 128


class Outside(NamedTuple):
    """A run that was made for a call outside any, when, and its calls; `is_named`: its session."""

    made_ns: int
    run: WaxellContext
    calls: CapturedCalls
    is_named: bool


# The last ones.
_outside: deque[Outside] = deque(maxlen=RECENT)
# Those whose call has left them, by id, each with a run of the same file.
_left: list[tuple[Run, str]] = []
# A program reports a call soon after it; later it is another one with the same counts.
SOON_NS = 60_000_000_000


def auto_agent(model: str) -> str:
    """Return the agent of the run that a call of a model outside any run becomes."""
    return f"auto:{model}"


def keep_outside(run: WaxellContext, calls: CapturedCalls, *, is_named: bool = False) -> None:
    """Remember the run that was made for a call outside any; `is_named`: the program its session.

    Those that their calls have left can go now: they are not the newest any more.
    """
    _outside.append(Outside(time.monotonic_ns(), run, calls, is_named))
    _remove_all_left()


def remove_left(run: Run, left: str) -> None:
    """Remove a run that its call has left for this one; the newest once another one has begun.

    Ids of runs are in the order in which they began.
    """
    if run._run_id > left:
        _remove(run, left)
    else:
        _left.append((run, left))


@atexit.register
def _remove_all_left() -> None:
    while _left:
        _remove(*_left.pop())


def _remove(run: Run, left: str) -> None:
    run._recorder.store.write(REMOVE_EMPTY_RUN, {"run_id": left})


def take_outside(report: Report) -> bool:
    """Merge a call into the run that was made for an earlier report of it; False without any.

    Some frameworks report a whole invocation when it is over, or in another task than that of the
    call: its client has reported it by then, outside any run.
    """
    recorder = current_recorder()
    for made in reversed(tuple(_outside)):
        if made.made_ns < report.started_ns - SLACK_NS:
            return False
        if made.run._recorder is recorder and made.calls.merge_outside(report):
            return True
    return False


def outside_since(since_ns: int) -> list[Outside]:
    """Return those that were made since then, by the steady clock, in order."""
    return [one for one in tuple(_outside) if one.made_ns >= since_ns]


def run_outside(by_hand: Row) -> WaxellContext | None:
    """Return the run that was made for a captured call which this may be a report of."""
    since_ns, recorder = time.monotonic_ns() - SOON_NS, current_recorder()
    for made in outside_since(since_ns):
        # A program may record into another file since.
        if made.run._recorder is recorder and made.calls.may_be(by_hand):
            return made.run
    return None
