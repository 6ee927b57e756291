"""The streams of OpenTelemetry's GenAI instrumentations: what they wrap around a vendor's stream.

All of them derive from one class, which has no public name.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial, wraps
from inspect import iscoroutinefunction
from itertools import chain
from timeit import default_timer
from typing import Any
from weakref import ref

from waxlocal.capture.attribute_map import PIECES, READ_TO_END
from waxlocal.capture.captured_span import CapturedSpan, captured
from waxlocal.capture.own_calls import KeptContext, note_streamed, note_unread
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = [
    "follow_streams",
    "invocation_of",
    "open_streams",
    "replace",
    "span_of",
    "steady",
    "steady_streams",
]

_HOOKS = ("_process_chunk", "_on_stream_end", "_on_stream_error")
# What adds an event of a stream of anthropic to the message so far.
_ADDS = ("accumulate_event", "beta_accumulate_event")

# What the instrumentation sets for good where adding an event has raised.
_OFF = "_accumulation_disabled"
# The instrumentation has a place for each choice up to the highest number.
_MOST_CHOICES = 10_000

# Where a wrapper has the events of its stream, sync or async.
_EVENTS = ("_self_iterator", "_self_aiter")

# What a signal handler raised while an event was added, in the reading of a captured stream.
_struck: ContextVar[list[BaseException] | None] = ContextVar("waxlocal_struck", default=None)


def _stream_class(name: str = "_StreamTelemetry") -> type[Any] | None:
    """Return the class, or one beside it; None if no instrumentation has loaded it any more."""
    found = getattr(sys.modules.get("opentelemetry.util.genai.stream"), name, None)
    return found if isinstance(found, type) else None


def _kinds_of(name: str) -> list[type[Any]]:
    """Return such a class, and all that derive from it."""
    base = _stream_class(name)
    found = [] if base is None else [base]
    for kind in found:  # it grows meanwhile
        found += kind.__subclasses__()
    return found


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


def span_of(stream: Any) -> CapturedSpan | None:
    """Return the captured span of a stream; None once it has ended, or if it is not ours."""
    return captured(getattr(invocation_of(stream), "span", None))


def _is_of_program(stream: Any) -> bool:
    """Return whether the program traces a stream itself, by the same instrumentation."""
    span = getattr(invocation_of(stream), "span", None)
    return span is not None and captured(span) is None


def replace(owner: Any, name: str, by: Callable[[Callable[..., Any]], object]) -> None:
    """Put a wrapper in place of a function of an instrumentation, once; do nothing without it."""
    function = getattr(owner, name, None)
    if function is not None and not hasattr(function, "__wrapped__"):  # not switched on before
        setattr(owner, name, by(function))


def steady_streams(package: str) -> None:
    """Have the streams of an instrumentation raise none of its faults into the program."""
    for kind in _kinds_of("_StreamTelemetry"):
        if kind.__module__.startswith(f"{package}."):
            for name in _HOOKS:
                replace(kind, name, steady)
            for name in _ADDS:
                replace(sys.modules[kind.__module__], name, partial(_adding, scope=kind.__module__))


def steady(hook: Callable[..., None]) -> Callable[..., None]:
    """Return a hook of an instrumentation's stream that raises nothing into the reading of it.

    Where it was to write what was read, that is written without what could not be read.
    """
    scope, name = hook.__module__, hook.__name__
    module = sys.modules[scope]

    @wraps(hook)
    def call(stream: Any, *args: Any) -> None:
        if _is_of_program(stream):
            hook(stream, *args)
            return
        struck: list[BaseException] = []
        before = _struck.set(struck)
        try:
            if getattr(module, _OFF, False):  # a strike between its block and `_adding`
                setattr(module, _OFF, False)
            if name == "_process_chunk":
                _keep_piece(stream, *args)
            if name != "_process_chunk" or not _is_beyond_sense(*args):
                hook(stream, *args)
        except Exception as error:
            if raised_by_handler(error):
                raise
            note_unread(error, scope)
            _end(invocation_of(stream), name, args)
        finally:
            _struck.reset(before)
        if struck:
            raise struck[0]

    return call


def _keep_piece(stream: Any, event: Any, *_rest: Any) -> None:
    """Keep a piece of an answer of openai's responses: the stream may be left before its end."""
    if getattr(event, "type", None) == "response.output_text.delta":
        piece, span = getattr(event, "delta", None), span_of(stream)
        if isinstance(piece, str) and span is not None:
            if PIECES not in span.attributes:
                span.set_attribute(PIECES, [])
            span.attributes[PIECES].append(piece)


