"""Writes captured spans into the file: when the end of a span returns, its row is committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from waxlocal.capture.attribute_map import RUN_OUTPUT, first_text
from waxlocal.capture.auto_runs import begin_agent_run, begin_call_run, may_be_run
from waxlocal.capture.call_rows import last_user_text, row_of_call
from waxlocal.capture.calls import CapturedCalls, keep_outside, take_outside
from waxlocal.capture.facts import CallFacts, ReadSpan, SpanFacts, SpanKind, SpanStatus
from waxlocal.capture.handler_spans import span_of_handler
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.open_calls import OpenCalls
from waxlocal.capture.pairing import Report
from waxlocal.capture.places import (
    CALLS,
    Place,
    around,
    captured_run,
    keeps_blobs,
    position_in,
    run_around,
)
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.capture.run_facts import run_facts
from waxlocal.capture.span_facts import call_facts, ending_facts, other_facts, was_dropped
from waxlocal.capture.span_kinds import DECIDING, span_kind
from waxlocal.capture.tracer import CapturedSpan
from waxlocal.recording.masking import is_in_mask
from waxlocal.recording.notices import warn
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import outermost
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["SpanRecorder"]


class SpanRecorder:
    """Takes the spans of all instrumentations; raises nothing but what a signal handler raises."""

    def __init__(self) -> None:
        self.open_calls = OpenCalls()

    def begin(self, span: CapturedSpan) -> None:
        """Find the run of a span; begin one for an agent outside any, or inside another."""
        if is_in_mask():  # what its calls say would have to go through it, without an end
            return
        self.open_calls.add(span)
        try:
            _decide_around(span)
            kind = _kind(span)
            told = span_of_handler()
            if told is not None:
                span.place = Place(kind, told.run, told.position, of_handler=True)
                return
            span.place = Place(kind, run_around(span))
            # Some instrumentations say what a span is only after its start.
            if kind == SpanKind.OTHER:
                span.undecided = True
            else:
                _give_place(span, kind)
        except Exception as error:  # a fault of ours must not become the program's
            _survive(error, span)

    def tell(self, span: CapturedSpan, names: Iterable[str]) -> None:
        """Place a span that now says what it is."""
        # OpenInference says it last, after an attribute for each part of each message.
        if DECIDING.isdisjoint(names):
            return
        try:
            kind = _kind(span)
            if kind != SpanKind.OTHER:
                _decide(span, kind)
        except Exception as error:
            _survive(error, span)

    def end(self, span: CapturedSpan) -> None:
        """Write what a span says, and end the run that stands for it."""
        is_ours = self.open_calls.discard(span)
        if not isinstance(span.place, Place) or span.place.of_handler:
            return
        if not is_ours and was_dropped(span.read()):
            return  # a forked child has let go of its copy; the parent goes on reading
        try:
            if span.undecided:
                _decide(span, _kind(span))
            if span.place.kind in CALLS:
                _end_call(span, span.place)
            else:
                _end_span(span, span.place)
        except Exception as error:
            _survive(error, span)


def _survive(error: Exception, span: CapturedSpan) -> None:
    if raised_by_handler(error):
        raise error
    warn(f"a span {span.name!r} of {span.scope} is not recorded: {error!r}")


def _kind(span: CapturedSpan) -> str:
    return span_kind(span.attributes, name=span.name, scope=span.scope, is_root=span.parent is None)


def _decide_around(span: CapturedSpan) -> None:
    """Give a place to the spans around this one that have not said what they are."""
    undecided: list[CapturedSpan] = []
    outer = span.parent
    while outer is not None and outer.undecided:
        undecided.append(outer)
        outer = outer.parent
    for outer in reversed(undecided):
        _decide(outer, SpanKind.OTHER)


# A run is not a tool: outside any run, the run of such a span also has the span.
_SPANS_ALSO_ALONE = (SpanKind.TOOL, SpanKind.RETRIEVER)


# Spans in several threads may begin at once inside one that has not said what it is.
_guard = ProcessLock()


def _decide(span: CapturedSpan, kind: str) -> None:
    """Give a span its place, once; another thread that is doing so is waited for."""
    with _guard.held():
        if span.undecided:
            try:
                _give_place(span, kind)
            finally:
                span.undecided = False


def _give_place(span: CapturedSpan, kind: str) -> None:
    """Make a span the run that it is, or give it its row in the run around it."""
    place: Place = span.place
    place.kind = kind
    run = place.run
    if kind in CALLS or (run is None and not may_be_run(span)):
        return
    said = place.read = span.read()
    if run is None or (kind == SpanKind.AGENT and captured_run(span) is run):
        place.about = run_facts(said)
        run = place.run = begin_agent_run(span, run, place.about)
        place.opened = True
    if not place.opened or kind in _SPANS_ALSO_ALONE:
        place.told = other_facts(said, kind, keep_blobs=keeps_blobs(run))
        _begin_row(span, place, run, place.told)


def _begin_row(span: CapturedSpan, place: Place, run: WaxellContext, said: SpanFacts) -> None:
    place.position = run._add_span(
        said.name,
        place.kind,
        status=RecordStatus.RUNNING,
        attributes=_attributes(run, said),
        input=said.input,
        inside=position_in(run, span),
        # What it is may have been said later, and it may be over already.
        started_ns=span.started_ns,
    )


def _attributes(run: WaxellContext, said: SpanFacts) -> dict[str, Any]:
    # What nothing was read from may be any text.
    found = dict(said.attributes) if run._recorder.capture_content else {}
    if said.tool_call_id is not None:
        found["tool_call_id"] = said.tool_call_id
    return found


# -- ends -----------------------------------------------------------------------------------------


def _end_span(span: CapturedSpan, place: Place) -> None:
    run = place.run
    if run is None:
        return
    now = span.read()
    said = _with_failure_inside(span, place, _facts_at_end(now, place, run))
    if span.scope in _CALLS_ELSEWHERE and place.kind == SpanKind.AGENT:
        _record_sum_of_calls(span, now, place, run)
    _end_row(span, place, run, said)
    if place.opened:
        _write_facts_of_run(now, place, run)
        _end_run(run, said, span)


def _facts_at_end(now: ReadSpan, place: Place, run: WaxellContext) -> SpanFacts:
    """Return what a span says; of one without a row, whose run says the rest, only how it ended.

    A long conversation is not to be parsed twice.
    """
    ending = ending_facts(now, place.kind)
    told = place.told
    if not place.position or told is None:
        return ending
    if not place.has_read_all(now):
        return other_facts(now, place.kind, keep_blobs=keeps_blobs(run))
    return replace(
        told,
        output=ending.output if told.output is None else told.output,
        status=ending.status,
        error_type=ending.error_type,
        error_message=ending.error_message,
    )


def _end_row(span: CapturedSpan, place: Place, run: WaxellContext, said: SpanFacts) -> None:
    if not place.position:
        return
    status = RecordStatus.ERROR if said.status == SpanStatus.ERROR else RecordStatus.OK
    error = run._words(_error_text(said), said.error_type or "")
    # What some instrumentations say only at the end, such as the id of a tool's call.
    told, attributes = place.told or said, _attributes(run, said)
    run._end_span(
        place.position,
        span.lasted_ms,
        status,
        error,
        said.output,
        said.input if told.input is None else None,
        attributes if attributes != _attributes(run, told) else None,
    )


def _error_text(said: SpanFacts) -> str:
    """Return an error as a span of the program has it: its type, and what it says."""
    return ": ".join(filter(None, (said.error_type, said.error_message)))


def _write_facts_of_run(now: ReadSpan, place: Place, run: WaxellContext) -> None:
    """Write the tags of a run, what it was asked, and what it answered.

    Where its span does not say what was asked or answered, its calls do.
    """
    about = place.about
    if about is None or not place.has_read_all(now):
        about = run_facts(now)
    for name, value in about.tags.items():
        run.set_tag(name, value)
    inputs, result = about.inputs, about.result
    if place.asked is not None:
        inputs = {"message": place.asked, **(inputs or {})}
    if place.answered is not None:
        result = {"response": place.answered, **(result or {})}
    if inputs:
        # A structure that the start gave says less than words do.
        in_words = "message" in inputs and "message" not in run.inputs
        run._set_late_inputs(inputs, anew=in_words)
    if result:
        run._set_result(result)


# Their span of a whole invocation says nothing of how it ended; the last agent in it does.
_SILENT_SCOPES = ("opentelemetry.instrumentation.genai.openai_agents",)


def _with_failure_inside(span: CapturedSpan, place: Place, said: SpanFacts) -> SpanFacts:
    """Return what a span says, and the failure that it does not say; tell the agent around it."""
    if span.scope not in _SILENT_SCOPES or place.kind != SpanKind.AGENT:
        return said
    failure = place.failure
    if failure is not None and "gen_ai.workflow.name" in span.attributes:
        said = replace(said, status=SpanStatus.ERROR, error_message=failure.error_message)
    for outer in around(span):
        if outer.kind == SpanKind.AGENT:
            outer.failure = said if said.status == SpanStatus.ERROR else None
            break
    return said


# Its calls are made by another program; only the span of the agent has their counts.
_CALLS_ELSEWHERE = ("openinference.instrumentation.claude_agent_sdk",)


def _record_sum_of_calls(
    span: CapturedSpan, now: ReadSpan, place: Place, run: WaxellContext
) -> None:
    """Write the calls of an agent as one, if it says what they used; the answer is the last."""
    call = call_facts(now, keep_blobs=keeps_blobs(run))
    if not place.inner and call.tokens.is_known:
        answer = first_text(now.attributes, RUN_OUTPUT) or call.response
        call = replace(call, response=answer, said=answer)
        _record_call(span, place, run, call, _report(span, call))


def _end_call(span: CapturedSpan, place: Place) -> None:
    call = call_facts(span.read(), span.completion, keep_blobs=keeps_blobs(place.run))
    report = _report(span, call)
    may_be_known = place.run is None or workflow_of(span.scope)
    if may_be_known and not place.inner and take_outside(report):
        _tell_around(span, call)
        return
    run = place.run = place.run or _run_of_call(span, place, call)
    if len(place.inner) <= 1:  # else retries or fallbacks: those are the calls, this is around them
        _record_call(span, place, run, call, report)
    if place.opened:
        if call.said:
            run._set_result({"response": call.said})
        elif call.tool_calls:
            run._set_result({"tool_calls": call.tool_calls})
        _end_run(run, call, span)


def _report(span: CapturedSpan, call: CallFacts) -> Report:
    row = row_of_call(call, round(span.lasted_ms), span.scope)
    return Report(span.scope, span.steady_ns, span.ended_steady_ns, row, recorded_ns=span.ended_ns)


def _record_call(
    span: CapturedSpan, place: Place, run: WaxellContext, call: CallFacts, report: Report
) -> None:
    position = CapturedCalls.of(run).record(report, place.inner)
    for outer in around(span):
        if outer.run is run and position not in outer.inner:
            outer.inner.append(position)
    _tell_around(span, call)
    if run is outermost.run:
        outermost.asked = outermost.asked or last_user_text(call)
        outermost.answered = call.said or outermost.answered


def _tell_around(span: CapturedSpan, call: CallFacts) -> None:
    """Let the spans around a call know what it was asked, and what it answered."""
    for outer in around(span):
        outer.asked = outer.asked or last_user_text(call)
        outer.answered = call.said or outer.answered


def _run_of_call(span: CapturedSpan, place: Place, call: CallFacts) -> WaxellContext:
    """Begin the run of a call outside any; it belongs to the outermost report of the call."""
    reports = [place]
    for outer in around(span):
        if outer.run is not None:
            return outer.run
        if outer.kind not in CALLS:  # of a framework that is not to become a run
            break
        reports.append(outer)
    run = begin_call_run(span, call)
    keep_outside(run)
    for report in reports:
        report.run = run
    reports[-1].opened = True
    return run


def _end_run(run: WaxellContext, said: CallFacts | SpanFacts, span: CapturedSpan) -> None:
    """Write the end of a run: when its span ended, not when all that it says was written."""
    # A report that is told later may end, by its own words, before the call inside it began.
    at = span.ended_ns, max(span.ended_steady_ns, run._steady_ns)
    if said.status == SpanStatus.ERROR:
        run._close(RunStatus.ERROR, said.error_message or "", said.error_type or "", at=at)
    else:
        run._close(RunStatus.SUCCESS, at=at)
