"""Where in our code an unexpected error came from, without what it says."""

from __future__ import annotations

import traceback

__all__ = ["place_of"]


def place_of(error: BaseException) -> str:
    """Return the innermost `file:line` of an error; its text could hold what a run recorded."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
