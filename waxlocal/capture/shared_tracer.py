"""A tracer of a framework that traces itself: what it reports goes to the program's, and to ours.

The program's own spans are what they would be without us, in the traces in which they would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from waxlocal.capture.captured_span import AroundContext, CapturedSpan
from waxlocal.capture.tracer import CurrentSpans, PrivateTracer

__all__ = ["SharedTracer"]


class _SharedSpan(trace.Span):
    """A span of the program, and the captured one of the same work; the program's is told first.

    For anything that the API does not name, it is the program's.
    """

    def __init__(self, own: trace.Span, ours: CapturedSpan) -> None:
        self._own = own
        self.__wrapped__ = ours  # by which `captured` finds it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def end(self, end_time: int | None = None) -> None:
        """End both."""
        self._own.end(end_time)
        self.__wrapped__.end(end_time)

    def get_span_context(self) -> SpanContext:
        """Return the context of the program's span, which is what its children have as parent."""
        return AroundContext.of(self._own.get_span_context(), self.__wrapped__)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of both."""
        self._own.set_attributes(attributes)
        self.__wrapped__.set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute of both."""
        self._own.set_attribute(key, value)
        self.__wrapped__.set_attribute(key, value)

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Let both note what happened."""
        self._own.add_event(name, attributes, timestamp)
        self.__wrapped__.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Link the program's; ours has no links."""
        self._own.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Rename both."""
        self._own.update_name(name)
        self.__wrapped__.update_name(name)

    def is_recording(self) -> bool:
        """Return whether one of them has not ended."""
        return self.__wrapped__.is_recording() or self._own.is_recording()

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set how both end."""
        self._own.set_status(status, description)
        self.__wrapped__.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Let both note an exception."""
        self._own.record_exception(exception, attributes, timestamp, escaped)
        self.__wrapped__.record_exception(exception, attributes, timestamp, escaped)


class SharedTracer(CurrentSpans):
    """Starts each span twice: by the tracer of the program, and by ours."""

    def __init__(self, own: trace.Tracer, ours: PrivateTracer) -> None:
        self.own = own
        self._ours = ours

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start both inside the current span of this context."""
        own = self.own.start_span(
            name, context, kind, attributes, links, start_time,
            record_exception, set_status_on_exception,
        )  # fmt: skip
        ours = self._ours.start_span(name, context, kind, attributes, start_time=start_time)
        return _SharedSpan(own, ours)
