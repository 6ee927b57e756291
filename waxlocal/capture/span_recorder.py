"""Writes captured spans into the file: when the end of a span returns, its row is committed."""

from __future__ import annotations

import logging
import time

from waxlocal.capture.auto_runs import begin_agent_run, begin_call_run, end_run
from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.calls import CapturedCalls, keep_outside
from waxlocal.capture.facts import CallFacts, SpanFacts, SpanKind, SpanStatus
from waxlocal.capture.pairing import Report
from waxlocal.capture.places import CALLS, Place, around, captured_run, position_in, run_around
from waxlocal.capture.run_facts import run_facts
from waxlocal.capture.span_facts import call_facts, other_facts
from waxlocal.capture.span_kinds import span_kind
from waxlocal.capture.tracer import CapturedSpan
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["SpanRecorder"]


class SpanRecorder:
    """Takes the spans of all instrumentations; raises nothing but what a signal handler raises."""

    def begin(self, span: CapturedSpan) -> None:
        """Find the run of a span; begin one for an agent outside any, or inside another."""
        try:
            span.place = _place(span)
        except Exception as error:  # a fault of ours must not become the program's
            _survive(error, span)

    def end(self, span: CapturedSpan) -> None:
        """Write what a span says, and end the run that stands for it."""
        if not isinstance(span.place, Place):
            return
        try:
            if span.place.kind in CALLS:
                _end_call(span, span.place)
            else:
                _end_span(span, span.place)
        except Exception as error:
            _survive(error, span)


def _survive(error: Exception, span: CapturedSpan) -> None:
    if raised_by_handler(error):
        raise error
    logging.getLogger("waxlocal").warning(
        "a span %r of %s is not recorded: %r", span.name, span.scope, error
    )


def _place(span: CapturedSpan) -> Place:
    kind = span_kind(span.attributes, name=span.name, scope=span.scope, is_root=span.parent is None)
    run = run_around(span)
    if kind in CALLS:
        return Place(kind, run)
    if run is None or (kind == SpanKind.AGENT and captured_run(span) is run):
        return Place(kind, begin_agent_run(span, run), opened=True)
    return Place(kind, run, _begin_span(span, kind, run))


def _begin_span(span: CapturedSpan, kind: str, run: WaxellContext) -> int:
    said = other_facts(span.read(), kind)
    return run._add_span(
        said.name,
        kind,
        status=RecordStatus.RUNNING,
        # What nothing was read from may be any text.
        attributes=said.attributes if run._recorder.capture_content else None,
        input=said.input,
        inside=position_in(run, span),
    )


# -- ends -----------------------------------------------------------------------------------------


def _end_span(span: CapturedSpan, place: Place) -> None:
    said = other_facts(span.read(), place.kind)
    run = place.run
    if run is None:
        return
    if place.opened:
        result = run_facts(span.read()).result
        if result:
            run._set_result(result)
        _end_run(run, said)
        return
    lasted_ms = (time.monotonic_ns() - span.steady_ns) / 1e6
    status = RecordStatus.ERROR if said.status == SpanStatus.ERROR else RecordStatus.OK
    error = (said.error_message if run._recorder.capture_content else said.error_type) or ""
    run._end_span(place.position, lasted_ms, status, error, said.output)


def _end_call(span: CapturedSpan, place: Place) -> None:
    call = call_facts(span.read(), span.completion)
    run = place.run = place.run or _run_of_call(span, place, call)
    if len(place.inner) > 1:  # retries or fallbacks: those are the calls, and this is around them
        return
    now_ns = time.monotonic_ns()
    lasted_ms = round((now_ns - span.steady_ns) / 1e6)
    row = row_of_call(call, lasted_ms, span.scope)
    report = Report(span.scope, span.steady_ns, now_ns, row)
    position = CapturedCalls.of(run).record(report, place.inner)
    for outer in around(span):
        if outer.run is run and position not in outer.inner:
            outer.inner.append(position)
    if place.opened:
        if call.response:
            run._set_result({"response": call.response})
        _end_run(run, call)


def _run_of_call(span: CapturedSpan, place: Place, call: CallFacts) -> WaxellContext:
    """Begin the run of a call outside any; it belongs to the outermost report of the call."""
    outermost = place
    for outer in around(span):
        if outer.run is not None:
            return outer.run
        outermost = outer
    outermost.run = run = begin_call_run(span, call)
    outermost.opened = True
    keep_outside(run)
    for outer in around(span):
        outer.run = run
    return run


def _end_run(run: WaxellContext, said: CallFacts | SpanFacts) -> None:
    if said.status == SpanStatus.ERROR:
        text = said.error_message if run._recorder.capture_content else None
        end_run(run, RunStatus.ERROR, text or "", said.error_type or "")
    else:
        end_run(run, RunStatus.SUCCESS)
