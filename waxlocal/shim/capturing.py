"""The door from the names of the original to what captures the calls of libraries."""

from __future__ import annotations

from collections.abc import Collection

from waxlocal.capture import engines
from waxlocal.shim.libraries import LIBRARIES, is_installed

__all__ = ["capture", "release", "wanted"]


def capture(libraries: Collection[str]) -> dict[str, bool]:
    """Capture the calls of these libraries; return for each whether that is done."""
    return engines.instrument(libraries)


def release(libraries: Collection[str] | None = None) -> None:
    """Capture these libraries no longer; None means all."""
    engines.uninstrument(libraries)


def wanted(libraries: Collection[str] | None, exclude: Collection[str] | None) -> list[str]:
    """Return the libraries that were asked for (None: all that are installed), without some."""
    left_out = set(exclude or ())
    chosen = filter(is_installed, LIBRARIES) if libraries is None else libraries
    return [library for library in chosen if library not in left_out]
