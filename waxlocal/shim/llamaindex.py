"""The callback handler for LlamaIndex: a run, with its queries, searches, tools and model calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any
from uuid import uuid4

from waxlocal.messages.roles import role_of
from waxlocal.shim.framework_handlers import FrameworkHandler, handler_function
from waxlocal.shim.libraries import import_library
from waxlocal.shim.model_calls import Answer, ModelCall, member, tokens_of

__all__ = ["WaxellLlamaIndexHandler"]

# What the framework calls an event, and the kind of its span; other events are chains.
_KINDS = {
    "agent_step": "agent",
    "embedding": "embedding",
    "function_call": "tool",
    "reranking": "retriever",
    "retrieve": "retriever",
}
# The parent that the framework names for an event outside all others.
_ROOT = "root"
# The call that was begun last in this place.
_last_call: ContextVar[ModelCall | None] = ContextVar("waxlocal_llamaindex_call", default=None)


@handler_function
def WaxellLlamaIndexHandler() -> Any:
    """Return a handler for `CallbackManager([handler])`; see `langchain`.

    Raises `ModuleNotFoundError` where llama-index-core is not installed.
    """
    return _handler_class()(event_starts_to_ignore=[], event_ends_to_ignore=[])


@cache
def _handler_class() -> type[Any]:
    module = import_library("llama_index.core.callbacks.base_handler", "llama-index-core")
    return type("WaxellLlamaIndex", (_Methods, module.BaseCallbackHandler), {})


class _Methods(FrameworkHandler):
    """What the framework calls; the names and arguments are LlamaIndex's."""

    def start_trace(self, trace_id: str | None = None) -> None:
        """Do nothing: the run begins with the first event."""

    def end_trace(
        self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None
    ) -> None:
        """Do nothing: the run ends with `flush_sync`."""

    def on_event_start(
        self,
        event_type: Any,
        payload: Mapping[Any, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **_more: Any,
    ) -> str:
        """Open the span of an event, or note the beginning of a call of a model."""
        kind, said = _value(event_type), _by_value(payload)
        event_id = event_id or str(uuid4())
        if kind == "llm":
            call = _call_of(said)
            call.outer = _answered_by(call)
            self._calls[event_id] = call
            _last_call.set(call)
            self._run.enter_call(event_id, {"messages": call.messages})
            return event_id
        self._run.enter(
            event_id,
            None if parent_id == _ROOT else parent_id,
            _name_of(kind, said),
            _KINDS.get(kind, "chain"),
            attributes={"framework": "llamaindex", "event": kind},
            input=_input_of(said),
        )
        return event_id

    def on_event_end(
        self,
        event_type: Any,
        payload: Mapping[Any, Any] | None = None,
        event_id: str = "",
        **_more: Any,
    ) -> None:
        """Close the span of an event, or record a call of a model."""
        said = _by_value(payload)
        error = said.get("exception")
        call = self._calls.pop(event_id, None)
        if call is not None:
            call.inside.end()
            self._run.leave_call(event_id)
        if call is None:
            self._run.leave(event_id, output=_output_of(said), error=error)
        elif call.outer is not None:
            call.outer.inner = call
            call.answer = _answer_of(said)
        elif (context := self._run.context()) is not None:
            call.record(context, _answer_of(said), error)


def _answered_by(call: ModelCall) -> ModelCall | None:
    """Return the call that this one is made for: `chat` of a model that can only complete text.

    The framework reports both, as if they stood side by side. The prompt is made of the messages.
    """
    last = _last_call.get()
    if last is None or not last.messages or len(call.messages) != 1:
        return None
    said, prompt = last.messages[-1].get("content"), call.messages[0]["content"]
    return last if said and str(said) in str(prompt) and not last.inside.ended else None


def _value(name: Any) -> str:
    return str(getattr(name, "value", name))


def _by_value(payload: Mapping[Any, Any] | None) -> dict[str, Any]:
    return {_value(name): value for name, value in (payload or {}).items()}


def _name_of(kind: str, said: dict[str, Any]) -> str:
    tool = getattr(said.get("tool"), "name", None)
    return str(tool or (f"retrieve:{kind}" if _KINDS.get(kind) == "retriever" else kind))


def _input_of(said: dict[str, Any]) -> Any:
    if "query_str" in said:
        query = said["query_str"]
        return {"query": getattr(query, "query_str", query)}
    if "documents" in said:
        return {"documents": [_document(document) for document in said["documents"]]}
    for name in ("function_call", "messages", "chunks"):
        if name in said:
            return {name: said[name]}
    return None


def _output_of(said: dict[str, Any]) -> Any:
    if "nodes" in said:
        return {"documents": [_document(node) for node in said["nodes"]]}
    for name in ("function_call_response", "response", "chunks"):
        if name in said:
            value = said[name]
            return {"output": value if isinstance(value, (dict, list)) else str(value)}
    return None


def _document(found: Any) -> dict[str, Any]:
    node = getattr(found, "node", found)
    text = node.get_content() if hasattr(node, "get_content") else str(node)
    return {
        "id": getattr(node, "node_id", ""),
        "content": text,
        "score": getattr(found, "score", None),
    }


def _call_of(said: dict[str, Any]) -> ModelCall:
    about = said.get("serialized") or {}
    settings = {name: about.get(name) for name in ("temperature", "max_tokens")}
    if "messages" in said:
        messages = [_message(message) for message in said["messages"]]
    else:
        messages = [{"role": "user", "content": str(said.get("formatted_prompt", ""))}]
    return ModelCall(
        model=str(about.get("model") or about.get("model_name") or about.get("class_name") or ""),
        task="llamaindex.llm",
        framework="llamaindex",
        config=settings,
        messages=messages,
    )


def _message(message: Any) -> dict[str, Any]:
    role = _value(getattr(message, "role", "user"))
    return {"role": role_of(role), "content": getattr(message, "content", str(message))}


def _answer_of(said: dict[str, Any]) -> Answer:
    response = said.get("response", said.get("completion"))
    message = getattr(response, "message", None)
    raw = getattr(response, "raw", None)
    text = getattr(message, "content", None) or getattr(response, "text", None)
    return Answer(
        text=str(text or ("" if response is None else response)),
        model=str(member(raw, "model") or ""),
        tokens=tokens_of(member(raw, "usage") or getattr(response, "additional_kwargs", None)),
    )
