"""The streams of OpenTelemetry's GenAI instrumentations: what they wrap around a vendor's stream.

All of them derive from one class, which has no public name.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from timeit import default_timer
from typing import Any

from waxlocal.capture.own_calls import note_unread
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = ["invocation_of", "open_streams", "steady", "steady_streams", "time_first_events"]

_HOOKS = ("_process_chunk", "_on_stream_end", "_on_stream_error")


def _stream_class() -> type[Any] | None:
    """Return the class; None where no instrumentation has loaded it, or it is no more."""
    found = getattr(sys.modules.get("opentelemetry.util.genai.stream"), "_StreamTelemetry", None)
    return found if isinstance(found, type) else None


def open_streams() -> list[Any]:
    """Return the streams that are still referred to.

    By their very type: they are proxies, and call themselves instances of what they wrap.
    """
    wrapper = _stream_class()
    if wrapper is None:
        return []
    return [found for found in gc.get_objects() if issubclass(type(found), wrapper)]


def invocation_of(stream: Any) -> Any:
    """Return what a stream tells of its call, with the `span` of it; None once it has ended."""
    return getattr(stream, "_self_invocation", None)


def steady_streams(package: str) -> None:
    """Have the streams of an instrumentation raise none of its faults into the program."""
    kinds = [_stream_class()]
    while kinds:
        kind = kinds.pop()
        if kind is None:
            continue
        kinds += kind.__subclasses__()
        if kind.__module__.startswith(f"{package}."):
            for name in _HOOKS:
                hook = getattr(kind, name)
                if not hasattr(hook, "__wrapped__"):  # it was not switched on before
                    setattr(kind, name, steady(hook))


def steady(hook: Callable[..., None]) -> Callable[..., None]:
    """Return a hook of an instrumentation's stream that raises nothing into the reading of it.

    Where it was to write what was read, that is written without what could not be read.
    """
    scope = hook.__module__

    @wraps(hook)
    def call(stream: Any, *args: Any) -> None:
        try:
            hook(stream, *args)
        except Exception as error:
            if raised_by_handler(error):
                raise
            note_unread(error, scope)
            _end(invocation_of(stream), hook.__name__, args)

    return call


def time_first_events() -> None:
    """Have a stream tell when its first event came, whichever way the program reads it.

    An instrumentation times what is read through its wrapper. Anthropic's helper reads past it for
    `text_stream` and `get_final_message()`.
    """
    wrapper = _stream_class()
    for kind in wrapper.__subclasses__() if wrapper is not None else ():
        bind = getattr(kind, "_bind_stream", None)
        if bind is not None and not hasattr(bind, "__wrapped__"):  # it was not switched on before
            kind._bind_stream = _timing(bind)


def _timing(bind: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @wraps(bind)
    def call(wrapper: Any, stream: Any) -> None:
        with Suppress(Exception):
            invocation = invocation_of(wrapper)
            if invocation is not None and hasattr(stream, "text_stream"):
                # What all of its ways to an event go through, and begin with when they are read.
                stream._iterator = _Timed(stream._iterator, invocation._on_stream_chunk)
        bind(wrapper, stream)

    return call


class _Timed:
    """The events of a stream, the first of which is told of; sync or async as they are."""

    __slots__ = ("_events", "_tell")

    def __init__(self, events: Any, tell: Callable[[float], None]) -> None:
        self._events = events
        self._tell: Callable[[float], None] | None = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._came(next(self._events))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return self._came(await anext(self._events))

    def _came(self, event: Any) -> Any:
        tell, self._tell = self._tell, None
        if tell is not None:
            with Suppress(Exception):
                tell(default_timer())
        return event


def _end(invocation: Any, hook: str, args: tuple[Any, ...]) -> None:
    if invocation is not None and hook == "_on_stream_end":
        invocation.stop()
    elif invocation is not None and hook == "_on_stream_error":
        invocation.fail(*args)
