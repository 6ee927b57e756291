"""The nodes of a graph of LangGraph, as spans: its instrumentation reports the graph alone.

LangGraph tells callback handlers of each node, as of any chain. So what follows the chains for the
instrumentation is asked here, too: each node becomes a span, and what runs in it lies inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context

from waxlocal.capture.callbacks import is_message, namespace_of, node_of
from waxlocal.capture.gen_ai_messages import read_messages
from waxlocal.capture.pauses import pause_of
from waxlocal.messages.forms import Message
from waxlocal.recording.notices import warn
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["report_nodes"]


class _Node:
    """A node that runs. The instrumentation calls `stop` or `fail`, and runs the rest in `context`.

    Everything inside it has its `namespace`, too.
    """

    def __init__(self, span: trace.Span, around: Context | None, namespace: str | None) -> None:
        self.span = span
        self.context = trace.set_span_in_context(span, around)
        self.namespace = namespace

    def stop(self) -> None:
        """End well; nothing if it has ended."""
        self.span.end()

    def fail(self, error: BaseException) -> None:
        """End with an error; nothing if it has ended."""
        pause = pause_of(error)
        if pause is not None:
            self.span.set_attribute("output.value", pause)
        else:
            self.span.record_exception(error)
            self.span.set_status(trace.StatusCode.ERROR)
        self.span.end()


def report_nodes(instrumentor: Any, tracer: trace.Tracer) -> None:
    """Report the nodes of graphs, too, beside what an instrumentor of LangChain reports.

    Costs a program without graphs one look at the metadata of each chain. Raises `AttributeError`
    where the instrumentation keeps its chains in another way.
    """
    handler = instrumentor._callback_handler
    chains = handler._invocation_manager
    begin, end, fail = handler.on_chain_start, handler.on_chain_end, handler.on_chain_error

    def on_chain_start(serialized: Any, inputs: Any, **more: Any) -> Any:
        begun = begin(serialized, inputs, **more)
        if handler._enabled and (more.get("metadata") or {}).get("langgraph_node"):
            _guarded(_begin_node, chains, tracer, more)
        return begun

    def on_chain_end(outputs: Any, **more: Any) -> Any:
        node = chains.get_invocation(more["run_id"])
        if type(node) is _Node:
            _guarded(_end_node, node, outputs)
        return end(outputs, **more)

    def on_chain_error(error: BaseException, **more: Any) -> Any:
        node = chains.get_invocation(more["run_id"])
        if type(node) is _Node:
            _guarded(node.fail, error)
        return fail(error, **more)

    # A handler is asked by these names, whether its class or it itself has them.
    handler.on_chain_start = on_chain_start
    handler.on_chain_end = on_chain_end
    handler.on_chain_error = on_chain_error


def _guarded(act: Callable[..., None], *given: Any) -> None:
    try:
        act(*given)
    except Exception as error:  # a fault of ours must not become the program's
        if raised_by_handler(error):
            raise
        warn(f"a node of a graph is not recorded: {error!r}")


def _begin_node(chains: Any, tracer: trace.Tracer, chain: dict[str, Any]) -> None:
    """Begin the span of a chain, if it is a node and not something inside one."""
    run_id, outer_id, metadata = chain["run_id"], chain.get("parent_run_id"), chain["metadata"]
    namespace = _namespace_around(chains, outer_id)
    name = node_of(chain.get("name"), chain.get("tags"), metadata, namespace)
    if (
        name is None
        or metadata.get("otel_trace") is False  # the program's word to the instrumentation
        or chains.get_invocation(run_id) is not None  # it is an agent
    ):
        return
    around = chains.get_parent_context(outer_id)
    said = {
        "openinference.span.kind": "CHAIN",
        "framework": "langgraph",
        "node": name,
        "step": metadata.get("langgraph_step"),
    }
    span = tracer.start_span(name, around, attributes=said)
    node = _Node(span, around, namespace_of(metadata))
    chains.add_invocation_state(run_id, outer_id, node)


def _namespace_around(chains: Any, run_id: Any) -> str | None:
    while run_id is not None:
        found = chains.get_invocation(run_id)
        if type(found) is _Node:
            return found.namespace
        run_id = chains.get_parent_run_id(run_id)
    return None


def _end_node(node: _Node, outputs: Any) -> None:
    # What it was given is not kept: that is what came before it, again at each step.
    if outputs is not None:
        node.span.set_attribute("output.value", _told(outputs))
    node.stop()


# A node may also give a command, or several: an update, and where to go with it.
_OF_COMMAND = ("graph", "update", "resume", "goto")


def _told(value: Any) -> Any:
    """Return what a node gave, with its messages as those of calls are kept."""
    messages = _told_messages(value)
    if messages:
        return messages
    if isinstance(value, dict):
        return {name: _told_messages(inner) or inner for name, inner in value.items()}
    if isinstance(value, list):
        return [_told(inner) for inner in value]
    if hasattr(value, "update") and hasattr(value, "goto"):
        said = {name: getattr(value, name, None) for name in _OF_COMMAND}
        return {name: _told(inner) for name, inner in said.items() if inner}
    return value


def _told_messages(value: Any) -> list[Message] | None:
    messages = value if isinstance(value, list) else [value]
    return read_messages(messages) if messages and all(map(is_message, messages)) else None
