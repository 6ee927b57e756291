"""`from waxell_observe.openai import openai`: the library itself, with its calls captured."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from waxlocal.shim.capturing import capture

__all__ = ["anthropic", "openai"]  # noqa: F822 (made when they are asked for)


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    capture([name])
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # An import that finds no attribute would look for a module `waxell_observe.openai.openai`.
        raise ModuleNotFoundError(
            f"No module named {error.name!r}. Try: pip install {name}", name=error.name
        ) from error
