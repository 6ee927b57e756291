"""The program's own call of a library, inside the wrapper that an instrumentation puts around it.

An instrumentation reads what goes in and what comes back as the vendor's API promises it. Many
servers imitate such an API, and not all keep the promise: a usage without its counts, a part of a
tool's call without its index. Then the reading raises, in the middle of the program's call. So
each wrapper is given this call in place of the library's: whatever happens around it, it is made
once, and what it returned or raised reaches the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from inspect import iscoroutine, iscoroutinefunction, unwrap
from types import TracebackType
from typing import Any, NamedTuple

from opentelemetry import context
from opentelemetry.trace import Span, StatusCode

from waxlocal.capture.attribute_map import STREAM_ASKED, WHOLE_ANSWER
from waxlocal.encode import dumps
from waxlocal.known_types import name_of_type
from waxlocal.recording.notices import warn
from waxlocal.sdk.exception_text import printed
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.token_usage import read_usage

__all__ = [
    "Answer",
    "KeptContext",
    "answer_of",
    "claim",
    "guarded",
    "guarding",
    "note_streamed",
    "note_unread",
    "with_lists",
]

# As `wrapt` calls it: with the library's function, its `self`, and the arguments.
Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]

# What a client also takes as an iterator, and an instrumentation reads before it: the client would
# find nothing any more.
_READ_FIRST = ("messages", "tools", "input")

# The instrumentations of which it was said that they could not read a call.
_said: set[str] = set()


class OwnCall:
    """A call that the program makes, and what became of it; called in place of the function.

    `span` is the one that the instrumentation began for it.
    """

    __slots__ = ("_function", "_streams", "error", "made", "result", "returned", "span")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.made = self.returned = self._streams = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.span: Span | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.made = True
        self._streams = kwargs.get("stream") is True
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            self._failed(error)
            raise
        return self._awaited(result) if iscoroutine(result) else self._kept(result)

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self._kept(await coroutine)
        except BaseException as error:
            self._failed(error)
            raise

    def _failed(self, error: BaseException) -> None:
        self.error = error
        if self._streams and self.span is not None:
            note_streamed(self.span)

    def _kept(self, result: Any) -> Any:
        self.result, self.returned = result, True
        return result

    def has_raised(self, error: Exception) -> bool:
        """Return whether an exception is the program's: of the call, or of a signal handler."""
        return error is self.error or raised_by_handler(error)

    def end(self, error: BaseException | None) -> None:
        """End the span of the call, unless its instrumentation has."""
        span = self.span
        if span is not None and span.is_recording():
            if error is not None:
                span.record_exception(error)
                span.set_status(StatusCode.ERROR, printed(error))
            elif self.returned:
                span.set_attributes(Answer(self.result).beside(getattr(span, "attributes", {})))
            span.end()

    def outcome(self) -> Any:
        """Return what the call returned, or raise what it raised; its span ends."""
        self.end(self.error)
        if self.error is not None:
            raise self.error
        return self.result

    def forget(self) -> None:
        """Keep nothing alive: tasks that began within the call have a copy of its context."""
        self.result = self.error = self.span = None


_here: ContextVar[OwnCall | None] = ContextVar("waxlocal_own_call", default=None)


def claim(span: Span) -> None:
    """Take a span that begins here for that of the call which is about to be made."""
    own = _here.get()
    if own is not None and own.span is None and not own.made:
        own.span = span


def note_streamed(span: Span) -> None:
    """Say of a call that it was to be streamed: of one that was refused, nobody else says so."""
    span.set_attribute(STREAM_ASKED, True)


