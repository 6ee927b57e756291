"""What a handler of the program records itself: the framework tells it to an instrumentation, too.

LangChain tells both by one id. What an instrumentation reports of it has no span of its own then:
the handler's stands for it, and what is captured inside lies in that. LlamaIndex tells them by
different ids, the instrumentation first; what the handler will record is not reported at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from functools import wraps
from typing import Any
from weakref import WeakValueDictionary

from waxlocal.sdk.context import WaxellContext

__all__ = ["HandlerSpan", "RecordsSpans", "leave_retrievals", "name_events", "span_of_handler"]


class HandlerSpan:
    """A span that a handler has written: found by the framework's id as long as it is kept."""

    __slots__ = ("__weakref__", "position", "run")

    def __init__(self, event_id: Hashable, run: WaxellContext, position: int) -> None:
        self.run = run
        self.position = position
        # Of several handlers, each writes its own; what is captured lies in that of the first.
        _open.setdefault(event_id, self)


class RecordsSpans:
    """A handler that records what the framework tells it."""

    def records(self) -> bool:
        """Return whether there is a run that it would record into, or begin."""
        raise NotImplementedError


_open: WeakValueDictionary[Hashable, HandlerSpan] = WeakValueDictionary()
# The id of the event that an instrumentation is being told.
_event: ContextVar[Hashable | None] = ContextVar("waxlocal_event", default=None)


def span_of_handler() -> HandlerSpan | None:
    """Return what a handler has written of the event that an instrumentation is being told."""
    event_id = _event.get()
    return None if event_id is None else _open.get(event_id)


def name_events(handler: Any) -> None:
    """Let it be known of which event of LangChain an instrumentation's handler is being told.

    Raises `AttributeError` if it is told in another way.
    """
    for name in ("on_chain_start", "on_tool_start", "on_retriever_start"):
        setattr(handler, name, _naming(getattr(handler, name)))


def _naming(told: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(told)
    def tell(*given: Any, run_id: Hashable, **more: Any) -> Any:
        token = _event.set(run_id)
        try:
            return told(*given, run_id=run_id, **more)
        finally:
            _event.reset(token)

    return tell


def leave_retrievals(span_handler: Any) -> None:
    """Let a handler of spans of LlamaIndex begin none for what a handler of the program records.

    Raises `AttributeError` if it begins spans in another way.
    """
    begin = span_handler.new_span

    @wraps(begin)
    def new_span(id_: str, bound_args: Any, instance: Any = None, *given: Any, **more: Any) -> Any:
        method = id_.partition("-")[0].rpartition(".")[2]
        if method in _RETRIEVING and _is_told_to_handler(instance):
            return None
        return begin(id_, bound_args, instance, *given, **more)

    # Not by `setattr`: it is a model of pydantic's, which has no such field.
    object.__setattr__(span_handler, "new_span", new_span)


_RETRIEVING = ("retrieve", "aretrieve")


def _is_told_to_handler(retriever: object) -> bool:
    handlers = getattr(getattr(retriever, "callback_manager", None), "handlers", ())
    return any(isinstance(one, RecordsSpans) and one.records() for one in handlers)
