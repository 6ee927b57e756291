"""The turns of a conversation as pages and files show them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from waxlocal.queries import (
    Money,
    RunSummary,
    Session,
    SessionDetail,
    Timing,
    TurnMoney,
    TurnTime,
    get_turns,
)
from waxlocal.queries.records import Record, list_records
from waxlocal.queries.run_order import PlacedRun
from waxlocal.queries.sessions import some_of_session
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.times import microseconds
from waxlocal.records import RunStatus
from waxlocal.web.pages.folds import Fold, Words
from waxlocal.web.pages.markdown import MOST_CHARS
from waxlocal.wording import counted

__all__ = ["KINDS", "Part", "Turn", "folded", "read_part", "read_runs", "summary", "turns_of"]

# Levels of sub-agents that a page shows inside each other.
DEEPEST = 12
# Name at most so many of a turn's sub-agents in one line.
MOST_NAMES = 5
# Show a pause between turns from this many seconds on.
NOTABLE_PAUSE = 30.0
_NOUNS = {"tool": "tool call", "retriever": "retrieval", "retrieval": "retrieval"}
KINDS = {"llm": "LLM call", "step": "step", "score": "score", "event": "event"}


@dataclass(frozen=True)
class Turn:
    """A run of the conversation: a turn, or nested in the turn of that number.

    `spent` has its tokens and cost: those of a turn include its sub-agents'.
    """

    number: int
    nested: bool
    run: RunSummary
    spent: RunSummary | TurnMoney
    message: Fold | None
    answer: Fold | None
    records: tuple[Record, ...]
    said: str
    pause: float
    marks: Sequence[str]
    # Of another day than the turn before it on the page, or the run before it in its turn.
    new_day: bool
    # The runs of its sub-agents.
    inner: Sequence[Turn] = ()

    @property
    def anchor(self) -> str:
        """The id of its place in the page."""
        return f"run-{self.run.run_id}" if self.nested else f"turn-{self.number}"

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"Sub-agent run in turn {self.number}" if self.nested else f"Turn {self.number}"

    @property
    def sub_agent_runs(self) -> int:
        """How many runs it has beside its own; 0 while that is being computed."""
        return self.spent.runs - 1 if isinstance(self.spent, TurnMoney) else 0

    @property
    def below(self) -> Iterator[Turn]:
        """The runs inside, and those inside of these."""
        for one in self.inner:
            yield one
            yield from one.below

    @property
    def inner_said(self) -> str:
        """The runs inside, in words: `3 sub-agent runs: planner, search · 1 failed: search`."""
        below = list(self.below)
        is_cut = len(below) < self.sub_agent_runs
        first = f"The first {len(below):,} of " if is_cut else ""
        count = counted(max(len(below), self.sub_agent_runs), "sub-agent run")
        said = f"{first}{count}: {_names(below)}"
        failed = [one for one in below if one.failed]
        return f"{said} · {len(failed):,} failed: {_names(failed)}" if failed else said

    @property
    def failed(self) -> bool:
        """Whether the run failed, was blocked or was interrupted."""
        return self.run.status in (RunStatus.ERROR, RunStatus.BLOCKED, RunStatus.INTERRUPTED)


@dataclass(frozen=True)
class Part:
    """Some turns of a session in a row, with their records."""

    detail: SessionDetail
    records: dict[str, list[Record]]


@in_snapshot
def read_runs(conn: sqlite3.Connection, session: Session, runs: Sequence[PlacedRun]) -> Part:
    """Return these runs of a session, with all of their records."""
    detail = some_of_session(conn, session, runs)
    return Part(detail, list_records(conn, [run.run_id for run in detail.runs], most=None))


@in_snapshot
def read_part(conn: sqlite3.Connection, session_id: str, *, offset: int, limit: int) -> Part:
    """Return `limit` turns after the first `offset`; raises `NotFound`."""
    detail = get_turns(conn, session_id, limit=limit, offset=offset)
    return Part(detail, list_records(conn, [run.run_id for run in detail.runs]))


def turns_of(
    found: Part,
    took: Timing | None,
    spent: Money | None,
    words: Words,
    *,
    most: int | None = MOST_CHARS,
) -> list[Turn]:
    """Return the runs of a part in order, with what is known of their cost and time.

    Of a message or an answer, `most` characters; None for all of them.
    """
    costs = {} if spent is None else {one.run_id: one for one in spent.turns if one.runs > 1}
    times: dict[str, TurnTime] = {} if took is None else {one.run_id: one for one in took.turns}
    marks: dict[str, list[str]] = {}
    for change in () if spent is None else spent.history:
        marks.setdefault(change.run_id, []).append(change.mark)
    turns = []
    ended = 0  # when the last of the runs so far has
    days: dict[int | None, str] = {}  # of the last turn; and of the last run inside each
    for run, place in zip(found.detail.runs, found.detail.places, strict=True):
        time = times.get(run.run_id)
        pause = time.idle_before if time else 0.0 if place.nested else _pause(run, ended)
        records = tuple(found.records[run.run_id])
        turns.append(
            Turn(
                number=place.turn,
                nested=place.nested,
                run=run,
                spent=costs.get(run.run_id, run),
                message=words.fold(run.message, most=most),
                answer=words.fold(run.answer, most=most),
                records=records,
                said=summary(records),
                pause=pause if pause >= NOTABLE_PAUSE else 0.0,
                marks=marks.get(run.run_id, ()),
                new_day=run.started_at[:10] != days.get(place.turn if place.nested else None),
            )
        )
        days[place.turn if place.nested else None] = days[place.turn] = run.started_at[:10]
        ended = max(ended, microseconds(run.completed_at or run.started_at))
    return turns


def _pause(run: RunSummary, ended: int) -> float:
    """Return the seconds before a turn that is too new for the kept times of its session.

    Without it, an open page would be told of the turn twice.
    """
    return max(microseconds(run.started_at) - ended, 0) / 1e6 if ended else 0.0


def _names(runs: Sequence[Turn]) -> str:
    names = list(dict.fromkeys(one.run.agent_name for one in runs))
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def folded(turns: Sequence[Turn]) -> list[Turn]:
    """Put each run of a sub-agent into its caller; if that is not here, into its turn.

    What is called at a level below `DEEPEST` is put into the last run above that.
    """
    inside = _called(turns)
    shown: dict[str, list[Turn]] = {}
    roots = [turn for turn in turns if not turn.nested]
    waiting = [(one.run.workflow_id, one.run.workflow_id, 0) for one in reversed(roots)]
    while waiting:
        caller, shown_in, level = waiting.pop()
        below = inside.get(caller, ())
        shown.setdefault(shown_in, []).extend(below)
        for one in reversed(below):
            itself = one.run.workflow_id
            waiting.append((itself, itself if level < DEEPEST else shown_in, level + 1))
    return [_with_inner(turn, shown) for turn in roots]


def _called(turns: Sequence[Turn]) -> Mapping[str, Sequence[Turn]]:
    roots = {turn.number: turn.run.workflow_id for turn in turns if not turn.nested}
    here = {turn.run.workflow_id for turn in turns}
    inside: dict[str, list[Turn]] = {}
    for turn in turns:
        caller = turn.run.parent_workflow_id
        if turn.nested and (caller in here or turn.number in roots):
            key = caller if caller in here else roots[turn.number]
            inside.setdefault(str(key), []).append(turn)
    return inside


def _with_inner(turn: Turn, shown: Mapping[str, Sequence[Turn]]) -> Turn:
    inner = shown.get(turn.run.workflow_id, ())
    return replace(turn, inner=[_with_inner(one, shown) for one in inner])


def summary(records: Sequence[Record]) -> str:
    """Return `2 LLM calls · 1 tool call`, ordered by first occurrence."""
    counts = Counter(
        KINDS.get(one.source) or _NOUNS.get(one.kind) or f"{one.kind or 'other'} span"
        for one in records
    )
    return " · ".join(counted(count, noun) for noun, count in counts.items())
