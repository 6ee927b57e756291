"""The error for a library that is not installed. Imports the standard library only."""

from __future__ import annotations

import shlex
import sys

__all__ = ["MISSING_LIBRARY", "say_missing"]

# The exit status of `ConfigurationError`.
MISSING_LIBRARY = 2
# The dependencies of the wheel. Any other missing module is a bug.
_OURS = ("waxlocal", "waxlocal_daemon")


def say_missing(error: ModuleNotFoundError, what: str) -> int:
    """Print which library `what` needs and how to install it; return the exit status.

    Raises the error again if the missing module is not a dependency.
    """
    name = (error.name or "").partition(".")[0]
    if not name or name in _OURS:
        raise error
    sys.stderr.write(f"Error: {what} needs the package {name}, which is not installed\n")
    sys.stderr.write(f"Try: {shlex.quote(sys.executable)} -m pip install waxlocal\n")
    return MISSING_LIBRARY
