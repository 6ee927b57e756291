"""A private tracer: what instrumentations report goes to the recorder, and nowhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util._decorator import _agnosticcontextmanager

from waxlocal.capture.captured_span import CapturedSpan, SpanSink, captured_around
from waxlocal.capture.own_calls import claim
from waxlocal.clock import given_ns

__all__ = ["CurrentSpans", "PrivateProvider", "PrivateTracer", "began_at"]


class PrivateProvider(trace.TracerProvider):
    """Hands out tracers whose spans go to one sink."""

    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> PrivateTracer:
        """Return a tracer for an instrumentation, which is named in its spans."""
        return PrivateTracer(instrumenting_module_name, self._sink)


class CurrentSpans(trace.Tracer):
    """A tracer that starts the current span as it starts any other."""

    # What the API itself uses: it also decorates functions, async ones too.
    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """Start a span that is the current one within the block."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


# When a call began that is reported when it is over, in nanoseconds since 1970; 0 for now.
began_at: ContextVar[int] = ContextVar("waxlocal_began_at", default=0)


class PrivateTracer(CurrentSpans):
    """Starts the spans of one instrumentation."""

    def __init__(self, scope: str, sink: SpanSink) -> None:
        self._scope = scope
        self._sink = sink

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
    ) -> CapturedSpan:
        """Start a span inside the current one of this context, by default of the present one."""
        current = trace.get_current_span(context)
        began_ns = given_ns(start_time) or began_at.get()
        span = CapturedSpan(
            name,
            self._scope,
            self._sink,
            parent=_open_at(began_ns, captured_around(current)),
            around=current.get_span_context(),
            attributes={**_conversation(context), **(attributes or {})},
            started_ns=began_ns or time.time_ns(),
        )
        try:
            claim(span)
            self._sink.begin(span)
        except BaseException as error:
            span.give_up(error)
            raise
        return span


def _open_at(began_ns: int, around: CapturedSpan | None) -> CapturedSpan | None:
    """Return the nearest of these spans that was open at a time, 0 for now.

    A task or a generator that outlives a span still has it in its context: what begins there now is
    no part of it, and would keep it alive. What is reported when it is over began earlier.
    """
    while around is not None and not (around.is_recording() or 0 < began_ns < around.ended_ns):
        around = around.parent
    return around


def _conversation(context: Context | None) -> dict[str, str]:
    """Return the conversation that a context of OpenTelemetry's instrumentations is in.

    They write it into a span at its end; the session of a run is to be known at its start.
    """
    module = sys.modules.get("opentelemetry.util.genai._conversation_context")
    ask = getattr(module, "get_ambient_conversation_id", None)
    found = ask(context) if ask is not None else None
    return {"gen_ai.conversation.id": found} if found else {}
