"""The modules of `waxell_observe`, each made when it is imported, each name when it is asked for.

`import waxell_observe` makes none of them. A module here has no code of its own: a name is looked
up in the modules of waxlocal that answer for it, so that a class is the same whichever way it was
imported. What none of them has is a stand-in, which says so when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

__all__ = ["install"]

_PACKAGE = "waxell_observe"
_INSTRUMENTOR = "_instrumentor"

# What answers for a module, in this order, before those that answer for all.
_ANSWERS: dict[str, tuple[str, ...]] = {
    "_init": ("capture.entry", "sdk.lifecycle", "shim.functions"),
    "anthropic": ("shim.clients", "shim.instrumentors"),
    "approval": ("sdk.approval", "shim.functions"),
    "client": ("shim.functions",),
    "config": ("shim.functions",),
    "context": ("sdk.context", "shim.functions"),
    "cost": ("shim.cost",),
    "decision": ("sdk.decorators",),
    "decisions": ("shim.decisions",),
    "decisions.surface_gate": ("shim.decisions", "sdk.functions"),
    "decisions.unified": ("shim.decisions",),
    "decorator": ("sdk.decorators",),
    "diagnose": ("capture.diagnosis",),
    "instrumentors": ("shim.instrumentors",),
    "instrumentors._base": ("shim.instrumentors",),
    "instrumentors._collector": ("shim.collector",),
    "instrumentors._guard": ("shim.guard",),
    "integrations.langchain": ("shim.langchain",),
    "integrations.langgraph": ("shim.langgraph",),
    "integrations.llamaindex": ("shim.llamaindex",),
    "model_limits": ("shim.cost",),
    "openai": ("shim.clients", "shim.instrumentors"),
    "retrieval": ("sdk.decorators",),
    "tool": ("sdk.decorators",),
    "tracing": ("sdk.lifecycle",),
    "tracing.propagation": ("shim.functions",),
}
_ANSWERS_ALL = (
    "sdk.client",
    "settings.config",
    "errors",
    "sdk.types",
    "shim.cost",
    "shim.trace_spans",
    "shim.attributes",
    "shim.exception_attributes",
)
# Decorators by another name than here: there `waxell_observe.step` is a function, too.
_RENAMED = {
    ("reasoning", "reasoning"): ("sdk.decorators", "reasoning_dec"),
    ("retry", "retry"): ("sdk.decorators", "retry_dec"),
    ("step", "step"): ("sdk.decorators", "step_dec"),
}
# These are functions and classes of the package, too. An import binds a module in its package, and
# would replace them; so their modules exist before anything imports them.
_FUNCTIONS_TOO = ("context", "decision", "diagnose", "retrieval", "retry", "step", "tool")


def install() -> None:
    """Make the modules importable; costs nothing until one of them is imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    # First, before those that find an installed original.
    sys.meta_path.insert(0, _Finder())
    for name in _FUNCTIONS_TOO:
        spec = _spec(f"{_PACKAGE}.{name}", is_package=False)
        sys.modules[spec.name] = module_from_spec(spec)


class _Finder(MetaPathFinder):
    """Finds the public modules of `waxell_observe`, and nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{_PACKAGE}."):
            return None
        from waxlocal.shim.published import MODULES

        name = fullname.partition(".")[2]
        if name not in MODULES and not _library_of(name):
            return None
        return _spec(fullname, is_package=any(other.startswith(f"{name}.") for other in MODULES))


class _Loader(Loader):
    """Makes a module; there is no code to run in it."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _spec(fullname: str, *, is_package: bool) -> ModuleSpec:
    spec = spec_from_loader(fullname, _Loader(), origin="waxlocal", is_package=is_package)
    if spec is None:  # never, with a loader
        raise ModuleNotFoundError(fullname, name=fullname)
    return spec


class _Module(ModuleType):
    """A module of `waxell_observe`."""

    def __getattr__(self, name: str) -> Any:
        module = self.__name__.partition(".")[2]
        if name == "__all__":
            return _names_of(module)
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = _submodule(module, name) or _answer(module, name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *_names_of(self.__name__.partition(".")[2])})


def _submodule(module: str, name: str) -> ModuleType | None:
    """Return a module of this one that was not imported: the original imports all of them."""
    from waxlocal.shim.published import MODULES

    if f"{module}.{name}" in MODULES and name not in _names_of(module):
        return import_module(f"{_PACKAGE}.{module}.{name}")
    return None


def _answer(module: str, name: str) -> Any:
    if (module, name) in _RENAMED:
        place, name = _RENAMED[module, name]
        return getattr(import_module(f"waxlocal.{place}"), name)
    if library := _library_of(module):
        from waxlocal.shim.instrumentors import instrumentor_of

        if name == "INSTRUMENTOR":  # two modules have such a second name for their class
            name = next(other for other in _names_of(module) if other.endswith("Instrumentor"))
        usual = module.rpartition(".")[2].replace("_", "")
        if name.lower() == usual or (name in _names_of(module) and name.endswith("Instrumentor")):
            return instrumentor_of(library, name)
    known = name in _names_of(module)
    # A name that the original does not list may be one of ours all the same.
    for place in (*_ANSWERS.get(module, ()), *(_ANSWERS_ALL if known else ())):
        answering = import_module(f"waxlocal.{place}")
        if hasattr(answering, name):
            return getattr(answering, name)
    if known:
        from waxlocal.shim.stand_ins import stand_in

        return stand_in(module, name)
    raise AttributeError(f"module '{_PACKAGE}.{module}' has no attribute {name!r}")


def _names_of(module: str) -> list[str]:
    from waxlocal.shim.published import MODULES

    return MODULES.get(module, "").split()


def _library_of(module: str) -> str:
    """Return the library of a module `instrumentors.KEY_instrumentor`, or nothing."""
    package, _, name = module.rpartition(".")
    if package != "instrumentors" or not name.endswith(_INSTRUMENTOR):
        return ""
    from waxlocal.shim.libraries import LIBRARIES

    key = name.removesuffix(_INSTRUMENTOR)
    return key if key in LIBRARIES else ""
