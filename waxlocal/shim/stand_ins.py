"""What stands for a name of `waxell_observe` that has no meaning here: importable, not usable.

A program may import such a name, write it in annotations and `except` clauses, or derive from it.
Calling it, or reading something of it, raises `NotOffered`, which says what to do instead.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NoReturn

from waxlocal.errors import NotOffered, ObserveError
from waxlocal.shim.published import ERRORS

__all__ = ["stand_in"]

# The part of the package that a name is of, and what a program does without it.
_HINTS = {
    "decisions": "policies are decided by a server; here, nothing is blocked",
    "host_info": "use the modules platform and uuid of the standard library",
    "instrumentors": "call waxell_observe.init(), which captures the calls of installed libraries",
    "integrations": "record from the program that runs the agent, or send spans by OTLP",
    "llm": "call the provider's own library, such as openai or anthropic",
    "llm_proxy": "record in the program that calls the model: waxlocal run app.py",
    "mcp": "record each tool with @waxell_observe.tool()",
    "mcp_proxy": "connect to the MCP server itself, and record in the program",
    "scanning": "pass text through a function of the program before it is recorded",
    "tracing": "use the OpenTelemetry SDK for an exporter of your own",
}


@cache
def stand_in(module: str, name: str) -> Any:
    """Return what stands for the name; the same in all modules of one part of the package."""
    part = module.partition(".")[0]
    return _made(part, name)


@cache
def _made(part: str, name: str) -> Any:
    if name in ERRORS:
        return type(name, (ObserveError,), {"__module__": f"waxell_observe.{part}"})
    if name[:1].isupper() and not name.isupper():
        return _StandInType(name, (), {"__module__": f"waxell_observe.{part}"})
    return _StandIn(part, name)


def _refuse(part: str, name: str) -> NoReturn:
    raise NotOffered(
        f"waxell_observe.{part}: {name} is not part of waxlocal",
        hint=_HINTS.get(part, "see docs/drop-in.md"),
    )


class _StandInType(type):
    """The type of classes that have no meaning here."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        _refuse(cls.__module__.partition(".")[2], cls.__name__)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        _refuse(cls.__module__.partition(".")[2], f"{cls.__name__}.{name}")


class _StandIn:
    """A function or a constant that has no meaning here."""

    __slots__ = ("__name__", "_part")

    def __init__(self, part: str, name: str) -> None:
        self.__name__ = name
        self._part = part

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        _refuse(self._part, self.__name__)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        _refuse(self._part, f"{self.__name__}.{name}")

    def __getitem__(self, key: object) -> NoReturn:
        _refuse(self._part, self.__name__)

    __iter__ = __len__ = __contains__ = __call__

    def __repr__(self) -> str:
        return f"<waxell_observe.{self._part}: {self.__name__}, which waxlocal does not offer>"
