"""What LangGraph raises to pause or to hand over: a node waits for a person, and has not failed.

`interrupt()` in a node or a tool raises through all that is around it, up to the graph with the
checkpoints. https://docs.langchain.com/oss/python/langgraph/interrupts
"""

from __future__ import annotations

from typing import Any

from waxlocal.known_types import name_of_type

__all__ = ["is_pause", "pause_of"]

_BASE = "GraphBubbleUp"
_NAMES = frozenset((_BASE, "GraphInterrupt", "NodeInterrupt", "ParentCommand"))
_MODULE = "langgraph."


def is_pause(error_type: str) -> bool:
    """Return whether the type of an error, as a span names it, is that of a pause."""
    module, dot, name = error_type.rpartition(".")
    return name in _NAMES and (not dot or f"{module}.".startswith(_MODULE))


def pause_of(error: BaseException) -> dict[str, Any] | None:
    """Return {"GraphInterrupt": what is asked of whom}; None for an error."""
    if not any(name_of_type(kind) == _BASE for kind in type(error).__mro__):
        return None
    return {name_of_type(type(error)): error.args}
