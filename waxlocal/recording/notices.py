"""What a recorder says to people, which must never hurt the program that records."""

from __future__ import annotations

import sys
from contextlib import suppress

from waxlocal.signal_handlers import raised_by_handler

__all__ = ["say", "warn"]


def warn(message: str) -> None:
    """Log a warning under the name `waxlocal`; raises nothing of the logging."""
    import logging  # 5 ms to import, and most processes never warn

    try:
        logging.getLogger("waxlocal").warning(message)
    except Exception as error:  # of the program's own log handlers
        if raised_by_handler(error):
            raise


def say(line: str) -> None:
    """Write a line to stderr; nothing happens where there is none. Raises nothing."""
    with suppress(OSError, ValueError, AttributeError):  # stderr closed, or no stderr at all
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
