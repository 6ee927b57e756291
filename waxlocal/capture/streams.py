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
from weakref import ref

from waxlocal.capture.own_calls import note_unread
from waxlocal.capture.tracer import captured
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = ["follow_streams", "invocation_of", "open_streams", "steady", "steady_streams"]

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


def follow_streams() -> None:
    """Have a stream be the current call only while it is read, and be followed whoever reads it.

    An instrumentation follows what is read and closed through its wrapper. The helpers of anthropic
    and openai read past it, or close the response below it.
    """
    wrapper = _stream_class()
    for kind in wrapper.__subclasses__() if wrapper is not None else ():
        bind = getattr(kind, "_bind_stream", None)
        if bind is not None and not hasattr(bind, "__wrapped__"):  # it was not switched on before
            kind._bind_stream = _following(bind)
            if not hasattr(kind, "response"):  # else as the instrumentation has it
                kind.response = property(_response)


def _response(wrapper: Any) -> Any:
    """Return the response below a stream, whose closing ends the stream."""
    util: Any = sys.modules["opentelemetry.util.genai.stream"]
    is_async = hasattr(type(wrapper), "__anext__")
    finalized = util.finalize_on_aclose if is_async else util.finalize_on_close
    return finalized(
        wrapper.__wrapped__.response,
        wrapper._finalize_success,
        execution_context=wrapper._execution_context,
    )


def _following(bind: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @wraps(bind)
    def call(wrapper: Any, stream: Any) -> None:
        with Suppress(Exception):
            invocation = invocation_of(wrapper)
            if captured(getattr(invocation, "span", None)) is not None:
                # Else what the program calls meanwhile would be taken for a part of this call.
                invocation.suspend()
                if hasattr(stream, "text_stream"):
                    # What all of its ways to an event go through, and begin with when it is read.
                    stream._iterator = _Followed(stream._iterator, wrapper)
        bind(wrapper, stream)

    return call


class _Followed:
    """The events of a stream, whose wrapper learns of the first and of the end; sync or async."""

    __slots__ = ("_begun", "_events", "_wrapper")

    def __init__(self, events: Any, wrapper: Any) -> None:
        self._events = events
        # The wrapper has the stream, and must go when the program lets go of it.
        self._wrapper = ref(wrapper)
        self._begun = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            event = next(self._events)
        except BaseException as error:
            self._ended(error)
            raise
        return self._came(event)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await anext(self._events)
        except BaseException as error:
            self._ended(error)
            raise
        return self._came(event)

    def _came(self, event: Any) -> Any:
        if not self._begun:
            self._begun = True
            with Suppress(Exception):
                if (invocation := invocation_of(self._wrapper())) is not None:
                    invocation._on_stream_chunk(default_timer())
        return event

    def _ended(self, error: BaseException) -> None:
        with Suppress(Exception):
            wrapper = self._wrapper()
            if wrapper is None:
                return
            if isinstance(error, StopIteration | StopAsyncIteration):
                wrapper._finalize_success()
            else:
                wrapper._finalize_failure(error)


def _end(invocation: Any, hook: str, args: tuple[Any, ...]) -> None:
    if invocation is not None and hook == "_on_stream_end":
        invocation.stop()
    elif invocation is not None and hook == "_on_stream_error":
        invocation.fail(*args)
