"""The records of a run in the order of recording, with the runs that it opened among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from waxlocal.records import RunStatus
from waxlocal.wire.items import Items
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.values import moment_of, number_of

__all__ = ["in_order"]

Row = Mapping[str, Any]
Take = Callable[[], None]


class _Turn(NamedTuple):
    """The start or the end of a child."""

    at: datetime
    is_end: bool
    take: Take


def in_order(run: RecordedRun, children: Sequence[ChildRun], items: Items) -> Iterator[Take]:
    """Give what is to be done for each record, and for each child when it began and ended."""
    tables = (
        (run.llm_calls, items.llm_call),
        (run.steps, items.step),
        (run.spans, items.span),
        (run.scores, items.score),
        (run.events, items.event),
    )
    records = [(row["position"], row, take) for rows, take in tables for row in rows]
    records.sort(key=itemgetter(0))
    turns = _turns(run, children, items)
    for _position, row, take in records:
        while turns and _is_before(turns[-1], row):
            yield turns.pop().take
        yield partial(take, row)
    for turn in reversed(turns):
        yield turn.take


def _turns(run: RecordedRun, children: Sequence[ChildRun], items: Items) -> list[_Turn]:
    """Return the starts and ends of the children, the last first."""
    turns: list[_Turn] = []
    ended_at = moment_of(run.run["completed_at"])
    for child in children:
        began = moment_of(child.started_at) or datetime.min
        turns.append(_Turn(began, False, partial(items.child_began, child)))
        ended = moment_of(child.completed_at)
        # What outlives the run is not among its spans, nor what had no chance to end.
        if not ended or child.status == RunStatus.INTERRUPTED:
            continue
        if ended_at is None or ended <= ended_at:
            turns.append(_Turn(max(began, ended), True, partial(items.child_ended, child)))
    turns.sort(key=itemgetter(0))
    turns.reverse()
    return turns


def _is_before(turn: _Turn, row: Row) -> bool:
    """Return whether a turn of a child comes before a record.

    At one and the same moment a record comes before a start and after an end.
    """
    at = _recorded_at(row)
    return at is not None and (turn.at < at or (turn.is_end and turn.at == at))


def _recorded_at(row: Row) -> datetime | None:
    """Return when a record got its position."""
    if "started_at" not in row:
        return moment_of(row["recorded_at"])
    began, lasted_ms = moment_of(row["started_at"]), number_of(row["duration_ms"])
    # What was measured around a block has its position from its beginning: a stop-watch gives
    # fractions, programs that say a duration give whole milliseconds.
    by_watch = lasted_ms is None or lasted_ms != int(lasted_ms)
    if began is None or lasted_ms is None or (by_watch and row["kind"] not in ("io", "retry")):
        return began
    try:
        return began + timedelta(milliseconds=lasted_ms)
    except OverflowError:
        return began