def _adding(add: Callable[..., Any], scope: str) -> Callable[..., Any]:
    """Return a function that adds an event to the message so far, or leaves out what is unreadable.

    It raises nothing: else the instrumentation adds no event of any stream any more, not even after
    a Ctrl-C. What a signal handler raises comes when the hook that called it is over.
    """

    @wraps(add)
    def call(**given: Any) -> Any:
        try:
            return add(**given)
        except BaseException as error:
            struck = _struck.get()
            if struck is None:  # of a stream that the program traces
                raise
            if not isinstance(error, Exception) or raised_by_handler(error):
                struck.append(error)
            else:
                note_unread(error, scope)
            return given.get("current_snapshot")

    return call


def follow_streams() -> None:
    """Have a stream be the current call only while it is read, and be followed whoever reads it.

    An instrumentation follows what is read and closed through its wrapper. The helpers of anthropic
    and openai read past it, or close the response below it.
    """
    wrapper = _stream_class()
    managers = map(_kinds_of, ("SyncStreamManagerWrapper", "AsyncStreamManagerWrapper"))
    for kind in chain.from_iterable(managers):
        replace(kind, "_enter_manager", _entering)
        for name in ("__enter__", "__aenter__"):
            replace(kind, name, _leaving_none_current)
    for kind in wrapper.__subclasses__() if wrapper is not None else ():
        replace(kind, "_bind_stream", _following)
        replace(kind, "_advance", _leaving_none_current)
        if not hasattr(kind, "response"):  # else as the instrumentation has it
            kind.response = property(_response)


def _entering(enter: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @wraps(enter)
    def call(manager: Any, invocation: Any) -> Any:
        if (span := captured(getattr(invocation, "span", None))) is not None:
            note_streamed(span)
        return enter(manager, invocation)

    return call


def _leaving_none_current(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what opens a stream or reads on, and leaves no call current, whatever strikes it.

    The program's own streams may be current while they are open, and are not at their end.
    """
    if iscoroutinefunction(function):

        @wraps(function)
        async def later(wrapper: Any, *given: Any) -> Any:
            if _is_of_program(wrapper):
                return await function(wrapper, *given)
            with KeptContext() as kept:
                result = await function(wrapper, *given)
                if _is_of_program(wrapper):  # which is known once it was opened
                    kept.let_go()
            return result

        return later

    @wraps(function)
    def call(wrapper: Any, *given: Any) -> Any:
        if _is_of_program(wrapper):
            return function(wrapper, *given)
        with KeptContext() as kept:
            result = function(wrapper, *given)
            if _is_of_program(wrapper):  # as above
                kept.let_go()
        return result

    return call


def _response(wrapper: Any) -> Any:
    """Return the response below a stream, whose closing ends the stream."""
    if _is_of_program(wrapper):
        return wrapper.__wrapped__.response
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
        is_ours = False
        with Suppress(Exception):
            is_ours = span_of(wrapper) is not None
            if is_ours:
                # Else what the program calls meanwhile would be taken for a part of this call.
                invocation_of(wrapper).suspend()
                if hasattr(stream, "text_stream"):
                    # What all of its ways to an event go through, and begin with when it is read.
                    stream._iterator = _Followed(stream._iterator, wrapper)
        bind(wrapper, stream)
        for name in _EVENTS if is_ours else ():
            if (events := getattr(wrapper, name, None)) is not None:
                setattr(wrapper, name, _Followed(events, wrapper, begun=True))

    return call


class _Followed:
    """The events of a stream, whose wrapper learns of the end; sync or async.

    And of the first event, unless it has `begun`: the wrapper then tells of that itself.
    """

    __slots__ = ("_begun", "_events", "_wrapper")

    def __init__(self, events: Any, wrapper: Any, *, begun: bool = False) -> None:
        self._events = events
        # The wrapper has the stream, and must go when the program lets go of it.
        self._wrapper = ref(wrapper)
        self._begun = begun

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
                if (span := span_of(wrapper)) is not None:
                    span.set_attribute(str(READ_TO_END[0]), True)
                wrapper._finalize_success()
            else:
                wrapper._finalize_failure(error)


def _is_beyond_sense(chunk: Any, *_rest: Any) -> bool:
    """Return whether a chunk has a choice, or a tool's call, of a number that no vendor gives."""
    choices = getattr(chunk, "choices", None)
    return isinstance(choices, list) and any(map(_is_far_off, choices))


def _is_far_off(choice: Any) -> bool:
    calls = getattr(getattr(choice, "delta", None), "tool_calls", None) or ()
    numbers = (getattr(one, "index", 0) for one in (choice, *calls))
    return any(isinstance(number, int) and number > _MOST_CHOICES for number in numbers)


def _end(invocation: Any, hook: str, args: tuple[Any, ...]) -> None:
    if invocation is not None and hook == "_on_stream_end":
        invocation.stop()
    elif invocation is not None and hook == "_on_stream_error":
        invocation.fail(*args)
