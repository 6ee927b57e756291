"""The runs that were made for calls outside any, while another report of the call may follow."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from waxlocal.capture.facts import Row
from waxlocal.capture.pairing import SLACK_NS, Report
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.context import WaxellContext

if TYPE_CHECKING:
    from waxlocal.capture.calls import CapturedCalls

__all__ = [
    "AUTO_WORKFLOW",
    "ONE_CALL",
    "auto_agent",
    "keep_outside",
    "reports_outside",
    "run_outside",
    "take_outside",
]

# As the original names and marks the run of a call outside any run.
AUTO_WORKFLOW = "auto"
ONE_CALL = {"auto_collected": True, "call_count": 1}

# How many of them are kept in memory.
RECENT = 128
# The last runs that were made for calls outside any, each with the time of its call.
_outside: deque[tuple[int, WaxellContext, CapturedCalls]] = deque(maxlen=RECENT)
# A program reports a call soon after it; later it is another one with the same counts.
SOON_NS = 60_000_000_000


def auto_agent(model: str) -> str:
    """Return the agent of the run that a call of a model outside any run becomes."""
    return f"auto:{model}"


def keep_outside(run: WaxellContext, calls: CapturedCalls) -> None:
    """Remember the run that was made for a call outside any."""
    _outside.append((time.monotonic_ns(), run, calls))


def take_outside(report: Report) -> bool:
    """Merge a call into the run that was made for an earlier report of it; False without any.

    Some frameworks report a whole invocation when it is over, or in another task than that of the
    call: its client has reported it by then, outside any run.
    """
    recorder = current_recorder()
    for made_ns, run, calls in reversed(tuple(_outside)):
        if made_ns < report.started_ns - SLACK_NS:
            return False
        if run._recorder is recorder and calls.merge_outside(report):
            return True
    return False


def reports_outside() -> list[Report]:
    """Return the last calls that were captured outside any run, as they ended."""
    return [report for _, _, calls in tuple(_outside) for report in calls.reports]


def run_outside(by_hand: Row) -> WaxellContext | None:
    """Return the run that was made for a captured call which this may be a report of."""
    since_ns, recorder = time.monotonic_ns() - SOON_NS, current_recorder()
    for made_ns, run, calls in tuple(_outside):
        # A program may record into another file since.
        if made_ns >= since_ns and run._recorder is recorder and calls.may_be(by_hand):
            return run
    return None
