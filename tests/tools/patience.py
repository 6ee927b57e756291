"""How long a test waits for a state before it gives up."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE_S", "wait_until"]

# Seconds. Never reached where things work, however busy the machine is: it only keeps a test that
# hangs from hanging for ever.
PATIENCE_S = 180.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a state."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
