"""Calls a function once a module has been imported, without importing it.

Python asks the finders of `sys.meta_path` for each module. Ours stands first, and for a module that
somebody waits for it asks the others and wraps the loader that they name; for any other module it
answers at once that it does not know it. https://docs.python.org/3/reference/import.html

Not by wrapt, which the instrumentations bring along: a program without any is not to pay for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from waxlocal.capture.process_lock import ProcessLock

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["after_import", "forget", "is_awaited", "is_under_way"]

Act = Callable[[], None]

_waiting: dict[str, list[Act]] = {}
_guard = ProcessLock()


def after_import(module: str, act: Act) -> None:
    """Call `act` when this module has been imported: now, if it is imported already.

    `act` raises nothing. It runs in the thread that imports, before the import returns.
    """
    with _guard.lock:
        if not _is_imported(module):
            _waiting.setdefault(module, []).append(act)
            _watch(module)
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
            return
    act()


def forget(module: str) -> None:
    """Do nothing any more when this module is imported."""
    with _guard.lock:
        _waiting.pop(module, None)
        if not _waiting and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)


def is_awaited(module: str) -> bool:
    """Return whether something is to be done when this module is imported."""
    return module in _waiting


def is_under_way(module: str) -> bool:
    """Return whether this module is being imported: it is there already, half made."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _is_imported(module: str) -> bool:
    return sys.modules.get(module) is not None and not is_under_way(module)


class _WatchedSpec(ModuleSpec):
    """The spec of a module whose import had begun when somebody started to wait for it.

    Its loader was asked for already. But the import system notes in the spec that it is done:
    `importlib._bootstrap._load_unlocked`, in all versions of CPython that we support.
    """

    @property
    def _initializing(self) -> bool:
        return bool(self.__dict__["_initializing"])

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        self.__dict__["_initializing"] = value
        if not value and self.name in sys.modules:  # not an import that failed
            _act_on(self.name)


def _watch(module: str) -> None:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if type(spec) is ModuleSpec and not isinstance(spec.loader, _Loader):
        spec.__class__ = _WatchedSpec


def _act_on(module: str) -> None:
    with _guard.lock:
        acts = _waiting.pop(module, [])
    for act in acts:
        act()


# Neither of the two is derived from its class in `importlib.abc`, which takes 5 ms to import.
class _Finder:
    def __init__(self) -> None:
        self._asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _waiting or getattr(self._asking, "name", None) == fullname:
            return None
        self._asking.name = fullname
        try:
            spec = find_spec(fullname)
        finally:
            self._asking.name = None
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Loader(spec.loader))
        return spec


class _Loader:
    """The loader of a module, and what is to be done afterwards."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        # Programs look for files and sources by the loader of a module that is not imported yet.
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # `inspect` and the like ask a module's loader for its source.
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _act_on(module.__name__)


_finder = _Finder()
