"""The callback handler for LangGraph: that of LangChain, and it knows the nodes of the graph."""

from __future__ import annotations

from typing import Any

from waxlocal.capture.callbacks import namespace_of, node_of
from waxlocal.shim.framework_handlers import handler_function
from waxlocal.shim.framework_runs import FrameworkRun
from waxlocal.shim.langchain import HandlerMethods, handler_class
from waxlocal.shim.langchain_facts import span_name

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
        # Of the chains that are open, by LangChain's ids.
        self._namespaces: dict[Any, str | None] = {}

    @property
    def node_execution_order(self) -> list[str]:
        """The nodes that have begun, each as often as it did."""
        return list(self._nodes)

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        """Open the span of a chain, and note the node that it is."""
        metadata = more.get("metadata") or {}
        name, around = span_name(serialized, more, "chain"), self._namespaces.get(parent_run_id)
        node = node_of(name, more.get("tags"), metadata, around)
        if node is not None:
            self._nodes.append(node)
        self._namespaces[run_id] = namespace_of(metadata)
        super().on_chain_start(
            serialized, inputs, run_id=run_id, parent_run_id=parent_run_id, **more
        )

    def on_chain_end(self, outputs: Any, *, run_id: Any, **more: Any) -> None:
        """Close the span of a chain."""
        self._namespaces.pop(run_id, None)
        super().on_chain_end(outputs, run_id=run_id, **more)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **more: Any) -> None:
        """Close the span of a chain that raised."""
        self._namespaces.pop(run_id, None)
        super().on_chain_error(error, run_id=run_id, **more)

    def _attributes(self, name: str, more: dict[str, Any]) -> dict[str, Any]:
        metadata = more.get("metadata") or {}
        node = metadata.get("langgraph_node")
        attributes = {**super()._attributes(name, more), "framework": "langgraph"}
        if node is None:
            return attributes
        return {**attributes, "node": node, "step": metadata.get("langgraph_step")}
