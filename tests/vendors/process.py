"""The stand-in in a process of its own, where it takes no time from the program that is measured.

Nothing but the model's name scripts it: see `replies.NAMES`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests.tools.patience import PATIENCE_S

__all__ = ["VendorProcess", "vendor_process"]

ROOT = Path(__file__).parents[2]


class VendorProcess(NamedTuple):
    """Its address, and what it prints: a line for each request."""

    url: str
    lines: IO[str]


@contextmanager
def vendor_process(*arguments: str) -> Iterator[VendorProcess]:
    """Run `python -m tests.vendors` for the length of the block; fails unless it ends with 0.

    With many requests, read its lines or give `--quiet`: it stops when nobody takes them.
    """
    command = [sys.executable, "-m", "tests.vendors", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first, "the stand-in does not start"
            yield VendorProcess(first.split()[-1], process.stdout)
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(PATIENCE_S)
    assert status == 0
