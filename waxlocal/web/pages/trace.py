"""The trace of a run: all that it and its sub-agents did, as one tree on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from waxlocal import wording
from waxlocal.queries import RunDetail, RunSummary, Span
from waxlocal.queries.records import Record
from waxlocal.queries.sub_agents import SubAgentRun
from waxlocal.queries.times import length_us, microseconds
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.web.pages import charts

__all__ = ["GAP", "Bar", "Row", "Trace", "trace_of"]

# Rows below this depth are not indented further.
MOST_DEPTH = 12
# The source of a time in which nothing was recorded: a part of the run's that is worth a row.
GAP = "gap"
NOT_ENDED = "not ended"
# The kind of a span that tells of another attempt, before it.
_RETRY = "retry"
NOTABLE_GAP = 0.05
_SHORTEST_GAP_US = 50_000
# Of a sub-agent's run, that have a place in time.
_SHOWN = {"llm": "LLM call", "span": "", "step": "step", "event": "event"}


@dataclass(frozen=True)
class Bar:
    """A run, one of its records (`source` as in `Record`), or a gap between them.

    `owner` is its run; `position` that of the record in it. `start` is in microseconds since 1970;
    without `duration_ms` its end is not known, or it has no length: steps and events.
    """

    owner: str
    source: str
    position: int | None
    start: int
    depth: int
    name: str
    kind: str
    status: str
    error: str | None = None
    duration_ms: float | None = None
    # Beyond 1 if the same failed just before.
    attempt: int = 1

    @property
    def key(self) -> str:
        """What it is called in an address."""
        return self.owner if self.position is None else f"{self.owner}.{self.position}"

    @property
    def length(self) -> int:
        """Its length in microseconds, as far as it is known."""
        return _length(self.duration_ms)

    @property
    def indent(self) -> int:
        """How many levels it is indented."""
        return min(self.depth, MOST_DEPTH)

    def is_like(self, other: Bar) -> bool:
        """Return whether the same was done."""
        return (self.name, self.kind, self.source) == (other.name, other.kind, other.source)


class Row(NamedTuple):
    """A bar, and its place and width on the axis in percent."""

    bar: Bar
    place: float
    width: float


class Trace(NamedTuple):
    """The rows, of which the first is the run itself, and the length of the axis."""

    rows: list[Row]
    whole_ms: float


class _Group(NamedTuple):
    """What begins together: a span with those inside it, a call, or a sub-agent's run.

    Of several at once, `order` is that of recording. Below a run comes what it `called`.
    """

    start: int
    order: int
    bars: list[Bar]
    called: str | None = None


def trace_of(
    detail: RunDetail, below: Sequence[SubAgentRun], records: Mapping[str, Sequence[Record]]
) -> Trace:
    """Return the rows by start, each span and each run followed by what is in it.

    `below` are the runs of sub-agents, `records` those of each.
    """
    children: dict[str | None, list[SubAgentRun]] = {}
    for one in below:
        children.setdefault(one.parent_workflow_id, []).append(one)
    root = _of_run(detail.run, 0)
    own = [*_own(detail), *_runs(children.get(detail.run.workflow_id, ()), 1)]
    bars = [root, *_attempts(_in_order([*own, *_gaps(root, own)], children, records))]
    whole = max(bar.start + bar.length - root.start for bar in bars)
    rows = [Row(bar, *charts.stretch(bar.start - root.start, bar.length, whole)) for bar in bars]
    return Trace(rows, whole / 1000)


def _length(milliseconds: float | None) -> int:
    return length_us((milliseconds or 0.0) / 1000)


def _in_order(
    top: Iterable[_Group],
    children: Mapping[str | None, Sequence[SubAgentRun]],
    records: Mapping[str, Sequence[Record]],
) -> Iterator[Bar]:
    """Yield the bars of these and of all below: however deep, so without recursion."""
    waiting = [iter(_sorted(top))]
    while waiting:
        group = next(waiting[-1], None)
        if group is None:
            waiting.pop()
            continue
        yield from group.bars
        if group.called is not None:
            run, depth = group.bars[0], group.bars[0].depth + 1
            inside = _records(run, records.get(run.owner, ()), depth)
            waiting.append(iter(_sorted([*inside, *_runs(children.get(group.called, ()), depth)])))


def _sorted(groups: Iterable[_Group]) -> list[_Group]:
    return sorted(groups, key=lambda group: group[:2])


def _attempts(bars: Iterable[Bar]) -> Iterator[Bar]:
    """Yield the bars in order, with the number of each attempt at what has just failed."""
    before: list[Bar | None] = []  # on each level
    for bar in bars:
        if bar.source == GAP or bar.kind == _RETRY:  # between two attempts
            yield bar
            continue
        del before[bar.depth + 1 :]
        before += [None] * (bar.depth + 1 - len(before))
        last = before[bar.depth]
        if last is not None and last.status == RecordStatus.ERROR and bar.is_like(last):
            bar = replace(bar, attempt=last.attempt + 1)
        yield bar
        before[bar.depth] = bar


def _gaps(run: Bar, groups: Sequence[_Group]) -> Iterator[_Group]:
    """Yield the times in which nothing of a run was under way; none where nothing has a length."""
    timed = _sorted(group for group in groups if group.bars[0].length)
    if run.duration_ms is None or not timed:
        return
    least = max(run.length * NOTABLE_GAP, _SHORTEST_GAP_US)
    seen = run.start
    for start, end in [*_stretches(timed), (run.start + run.length, 0)]:
        if start - seen >= least:
            bar = Bar(
                run.owner, GAP, -seen, seen, 1, "nothing recorded", GAP, RecordStatus.OK,
                duration_ms=(start - seen) / 1000,
            )  # fmt: skip
            yield _Group(seen, 0, [bar])
        seen = max(seen, end)


def _stretches(groups: Iterable[_Group]) -> Iterator[tuple[int, int]]:
    for group in groups:
        yield group.start, group.start + group.bars[0].length


# -- the run's own


def _own(detail: RunDetail) -> Iterator[_Group]:
    run_id, is_over = detail.run.run_id, detail.run.status != RunStatus.RUNNING
    for span in detail.spans:
        bars = [_of_span(run_id, one, depth, is_over) for depth, one in _walk((span,))]
        yield _Group(bars[0].start, span.position, bars)
    for call in detail.llm_calls:
        said = wording.failure(call.error_type, call.error_message)
        bar = Bar(
            run_id, "llm", call.position, _start_of_call(call.recorded_at, call.duration_ms), 1,
            call.model, _SHOWN["llm"], call.status, said or None, call.duration_ms,
        )  # fmt: skip
        yield _Group(bar.start, call.position, [bar])
    for step in detail.steps:
        yield _at_once(run_id, "step", step.position, step.recorded_at, step.step_name)
    for event in detail.events:
        yield _at_once(run_id, "event", event.position, event.recorded_at, event.event)


def _walk(spans: Sequence[Span], depth: int = 1) -> Iterator[tuple[int, Span]]:
    for span in spans:
        yield depth, span
        yield from _walk(span.children, depth + 1)


def _of_span(run_id: str, span: Span, depth: int, is_over: bool) -> Bar:
    return Bar(
        run_id, "span", span.position, microseconds(span.started_at), depth, span.name, span.kind,
        _status(span.status, is_over), span.error, span.duration_ms,
    )  # fmt: skip


def _status(status: str, is_over: bool) -> str:
    """Return the status of a record; of one that is open in a run that is over, that it is."""
    return NOT_ENDED if is_over and status == RecordStatus.RUNNING else status


def _at_once(run_id: str, source: str, position: int, moment: str, name: str) -> _Group:
    start = microseconds(moment)
    bar = Bar(run_id, source, position, start, 1, name, _SHOWN[source], RecordStatus.OK)
    return _Group(start, position, [bar])


def _start_of_call(moment: str, duration_ms: float | None) -> int:
    """Return when a call began: the time that it has is that of its end."""
    return microseconds(moment) - _length(duration_ms)


# -- those of sub-agents


def _runs(runs: Iterable[SubAgentRun], depth: int) -> Iterator[_Group]:
    for run in runs:
        bar = _of_run(run, depth)
        yield _Group(bar.start, run.id, [bar], run.workflow_id)


def _records(run: Bar, records: Iterable[Record], depth: int) -> Iterator[_Group]:
    for record in records:
        if record.source in _SHOWN:
            bar = _of_record(run, record, depth)
            yield _Group(bar.start, record.position, [bar])


def _of_run(run: RunSummary | SubAgentRun, depth: int) -> Bar:
    return Bar(
        run.run_id, "run", None, microseconds(run.started_at), depth,
        run.agent_name, "sub-agent" if depth else "run", run.status,
        wording.failure(run.error_type, run.error) or None,
        None if run.duration is None else run.duration * 1000,
    )  # fmt: skip


def _of_record(run: Bar, record: Record, depth: int) -> Bar:
    is_call = record.source == "llm"
    start = _start_of_call(record.moment, record.duration_ms if is_call else None)
    return Bar(
        run.owner, record.source, record.position, start, depth,
        record.name, _SHOWN[record.source] or record.kind,
        _status(record.status, run.status != RunStatus.RUNNING),
        (record.text or None) if record.status == RecordStatus.ERROR else None,
        record.duration_ms,
    )  # fmt: skip
