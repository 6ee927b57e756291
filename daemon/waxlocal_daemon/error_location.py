"""Where in the code an unexpected error came from, without its message."""

from __future__ import annotations

import traceback

__all__ = ["location_of"]


def location_of(error: BaseException) -> str:
    """Return the innermost `file:line` of an error; its message could contain recorded text."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
