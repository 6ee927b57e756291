"""What a recorder says to people, which must never hurt the program that records."""

from __future__ import annotations

import sys

from waxlocal.signal_handlers import Suppress

__all__ = ["say", "warn"]


def warn(message: str) -> None:
    """Log a warning under the name `waxlocal`; raises nothing of the logging."""
    import logging  # 5 ms to import, and most processes never warn

    with Suppress(Exception):  # of the program's own log handlers
        logging.getLogger("waxlocal").warning(message)


def say(line: str) -> None:
    """Write a line to stderr; nothing happens where there is none. Raises nothing."""
    with Suppress(OSError, ValueError, AttributeError):  # stderr closed, or no stderr at all
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
