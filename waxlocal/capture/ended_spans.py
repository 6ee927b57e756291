"""Writes what captured spans say at their end: the rows of calls, the ends of spans and of runs."""

from __future__ import annotations

from dataclasses import replace

from waxlocal.capture.attribute_map import RUN_OUTPUT, first_text
from waxlocal.capture.auto_runs import begin, run_of_call, session_of_call
from waxlocal.capture.call_rows import last_user_text, row_of_call
from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.facts import CallFacts, ReadSpan, SpanFacts, SpanKind, SpanStatus
from waxlocal.capture.libraries import workflow_of
from waxlocal.capture.outside_calls import keep_outside, take_outside
from waxlocal.capture.pairing import Report
from waxlocal.capture.places import CALLS, SEVERAL, Place, around, keeps_blobs, kept_attributes
from waxlocal.capture.run_facts import run_facts
from waxlocal.capture.span_facts import call_facts, ending_facts, other_facts
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import outermost
from waxlocal.sdk.stops import STOPS

__all__ = ["end_call", "end_span"]


def end_span(span: CapturedSpan, place: Place) -> None:
    """Write what a span of no call says at its end, and end the run that stands for it."""
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
    told, attributes = place.told or said, kept_attributes(run, said)
    run._end_span(
        place.position,
        span.lasted_ms,
        status,
        error,
        said.output,
        said.input if told.input is None else None,
        attributes if attributes != kept_attributes(run, told) else None,
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
        _record_call(span, place, run, call, _report(span, place, call))


def end_call(span: CapturedSpan, place: Place) -> None:
    """Write the row of a call, in the run around it or in one of its own."""
    call = call_facts(span.read(), span.completion, keep_blobs=keeps_blobs(place.run))
    report = _report(span, place, call)
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


def _report(span: CapturedSpan, place: Place, call: CallFacts) -> Report:
    """Return what a call is written as; where a signal handler struck, the same one once more."""
    if place.report is None:
        row, ends = row_of_call(call, round(span.lasted_ms), span.scope), span.ended_steady_ns
        place.report = Report(span.scope, span.steady_ns, ends, row, recorded_ns=span.ended_ns)
    return place.report


def _record_call(
    span: CapturedSpan, place: Place, run: WaxellContext, call: CallFacts, report: Report
) -> None:
    known = CapturedCalls.of(run).record(report, place.inner)
    for outer in around(span):
        # That there are several is all that is asked of them.
        if outer.run is run and known not in outer.inner and len(outer.inner) < SEVERAL:
            outer.inner.append(known)
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
    place.session = place.session or session_of_call(span, call)
    run = place.own_run = place.own_run or run_of_call(span, call, *place.session)
    begin(run, span, None)
    is_named = bool(run._session_id) and not place.session[1]
    keep_outside(run, CapturedCalls.of(run), is_named=is_named)
    reports[-1].opened = True
    # The outermost first: a signal handler may strike, and this one's is looked at when it is over.
    for report in reversed(reports):
        report.run = run
    return run


def _end_run(run: WaxellContext, said: CallFacts | SpanFacts, span: CapturedSpan) -> None:
    """Write the end of a run: when its span ended, not when all that it says was written."""
    # A report that is told later may end, by its own words, before the call inside it began.
    at = span.ended_ns, max(span.ended_steady_ns, run._steady_ns)
    if said.status == SpanStatus.ERROR:
        # The type is the whole name or, from some instrumentations, the last part alone.
        kind = (said.error_type or "").rpartition(".")[2]
        status = RunStatus.CANCELLED if kind in STOPS else RunStatus.ERROR
        run._close(status, said.error_message or "", said.error_type or "", at=at)
    else:
        run._close(RunStatus.SUCCESS, at=at)
