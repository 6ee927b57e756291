"""The names of `waxell_observe`, answered by waxlocal; `modules` has those of its modules."""

from importlib import import_module
from types import ModuleType

import waxlocal
from waxlocal import *  # noqa: F403 (whatever waxlocal offers)
from waxlocal import __version__, context  # noqa: F401

# The variable is private in the original, and read by programs all the same.
from waxlocal.sdk.scope import current_run as _current_context  # noqa: F401
from waxlocal.shim.modules import install

# Two functions go by a second name in the original, which its `__all__` does not list.
get_current_context = waxlocal.get_context
observed_input = waxlocal.input

UNLISTED = ("_current_context", "get_current_context", "observed_input")
__all__ = waxlocal.__all__

install()


def submodule(name: str) -> ModuleType:
    """Return a module of `waxell_observe` that was not imported; the original imports them all."""
    if not name.startswith("__"):
        try:
            return import_module(f"waxell_observe.{name}")
        except ModuleNotFoundError:
            pass
    raise AttributeError(f"module 'waxell_observe' has no attribute {name!r}")
