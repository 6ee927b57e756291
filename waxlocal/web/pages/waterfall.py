"""The waterfall of a run: its spans, its LLM calls and its sub-agents on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from waxlocal.queries import LlmCall, RunDetail, Span
from waxlocal.queries.records import Record
from waxlocal.queries.sub_agents import SubAgentRun
from waxlocal.queries.times import length_us, microseconds
from waxlocal.web.pages import charts
from waxlocal.web.pages.folds import Fold, folds

__all__ = ["Bar", "Row", "waterfall"]

# Rows below this depth are not indented further.
MOST_DEPTH = 12
# What of a sub-agent's run has a time of its own.
_TIMED = ("llm", "span")


@dataclass(frozen=True)
class Bar:
    """A span, a call, or a run of a sub-agent, which has its `run_id`.

    `start` is in microseconds since 1970; without `duration_ms` its end is not known.
    """

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
    def length(self) -> int:
        """Its length in microseconds, as far as it is known."""
        return _length(self.duration_ms)

    @property
    def indent(self) -> int:
        """How many levels it is indented."""
        return min(self.depth, MOST_DEPTH)


class Row(NamedTuple):
    """A bar, and its place and width on the axis in percent."""

    bar: Bar
    place: float
    width: float


class _Group(NamedTuple):
    """What begins together: a span with those inside it, a call, or a sub-agent's run.

    Of several at once, `order` is that of recording. Below a run comes what it `called`.
    """

    start: int
    order: int
    bars: list[Bar]
    called: str | None = None


def waterfall(
    detail: RunDetail, below: Sequence[SubAgentRun], records: Mapping[str, Sequence[Record]]
) -> list[Row]:
    """Return the rows by start, each span and each run of a sub-agent followed by what is in it.

    `below` are the runs of sub-agents, `records` those of each.
    """
    children: dict[str | None, list[SubAgentRun]] = {}
    for one in below:
        children.setdefault(one.parent_workflow_id, []).append(one)
    run = detail.run
    bars = list(_in_order(_own(detail), run.workflow_id, children, records))
    begin = microseconds(run.started_at)
    ends = (bar.start + bar.length - begin for bar in bars)
    whole = max([length_us(run.duration or 0.0), *ends])
    return [Row(bar, *charts.stretch(bar.start - begin, bar.length, whole)) for bar in bars]


def _length(milliseconds: float | None) -> int:
    return length_us((milliseconds or 0.0) / 1000)


def _in_order(
    own: Iterable[_Group],
    workflow_id: str,
    children: Mapping[str | None, Sequence[SubAgentRun]],
    records: Mapping[str, Sequence[Record]],
) -> Iterator[Bar]:
    """Yield the bars of a run and of all below it: however deep, so without recursion."""
    waiting = [iter(_sorted([*own, *_runs(children.get(workflow_id, ()), 0)]))]
    while waiting:
        group = next(waiting[-1], None)
        if group is None:
            waiting.pop()
            continue
        yield from group.bars
        if group.called is not None:
            run, depth = group.bars[0], group.bars[0].depth + 1
            inside = _records(records.get(run.run_id or "", ()), depth)
            waiting.append(iter(_sorted([*inside, *_runs(children.get(group.called, ()), depth)])))


def _sorted(groups: list[_Group]) -> list[_Group]:
    return sorted(groups, key=lambda group: group[:2])


# -- the run's own


def _own(detail: RunDetail) -> Iterator[_Group]:
    for span in detail.spans:
        bars = [_of_span(one, depth) for depth, one in _walk((span,))]
        yield _Group(bars[0].start, span.position, bars)
    for call in detail.llm_calls:
        bar = _of_call(call)
        yield _Group(bar.start, call.position, [bar])


def _walk(spans: Sequence[Span], depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in spans:
        yield depth, span
        yield from _walk(span.children, depth + 1)


def _of_span(span: Span, depth: int) -> Bar:
    return Bar(
        start=microseconds(span.started_at),
        depth=depth,
        name=span.name,
        kind=span.kind,
        status=span.status,
        error=span.error,
        duration_ms=span.duration_ms,
        folds=folds(input=span.input, output=span.output, attributes=span.attributes),
    )


def _of_call(call: LlmCall) -> Bar:
    said = ": ".join(filter(None, (call.error_type, call.error_message)))
    return Bar(
        start=microseconds(call.recorded_at) - _length(call.duration_ms),
        depth=0,
        name=call.model,
        kind="LLM call",
        status=call.status,
        error=said or None,
        duration_ms=call.duration_ms,
    )


# -- those of sub-agents


def _runs(runs: Iterable[SubAgentRun], depth: int) -> Iterator[_Group]:
    for run in runs:
        bar = _of_run(run, depth)
        yield _Group(bar.start, run.id, [bar], run.workflow_id)


def _records(records: Iterable[Record], depth: int) -> Iterator[_Group]:
    for record in records:
        if record.source in _TIMED:
            bar = _of_record(record, depth)
            yield _Group(bar.start, record.position, [bar])


def _of_run(run: SubAgentRun, depth: int) -> Bar:
    return Bar(
        start=microseconds(run.started_at),
        depth=depth,
        name=run.agent_name,
        kind="sub-agent",
        status=run.status,
        error=": ".join(filter(None, (run.error_type, run.error))) or None,
        duration_ms=None if run.duration is None else run.duration * 1000,
        run_id=run.run_id,
    )


def _of_record(record: Record, depth: int) -> Bar:
    start = microseconds(record.moment)
    is_call = record.source == "llm"
    if is_call:  # the time of a call is its end
        start -= _length(record.duration_ms)
    return Bar(
        start=start,
        depth=depth,
        name=record.name,
        kind="LLM call" if is_call else record.kind,
        status=record.status,
        error=(record.text or None) if record.status == "error" else None,
        duration_ms=record.duration_ms,
    )
