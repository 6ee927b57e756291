"""What LangChain and LangGraph tell callback handlers, read without importing either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["is_hidden", "is_message", "namespace_of", "node_of"]

_HIDDEN = "langsmith:hidden"


def is_hidden(tags: Iterable[Any] | None) -> bool:
    """Return whether a chain is one of the framework's own, which it hides from its traces, too."""
    return _HIDDEN in (tags or ())


def namespace_of(metadata: Mapping[str, Any]) -> str | None:
    """Return LangGraph's name of the one execution of a node that a chain is, or lies in."""
    found = metadata.get("langgraph_checkpoint_ns")
    return None if found is None else str(found)


def node_of(
    name: str | None, tags: Iterable[Any] | None, metadata: Mapping[str, Any], around: str | None
) -> str | None:
    """Return the node that a chain is; None for any other chain.

    `around` is the namespace of what the chain lies in: the functions and graphs inside a node are
    called for it, too, even by its name.
    """
    node = metadata.get("langgraph_node")
    if node is None or name != str(node) or is_hidden(tags):
        return None
    namespace = namespace_of(metadata)
    return None if namespace and namespace == around else name


def is_message(value: Any) -> bool:
    """Return whether this is a message of LangChain."""
    return hasattr(value, "content") and isinstance(getattr(value, "type", None), str)
