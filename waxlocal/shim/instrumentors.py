"""The package of instrumentors: one class for each library, and all of them at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from waxlocal.capture import engines
from waxlocal.capture.entry import chosen
from waxlocal.shim.libraries import LIBRARIES, is_installed

__all__ = [
    "BaseInstrumentor",
    "detect_installed_libraries",
    "instrument_all",
    "instrumentor_of",
    "uninstrument_all",
]

# Keys of the original that are no libraries of their own.
_NOT_LISTED = frozenset(("deepagents_fs", "langgraph_remote", "subprocess"))


class BaseInstrumentor(ABC):
    """Captures the calls of one library; a program may derive its own from it.

    Each derived class has its own lock and its own flag, whether it is switched on.
    """

    NOOP_REASON = ""
    _instrumented = False
    _instrument_lock = Lock()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._instrument_lock = Lock()
        cls._instrumented = False

    @abstractmethod
    def instrument(self) -> bool:
        """Capture from now on; return whether that is done."""

    @abstractmethod
    def uninstrument(self) -> None:
        """Capture no longer."""

    def is_instrumented(self) -> bool:
        """Return whether this class is switched on."""
        return type(self)._instrumented

    @contextmanager
    def try_instrument_once(self) -> Iterator[bool]:
        """Hold the lock of the class; give whether it is still to be switched on."""
        with type(self)._instrument_lock:
            yield not type(self)._instrumented


class _Instrumentor(BaseInstrumentor):
    """Switches capture of a library on and off."""

    library = ""

    def __init__(self, **_settings: Any) -> None:
        """Accept settings, as in the original; what is captured does not depend on them."""

    def instrument(self) -> bool:
        with self.try_instrument_once() as to_do:
            if to_do:
                type(self)._instrumented = engines.instrument([self.library])[self.library]
        return type(self)._instrumented

    def uninstrument(self) -> None:
        with type(self)._instrument_lock:
            engines.uninstrument([self.library])
            type(self)._instrumented = False


@cache
def instrumentor_of(library: str, name: str) -> type[BaseInstrumentor]:
    """Return the class of that name for a library, always the same."""
    module = f"waxell_observe.instrumentors.{library}_instrumentor"
    return type(name, (_Instrumentor,), {"library": library, "__module__": module})


def detect_installed_libraries() -> dict[str, bool]:
    """Return for each library that the original knows whether it is installed; imports none."""
    return {library: is_installed(library) for library in LIBRARIES if library not in _NOT_LISTED}


def instrument_all(
    libraries: list[str] | None = None, exclude: list[str] | None = None
) -> dict[str, bool]:
    """Capture the calls of these libraries; return for each whether it is captured, or will be.

    None stands for all that are installed. `exclude` and the variable `WAXELL_EXCLUDE` leave some
    out.
    """
    wanted = filter(is_installed, LIBRARIES) if libraries is None else libraries
    return engines.instrument(chosen(wanted, exclude))


def uninstrument_all() -> None:
    """Capture no calls of libraries any longer."""
    engines.uninstrument()
