"""A span of an instrumentation: what it says, and where it is among the others.

It implements the API of OpenTelemetry, not on its SDK: the SDK obeys the program's environment
(`OTEL_SDK_DISABLED`, limits, samplers), and its spans become the parents of the program's own. Our
spans are never seen by the program's tracing: what is traced inside one of them sees, as its
parent, the program's span around it.

https://opentelemetry.io/docs/specs/otel/trace/api/
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanContext, Status, StatusCode

from waxlocal.capture.facts import Completion, ReadSpan, SpanEvent, SpanStatus
from waxlocal.capture.own_calls import Answer, answer_of
from waxlocal.clock import given_ns
from waxlocal.known_types import name_of_type
from waxlocal.sdk.exception_text import printed

__all__ = [
    "AroundContext",
    "CapturedSpan",
    "SpanSink",
    "captured",
    "captured_around",
]


class SpanSink(Protocol):
    """What is told of each span; no method may raise."""

    def begin(self, span: CapturedSpan) -> None:
        """Take note that a span has begun, with the attributes of its start."""

    def tell(self, span: CapturedSpan, names: Iterable[str]) -> None:
        """Look again at a span that is `undecided`: it has these attributes now."""

    def end(self, span: CapturedSpan) -> None:
        """Write what a span says; it does not change any more.

        If a signal handler raises meanwhile, it is called once more, and goes on from there.
        """

    def drop(self, span: CapturedSpan) -> None:
        """End a span that nobody else can end, for nobody refers to it any more."""


class CapturedSpan(trace.Span):
    """A span of an instrumentation, and its place among the others.

    `parent` is the captured span around it; `place` and `begun_in` belong to the sink, and so does
    `undecided`: the span did not say at its start what it is. Times are nanoseconds: `started_ns`
    and `ended_ns` since 1970, `steady_ns` and `ended_steady_ns` the same on the steady clock; the
    ends are 0 until it ends. Ends once. Like all spans of OpenTelemetry, it may be used from any
    thread, one at a time.
    """

    __slots__ = (
        "_around",
        "_before",
        "_ended",
        "_events",
        "_sink",
        "_status",
        "_status_message",
        "attributes",
        "begun_in",
        "completion",
        "ended_ns",
        "ended_steady_ns",
        "name",
        "parent",
        "place",
        "scope",
        "started_ns",
        "steady_ns",
        "undecided",
    )

    def __init__(
        self,
        name: str,
        scope: str,
        sink: SpanSink,
        *,
        parent: CapturedSpan | None,
        around: SpanContext,
        attributes: Mapping[str, Any],
        started_ns: int,
    ) -> None:
        self.name = name
        self.scope = scope
        self.parent = parent
        self.attributes: dict[str, Any] = dict(attributes)
        self.completion: Completion | None = None
        self.place: Any = None
        self.begun_in: object = None
        self.undecided = False
        self.started_ns = started_ns
        # Some instrumentations report a span when it is over, with the times that it had.
        self.steady_ns = time.monotonic_ns() - max(time.time_ns() - started_ns, 0)
        self.ended_ns = self.ended_steady_ns = 0
        self._sink = sink
        self._around = around
        self._before = _mark_of(sys.exc_info()[1])
        self._events: list[SpanEvent] = []
        self._status = SpanStatus.UNSET
        self._status_message = ""
        self._ended = False

    def __del__(self) -> None:
        """Have a span that was let go of before its end be recorded all the same."""
        if not (getattr(self, "_ended", True) or sys.is_finalizing()):
            self._sink.drop(self)

    def read(self) -> ReadSpan:
        """Return what the span says so far: copies, for its own thread may go on meanwhile."""
        return ReadSpan(
            name=self.name,
            attributes=self.attributes.copy(),
            events=tuple(self._events),
            scope=self.scope,
            status=self._status,
            status_message=self._status_message,
            start_ns=self.started_ns,
        )

    # -- of the SDK's spans, which some instrumentations take theirs for ------------------------

    @property
    def status(self) -> Status:
        """How the span ends, as far as it was said."""
        code = _CODES[self._status]
        return Status(code, self._status_message if code is StatusCode.ERROR else None)

    @property
    def context(self) -> SpanContext:
        """The same as `get_span_context`."""
        return self._around

    @property
    def start_time(self) -> int:
        """When the span began, in nanoseconds since 1970."""
        return self.started_ns

    # -- the API of OpenTelemetry ---------------------------------------------------------------

    def end(self, end_time: int | None = None) -> None:
        """End the span and have it recorded: when this returns, its row is in the file.

        So it is when a signal handler raises meanwhile, once, which then reaches the program.
        """
        if self._ended:
            return
        self._ended = True
        try:
            self._write_end(end_time, sys.exc_info()[1])
        except BaseException as struck:
            self._write_end(end_time, struck.__context__)  # what was on its way before it
            raise

    def give_up(self, error: BaseException) -> None:
        """End a span that its instrumentation never gets: a signal handler has struck its start."""
        self.record_exception(error)
        self.set_status(StatusCode.ERROR, printed(error))
        self.end()

    def _write_end(self, end_time: int | None, stopped_by: BaseException | None) -> None:
        if self.ended_ns:  # the first try had it
            pass
        elif given := given_ns(end_time):
            ended_ns = max(given, self.started_ns)
            lasted_ns = ended_ns - self.started_ns
            self.ended_ns, self.ended_steady_ns = ended_ns, self.steady_ns + lasted_ns
        else:
            self.ended_ns, self.ended_steady_ns = time.time_ns(), time.monotonic_ns()
        self._note_stop(stopped_by)
        if self._status == SpanStatus.ERROR and (answered := answer_of(self)) is not None:
            self._forget_failure(answered)
        self._sink.end(self)

    def _note_stop(self, error: BaseException | None) -> None:
        """Note that the work was stopped: a task was cancelled, Ctrl-C was pressed.

        The API notes no exception but an `Exception`. What was on its way when the span began is
        none of it: a program may call a model while it handles that.
        """
        if (
            error is not None
            and not isinstance(error, Exception | GeneratorExit)
            and not _is_marked(error, self._before)
            and self._status == SpanStatus.UNSET
        ):
            self._status, self._status_message = SpanStatus.ERROR, printed(error)
            self.attributes["error.type"] = _qualified(type(error))

    def _forget_failure(self, answered: Answer) -> None:
        """Forget a failure to read the answer, which is none of the call."""
        self._status, self._status_message = SpanStatus.UNSET, ""
        self._events = [event for event in self._events if event.name != "exception"]
        self.attributes.pop("error.type", None)
        self.attributes = answered.beside(self.attributes)

    @property
    def lasted_ms(self) -> float:
        """How long it took."""
        return (self.ended_steady_ns - self.steady_ns) / 1e6

    def get_span_context(self) -> SpanContext:
        """Return the context of the program's own span around this one; an invalid one without."""
        return AroundContext.of(self._around, self)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes; nothing after the end."""
        if not self._ended:
            self.attributes.update(attributes)
            if self.undecided:
                self._sink.tell(self, attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; nothing after the end."""
        if not self._ended:
            self.attributes[key] = value
            if self.undecided:
                self._sink.tell(self, (key,))

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Note what happened at a time, by default now."""
        if not self._ended:
            self._events.append(
                SpanEvent(name, dict(attributes or {}), timestamp or time.time_ns())
            )

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Do nothing: links are not recorded."""

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        if not self._ended:
            self.name = name

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return not self._ended

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set how the span ends."""
        if self._ended:
            return
        code = status.status_code if isinstance(status, Status) else status
        said = status.description if isinstance(status, Status) else description
        self._status = _STATUSES.get(code, SpanStatus.UNSET)
        self._status_message = said or ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an exception: its type and its text."""
        noted = {
            "exception.type": _qualified(type(exception)),
            "exception.message": printed(exception),
            **(attributes or {}),
        }
        self.add_event("exception", noted, timestamp)


