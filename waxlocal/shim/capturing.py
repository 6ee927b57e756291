"""The door from the names of the original to what captures the calls of libraries."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from waxlocal.shim.libraries import LIBRARIES, is_installed

__all__ = ["capture", "release", "wanted"]

_CAPTURE = "waxlocal.capture"


def capture(libraries: Collection[str]) -> dict[str, bool]:
    """Capture the calls of these libraries; return for each whether that is done."""
    switch = _function("instrument")
    done: dict[str, bool] = dict.fromkeys(libraries, False)
    if switch is not None:
        done.update(switch(list(libraries)) or {})
    return done


def release(libraries: Collection[str] | None = None) -> None:
    """Capture these libraries no longer; None means all."""
    switch = _function("uninstrument")
    if switch is not None:
        switch(None if libraries is None else list(libraries))


def wanted(libraries: Collection[str] | None, exclude: Collection[str] | None) -> list[str]:
    """Return the libraries that were asked for (None: all that are installed), without some."""
    left_out = set(exclude or ())
    chosen = filter(is_installed, LIBRARIES) if libraries is None else libraries
    return [library for library in chosen if library not in left_out]


def _function(name: str) -> Any:
    """Return a function of the package that captures calls; None if this waxlocal has it not."""
    if find_spec(_CAPTURE) is None:
        return None
    return getattr(import_module(_CAPTURE), name, None)
