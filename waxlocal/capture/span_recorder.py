"""Gives each captured span its place in the file; its row is committed when its end returns."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.trace import StatusCode

from waxlocal.capture.auto_runs import begin, may_be_run, run_of_agent
from waxlocal.capture.captured_span import CapturedSpan
from waxlocal.capture.ended_spans import end_call, end_span
from waxlocal.capture.facts import SpanFacts, SpanKind
from waxlocal.capture.handler_spans import span_of_handler
from waxlocal.capture.open_calls import OpenCalls
from waxlocal.capture.places import (
    CALLS,
    Place,
    captured_run,
    is_call,
    keeps_blobs,
    kept_attributes,
    position_in,
    run_around,
)
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.capture.run_facts import run_facts
from waxlocal.capture.span_facts import DROPPED, other_facts
from waxlocal.capture.span_kinds import DECIDING, span_kind
from waxlocal.recording.masking import is_in_mask
from waxlocal.recording.notices import warn
from waxlocal.records import RecordStatus
from waxlocal.sdk.context import WaxellContext
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
            if not _is_survived(error, span):
                raise

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
            if not _is_survived(error, span):
                raise

    def end(self, span: CapturedSpan) -> None:
        """Write what a span says, and end the run that stands for it; go on where it was struck."""
        is_ours = self.open_calls.discard(span)
        if not isinstance(span.place, Place) or span.place.of_handler:
            return
        # A forked child has a copy of what its parent has begun. A call is the parent's, whoever
        # reads its stream: both may have the rest of it. And where the child is thrown out of a
        # block, the parent goes on in it.
        if not is_ours and (is_call(span) or span.status.status_code is StatusCode.ERROR):
            return
        try:
            if span.undecided:
                _decide(span, _kind(span))
            if span.place.kind in CALLS:
                end_call(span, span.place)
            else:
                end_span(span, span.place)
        except Exception as error:
            if not _is_survived(error, span):
                raise

    def drop(self, span: CapturedSpan) -> None:
        """End a call that nobody refers to any more: a raw stream that was never read, say."""
        if is_call(span) and self.open_calls.is_ours(span):
            span.set_status(StatusCode.ERROR, DROPPED)
            span.end()


def _is_survived(error: Exception, span: CapturedSpan) -> bool:
    """Warn of a fault of ours; False for what a signal handler has raised: it is the program's."""
    if raised_by_handler(error):
        return False
    warn(f"a span {span.name!r} of {span.scope} is not recorded: {error!r}")
    return True


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


@_guard.alone
def _decide(span: CapturedSpan, kind: str) -> None:
    """Give a span its place, once; another thread that is doing so is waited for."""
    if not span.undecided:
        return
    try:
        _give_place(span, kind)
    except Exception as error:
        span.undecided = raised_by_handler(error)  # then it is done at the end of the span
        raise
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
        own = run_of_agent(span, run, place.about)
        place.outer, place.run, place.opened = run, own, True
        run = own
    if place.opened:
        begin(run, span, place.outer)
    if not place.opened or kind in _SPANS_ALSO_ALONE:
        place.told = other_facts(said, kind, keep_blobs=keeps_blobs(run))
        _begin_row(span, place, run, place.told)


def _begin_row(span: CapturedSpan, place: Place, run: WaxellContext, said: SpanFacts) -> None:
    # Known before it is written: a signal handler may strike that, and then it is written again.
    place.position = place.position or run._next()
    run._add_span(
        said.name,
        place.kind,
        status=RecordStatus.RUNNING,
        attributes=kept_attributes(run, said),
        input=said.input,
        inside=position_in(run, span),
        # What it is may have been said later, and it may be over already.
        started_ns=span.started_ns,
        position=place.position,
    )
