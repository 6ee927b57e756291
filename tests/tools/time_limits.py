"""Records while a signal handler raises at random moments: python -m tests.tools.time_limits ERROR

A program of its own, because an exception that strikes at any moment leaves the locks of others
(of coverage.py, for example) locked. Prints one JSON object: how often the handler raised, how many
runs went undisturbed, and what the recorder says.
"""

from __future__ import annotations

import gc
import json
import random
import signal
import sqlite3
import sys
from contextlib import suppress
from types import FrameType

from waxlocal import WaxellContext
from waxlocal.recording.recorder import current_recorder

RUNS = 300


class TimeLimit(Exception):
    """What a job queue raises in a task that takes too long."""


class Late(TimeoutError):
    """An alarm's error that is one of the system's, too."""


ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (TimeLimit, Late, sqlite3.OperationalError)
}


def main(error: type[Exception]) -> None:
    fired = undisturbed = 0

    def handler(_number: int, _frame: FrameType | None) -> None:
        nonlocal fired
        fired += 1
        raise error

    gc.disable()  # what a handler raises in a callback of the collector is lost
    moments = random.Random(7)
    with WaxellContext("first"):
        pass
    signal.signal(signal.SIGALRM, handler)
    for _ in range(RUNS):
        with suppress(error):
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.000_1, 0.001_2))
            with WaxellContext("agent", inputs={"n": float("nan")}) as run:
                for number in range(12):
                    run.set_tag("n", str(number))
                    run.record_step(f"step {number}", {"n": {number}})
            signal.setitimer(signal.ITIMER_REAL, 0)
            undisturbed += 1
    recorder = current_recorder()
    health = recorder.health()
    drained = recorder.store.drain(wait=30)
    told = {"fired": fired, "undisturbed": undisturbed, "drained": drained}
    print(json.dumps(told | {"lost": health.lost, "reason": health.reason}))


if __name__ == "__main__":
    main(ERRORS[sys.argv[1]])
