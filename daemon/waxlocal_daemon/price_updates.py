"""Looks up prices in a process of its own: the list takes 19 MB that would never be given back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from waxlocal.prices.table import prices_wait

__all__ = ["price_apart"]

# Far longer than it takes; a daemon must not wait for a price for ever.
LONGEST_S = 60.0
_PROGRAM = """
import sys
from pathlib import Path
from waxlocal.prices.table import price_pending
price_pending(Path(sys.argv[1]))
"""


def price_apart(path: Path) -> None:
    """Give calls that wait for a price their cost; costs next to nothing when none does.

    What cannot be done now is done another time.
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
