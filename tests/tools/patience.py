"""How long a test waits for a state before it gives up."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["PATIENCE_S", "killed_if_late", "wait_until"]

# Seconds. Never reached where things work, however busy the machine is: it only keeps a test that
# hangs from hanging for ever.
PATIENCE_S = 180.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a state."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextmanager
def killed_if_late(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process whose next line is read in the block, and does not come."""
    giving_up = threading.Timer(PATIENCE_S, process.kill)
    giving_up.start()
    try:
        yield
    finally:
        giving_up.cancel()
        giving_up.join()
