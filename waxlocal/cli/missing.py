"""What a command says when a library that it needs is not installed; imports no library itself."""

from __future__ import annotations

import shlex
import sys

__all__ = ["MISSING_LIBRARY", "say_missing"]

# As for other settings that have to be put right first.
MISSING_LIBRARY = 2
# What the wheel brings; whatever else cannot be found is not there by a fault.
_OURS = ("waxlocal", "waxlocal_daemon")


def say_missing(error: ModuleNotFoundError, what: str) -> int:
    """Say which library `what` needs, and how to get it; return the exit status.

    Raises the error again if it is a module of waxlocal's own that is not there.
    """
    name = (error.name or "").partition(".")[0]
    if not name or name in _OURS:
        raise error
    sys.stderr.write(f"Error: {what} needs the package {name}, which is not installed\n")
    sys.stderr.write(f"Try: {shlex.quote(sys.executable)} -m pip install waxlocal\n")
    return MISSING_LIBRARY
