"""The callback handler for LangGraph: that of LangChain, and it knows the nodes of the graph."""

from __future__ import annotations

from typing import Any

from waxlocal.shim.framework_handlers import handler_function
from waxlocal.shim.framework_runs import FrameworkRun
from waxlocal.shim.langchain import HandlerMethods, handler_class

__all__ = ["WaxellLangGraphHandler"]


@handler_function
def WaxellLangGraphHandler() -> Any:
    """Return a handler for `config={"callbacks": [handler]}` of a graph; see `langchain`.

    `node_execution_order` has the names of the nodes in the order in which they began.
    """
    return handler_class(_GraphMethods)()


class _GraphMethods(HandlerMethods):
    name = "WaxellLangGraph"

    def set_up(self, run: FrameworkRun) -> None:
        super().set_up(run)
        self._nodes: list[str] = []

    @property
    def node_execution_order(self) -> list[str]:
        """The nodes that have begun, each as often as it did."""
        return list(self._nodes)

    def _attributes(self, name: str, more: dict[str, Any]) -> dict[str, Any]:
        metadata = more.get("metadata") or {}
        node = metadata.get("langgraph_node")
        attributes = {**super()._attributes(name, more), "framework": "langgraph"}
        if node is None:
            return attributes
        # The functions inside a node are called for it, too, but by their own names.
        if name == node:
            self._nodes.append(str(node))
        return {**attributes, "node": node, "step": metadata.get("langgraph_step")}
