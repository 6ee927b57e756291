"""A process that goes through a long outage in little time, and tells what it did.

python -m tests.tools.outage FILE URL single|bulk HOURS RESTARTS

Uploads under a clock that is moved on by what `run` returns; the uploader is made anew RESTARTS
times on the way. Prints JSON: the times of all requests in seconds, the peak memory in bytes.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path
from random import Random

from tests.tools.movable_clock import MovableClock
from tests.tools.sync import uploading
from waxlocal_daemon.circuit import USUAL_PACE

__all__ = ["go_through"]


def go_through(path: Path, url: str, bulk: bool, hours: float, restarts: int) -> list[float]:
    """Upload for so many hours; return when each request left, in seconds from the start."""
    clock = MovableClock(time.time_ns())
    begin = clock.monotonic_ns()
    sent: list[float] = []

    def passed() -> float:
        return (clock.monotonic_ns() - begin) / 1e9

    def at(point: str) -> None:
        if point == "sending":
            sent.append(passed())

    stop = threading.Event()
    random = Random(1).random
    for part in range(restarts + 1):
        end = hours * 3600 * (part + 1) / (restarts + 1)
        with uploading(
            path, url, clock=clock, random=random, at=at, pace=USUAL_PACE, bulk=bulk
        ) as uploader:
            while passed() < end:
                clock.sleep(min(uploader.run(stop), end - passed()))
    return sent


def _peak_bytes() -> int:
    """Return the peak memory; `ru_maxrss` would begin with that of the process that started us."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kib * 1024


if __name__ == "__main__":
    path, url, kind, hours, restarts = sys.argv[1:]
    sent = go_through(Path(path), url, kind == "bulk", float(hours), int(restarts))
    print(json.dumps({"sent": sent, "peak": _peak_bytes()}))
