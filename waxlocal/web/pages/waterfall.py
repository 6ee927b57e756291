"""The waterfall of a run: its spans, its LLM calls and its sub-agents on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from waxlocal.queries import LlmCall, RunDetail, RunSummary, Span
from waxlocal.queries.records import Record
from waxlocal.queries.times import microseconds
from waxlocal.web.pages import charts
from waxlocal.web.pages.folds import Fold, folds

__all__ = ["Row", "waterfall"]

# Rows below this depth are not indented further.
MOST_DEPTH = 12
# What of a sub-agent's run has a time of its own.
_TIMED = ("llm", "span")


@dataclass(frozen=True)
class Row:
    """A row; `place` and `width` in percent, `width` None without a duration.

    The row of a sub-agent's run has its `run_id`.
    """

    depth: int
    name: str
    kind: str
    status: str
    error: str | None
    duration_ms: float | None
    place: float
    width: float | None
    folds: tuple[tuple[str, Fold], ...]
    run_id: str | None


@dataclass(frozen=True)
class _Bar:
    """A row before the length of the whole is known; `start` in microseconds since 1970."""

    start: int
    depth: int
    name: str
    kind: str
    status: str
    error: str | None
    duration_ms: float | None
    folds: tuple[tuple[str, Fold], ...] = ()
    run_id: str | None = None

    @property
    def end(self) -> float:
        """Its end, as far as it is known."""
        return self.start + (self.duration_ms or 0.0) * 1000


# What begins together: a span with those inside it, a call, a run of a sub-agent with all of its
# own; and its position among the records of its run.
_Group = tuple[int, list[_Bar]]


def waterfall(
    detail: RunDetail, below: Sequence[RunSummary], records: Mapping[str, Sequence[Record]]
) -> list[Row]:
    """Return the rows by start, each span and each run of a sub-agent followed by what is in it.

    `below` are the runs of sub-agents, `records` those of each.
    """
    children: dict[str | None, list[RunSummary]] = {}
    for run in below:
        children.setdefault(run.parent_workflow_id, []).append(run)
    run = detail.run
    own: list[_Group] = [
        (span.position, [_of_span(one, depth) for depth, one in _walk((span,))])
        for span in detail.spans
    ]
    own += [(call.position, [_of_call(call)]) for call in detail.llm_calls]
    own += _of_children(run, children, records, 0)
    bars = list(_in_order(own))
    begin = microseconds(run.started_at)
    whole = max([(run.duration or 0.0) * 1e6, *(bar.end - begin for bar in bars)])
    return [_row(bar, begin, whole) for bar in bars]


def _in_order(groups: Iterable[_Group]) -> Iterator[_Bar]:
    for _, bars in sorted(groups, key=lambda group: (group[1][0].start, group[0])):
        yield from bars


def _row(bar: _Bar, begin: int, whole: float) -> Row:
    length = None if bar.duration_ms is None else bar.duration_ms * 1000
    place, width = charts.stretch(bar.start - begin, length or 0.0, whole)
    return Row(
        depth=min(bar.depth, MOST_DEPTH),
        name=bar.name,
        kind=bar.kind,
        status=bar.status,
        error=bar.error,
        duration_ms=bar.duration_ms,
        place=place,
        width=None if length is None else width,
        folds=bar.folds,
        run_id=bar.run_id,
    )


# -- the run's own


def _walk(spans: Sequence[Span], depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in spans:
        yield depth, span
        yield from _walk(span.children, depth + 1)


def _of_span(span: Span, depth: int) -> _Bar:
    return _Bar(
        start=microseconds(span.started_at),
        depth=depth,
        name=span.name,
        kind=span.kind,
        status=span.status,
        error=span.error,
        duration_ms=span.duration_ms,
        folds=folds(input=span.input, output=span.output, attributes=span.attributes),
    )


def _of_call(call: LlmCall) -> _Bar:
    said = ": ".join(filter(None, (call.error_type, call.error_message)))
    return _Bar(
        start=microseconds(call.recorded_at) - (call.duration_ms or 0) * 1000,
        depth=0,
        name=call.model,
        kind="LLM call",
        status=call.status,
        error=said or None,
        duration_ms=call.duration_ms,
    )


# -- those of sub-agents


def _of_children(
    run: RunSummary,
    children: Mapping[str | None, Sequence[RunSummary]],
    records: Mapping[str, Sequence[Record]],
    depth: int,
) -> list[_Group]:
    groups: list[_Group] = []
    for child in children.get(run.workflow_id, ()):
        inside: list[_Group] = [
            (record.position, [_of_record(record, depth + 1)])
            for record in records.get(child.run_id, ())
            if record.source in _TIMED
        ]
        inside += _of_children(child, children, records, depth + 1)
        groups.append((child.id, [_of_run(child, depth), *_in_order(inside)]))
    return groups


def _of_run(run: RunSummary, depth: int) -> _Bar:
    return _Bar(
        start=microseconds(run.started_at),
        depth=depth,
        name=run.agent_name,
        kind="sub-agent",
        status=run.status,
        error=": ".join(filter(None, (run.error_type, run.error))) or None,
        duration_ms=None if run.duration is None else run.duration * 1000,
        run_id=run.run_id,
    )


def _of_record(record: Record, depth: int) -> _Bar:
    start = microseconds(record.moment)
    is_call = record.source == "llm"
    if is_call:  # the time of a call is its end
        start -= int((record.duration_ms or 0) * 1000)
    return _Bar(
        start=start,
        depth=depth,
        name=record.name,
        kind="LLM call" if is_call else record.kind,
        status=record.status,
        error=(record.text or None) if record.status == "error" else None,
        duration_ms=record.duration_ms,
    )
