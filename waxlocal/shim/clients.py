"""`from waxell_observe.openai import openai`: the library itself, with its calls captured."""

from __future__ import annotations

from types import ModuleType

from waxlocal.capture.engines import instrument
from waxlocal.shim.libraries import import_library

__all__ = ["anthropic", "openai"]  # noqa: F822 (made when they are asked for)


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    instrument([name])
    # Not an AttributeError: after one, the import looks for `waxell_observe.openai.openai`.
    return import_library(name, name)