class AroundContext(SpanContext):
    """The context of the program's span around a captured one, which it also names.

    The program's own span inside a captured one keeps this object as that of its parent, and
    without an SDK as its own; so what is captured inside that one is known to be inside this one.
    Kept weakly: exporters hold spans for long.
    """

    inside: weakref.ref[CapturedSpan]

    @classmethod
    def of(cls, around: SpanContext, inside: CapturedSpan) -> AroundContext:
        """Return the same context, with what it is around."""
        made = cls(*around[:5])
        made.__dict__["inside"] = weakref.ref(inside)  # its attributes cannot be set
        return made

    def __reduce__(self) -> tuple[type[SpanContext], tuple[Any, ...]]:
        """Return how to copy it: as any other context."""
        return SpanContext, self.__getnewargs__()


def _mark_of(error: BaseException | None) -> weakref.ref[BaseException] | int:
    """Return by what an exception is known again, without keeping the frames that it went through.

    Those that are built in take no weak reference; their address may be another one's later.
    """
    try:
        return 0 if error is None else weakref.ref(error)
    except TypeError:
        return id(error)


def _is_marked(error: BaseException, mark: weakref.ref[BaseException] | int) -> bool:
    return mark == id(error) if isinstance(mark, int) else mark() is error


_STATUSES = {StatusCode.OK: SpanStatus.OK, StatusCode.ERROR: SpanStatus.ERROR}
_CODES = {SpanStatus.UNSET: StatusCode.UNSET, **{said: code for code, said in _STATUSES.items()}}


def _qualified(kind: type) -> str:
    module = kind.__module__
    return name_of_type(kind) if module == "builtins" else f"{module}.{name_of_type(kind)}"


def captured(span: object) -> CapturedSpan | None:
    """Return the captured span that this is, or that it wraps; None for any other span.

    By its very type: the proxies of OpenInference (wrapt), which mask attributes, call themselves
    instances of what they wrap.
    """
    while span is not None:
        if type(span) is CapturedSpan:
            return span
        span = getattr(span, "__wrapped__", None)
    return None


def captured_around(current: trace.Span) -> CapturedSpan | None:
    """Return the captured span that a current one is, or that it is in, if it is the program's.

    A span of the program says what it is in only where it is the first in there, or where the
    program has no SDK.
    """
    found = captured(current)
    if found is None:
        for context in (getattr(current, "parent", None), current.get_span_context()):
            if type(context) is AroundContext:
                return context.inside()
    return found
