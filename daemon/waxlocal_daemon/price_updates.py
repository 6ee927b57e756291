"""Looks up prices in a separate process: the price list takes 19 MB that Python never frees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from waxlocal.prices.table import prices_wait

__all__ = ["price_apart"]

# Far longer than it takes, so that the daemon never waits for a price for long.
LONGEST_S = 60.0
_PROGRAM = """
import sys
from pathlib import Path
from waxlocal.prices.table import price_pending
price_pending(Path(sys.argv[1]))
"""


def price_apart(path: Path) -> None:
    """Give calls that wait for a price their cost; returns at once if none does.

    A failure is ignored: the next call tries again.
    """
    if not prices_wait(path):
        return
    try:
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", _PROGRAM, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