class Answer(NamedTuple):
    """What a call returned, where its instrumentation was not able to read it."""

    value: Any

    def beside(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of the call, and what the answer says as it should.

        That is under the names of OpenTelemetry, and as a whole.
        """
        found: dict[str, Any] = {}
        with Suppress(Exception):
            found = {name: getattr(self.value, member, None) for member, name in _TOLD.items()}
            counts = read_usage(getattr(self.value, "usage", None))
            found |= {name: getattr(counts, member) for member, name in _COUNTED.items()}
        with Suppress(Exception):
            # Not by pydantic's own method: it warns of each value that is not as promised.
            found[WHOLE_ANSWER] = dumps(self.value.to_dict(warnings=False))
        told = {name: value for name, value in found.items() if type(value) in (str, int)}
        return {**told, **known}


_TOLD = {"id": "gen_ai.response.id", "model": "gen_ai.response.model"}
_COUNTED = {
    "tokens_in": "gen_ai.usage.input_tokens",
    "tokens_out": "gen_ai.usage.output_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}


def answer_of(span: Span) -> Answer | None:
    """Return what the call that a span is about has returned to its instrumentation, if it has.

    A span that says within it that the call has failed is of an answer that could not be read.
    """
    own = _here.get()
    is_told = own is not None and own.span is span and own.returned
    return Answer(own.result) if own is not None and is_told else None


def guarded(wrapper: Wrapper) -> Wrapper:
    """Return a wrapper that lets no fault of this one reach the program."""
    scope = getattr(wrapper, "__module__", "")

    def call(function: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        own = OwnCall(function)
        kwargs = with_lists(kwargs)
        if _is_async(function):
            # Nothing is begun yet: a program may close it as it is.
            later: Any = _awaited(own, wrapper, scope, instance, args, kwargs)
            for name in ("__name__", "__qualname__"):
                setattr(later, name, getattr(function, name, getattr(later, name)))
            return later
        with _Within(own, scope):
            return _handed_out(wrapper(own, instance, args, kwargs), own.span)
        if not own.made:
            with Suppress(Exception):  # it is kept
                own(*args, **kwargs)
        return _told(own)

    return call


def _is_async(function: Any) -> bool:
    # Vendors decorate their functions, to check the arguments.
    return iscoroutinefunction(unwrap(getattr(function, "__func__", function)))


async def _awaited(
    own: OwnCall,
    wrapper: Wrapper,
    scope: str,
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with _Within(own, scope):
        return _handed_out(await wrapper(own, instance, args, kwargs), own.span)
    if not own.made:
        with Suppress(Exception):
            await own(*args, **kwargs)
    return _told(own)


class _Within:
    """A block in which an instrumentation runs; its own faults end here.

    What a signal handler raises may strike it anywhere: before it takes care of the exceptions of
    the call, or while it does. Then it leaves its span open and current, and all that the program
    calls later would be a part of this call.
    """

    __slots__ = ("_kept", "_own", "_scope", "_token")

    def __init__(self, own: OwnCall, scope: str) -> None:
        self._own, self._scope = own, scope

    def __enter__(self) -> None:
        self._kept = KeptContext().__enter__()
        self._token = _here.set(self._own)

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        own = self._own
        is_fault = isinstance(error, Exception) and not own.has_raised(error)
        with Suppress(Exception):
            self._kept.__exit__(kind, error, trace)
            if error is not None and not is_fault:
                own.end(error)
        with suppress(ValueError):  # this is another context
            _here.reset(self._token)
        if isinstance(error, Exception) and is_fault:
            note_unread(error, self._scope)
            return True
        own.forget()
        return False


class KeptContext:
    """A block after which the same context of OpenTelemetry is the current one as before.

    Also where a signal handler struck the instrumentation's own end of it, of which nobody may
    hear: OpenTelemetry logs that, and goes on. Not where a coroutine is let go of within the block:
    it is closed in the context of whoever does that, which is none of ours.
    """

    __slots__ = ("_around", "_token")

    def __enter__(self) -> KeptContext:
        self._around: context.Context | None = context.get_current()
        self._token = _mark.set(None)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with suppress(ValueError):  # this is another context
            _mark.reset(self._token)
            around = self._around
            if around is not None and context.get_current() is not around:
                context.attach(around)

    def let_go(self) -> None:
        """Leave the context as it is at the end of the block."""
        self._around = None


# Set at the beginning of a block; only in the same context can it be reset.
_mark: ContextVar[None] = ContextVar("waxlocal_kept_context")


def _handed_out(answer: Any, span: Span | None) -> Any:
    """Return what a wrapper returns; where the call goes on in it, it is not the current one.

    Else what the program calls before it has read a raw response would be a part of this call.
    """
    if span is not None and type(answer).__module__.startswith("opentelemetry."):
        with Suppress(AttributeError):
            answer._self_invocation.suspend()
    return answer


def _told(own: OwnCall) -> Any:
    try:
        return own.outcome()
    finally:
        own.forget()


def with_lists(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with lists in place of iterators that an instrumentation would use up."""
    given: dict[str, Any] = {name: kwargs.get(name) for name in _READ_FIRST}
    lists = {name: list(one) for name, one in given.items() if hasattr(type(one), "__next__")}
    return {**kwargs, **lists}


@contextmanager
def guarding(
    package: str, around: Callable[[Wrapper], Wrapper] = lambda wrapper: wrapper
) -> Iterator[None]:
    """Guard what the instrumentation in this package wraps within the block.

    `around` may wrap what is guarded once more.
    """
    modules = [
        module
        for name, module in list(sys.modules.items())
        if f"{name}.".startswith(f"{package}.") and _WRAP in getattr(module, "__dict__", ())
    ]
    wrap = [vars(module)[_WRAP] for module in modules]
    for module, function in zip(modules, wrap, strict=True):
        setattr(module, _WRAP, _guards(function, around))
    try:
        yield
    finally:
        for module, function in zip(modules, wrap, strict=True):
            setattr(module, _WRAP, function)


_WRAP = "wrap_function_wrapper"


def _guards(
    wrap: Callable[[Any, str, Wrapper], Any], around: Callable[[Wrapper], Wrapper]
) -> Callable[[Any, str, Wrapper], Any]:
    def wrap_guarded(target: Any, name: str, wrapper: Wrapper) -> Any:
        return wrap(target, name, around(guarded(wrapper)))

    return wrap_guarded


def note_unread(error: Exception, scope: str) -> None:
    """Warn that an instrumentation was not able to read something; once for each of them."""
    if scope not in _said:
        _said.add(scope)
        warn(f"a call is recorded in part: {scope} raised {name_of_type(type(error))}")
