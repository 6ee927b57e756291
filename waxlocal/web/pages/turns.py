"""The turns of a conversation as pages and files show them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from waxlocal.queries import (
    Money,
    RunSummary,
    SessionDetail,
    Timing,
    TurnMoney,
    TurnTime,
    get_turns,
)
from waxlocal.queries.records import Record, list_records
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.records import RunStatus
from waxlocal.web.pages.folds import Fold, Words
from waxlocal.wording import counted

__all__ = ["Part", "Turn", "folded", "read_part", "summary", "turns_of"]

# Maximum characters of a message or answer on a page; the page of the run has more.
MOST_CHARS = 20_000
# Name at most so many of a turn's sub-agents in one line.
MOST_NAMES = 5
# Show a pause between turns from this many seconds on.
NOTABLE_PAUSE = 30.0
_NOUNS = {"tool": "tool call", "retriever": "retrieval", "retrieval": "retrieval"}
_OF_SOURCE = {"llm": "LLM call", "step": "step", "score": "score", "event": "event"}


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
    # Of another day than the run before it on the page.
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
    def inner_said(self) -> str:
        """The runs inside, in words: `2 sub-agent runs: planner, search · 1 failed`."""
        names = list(dict.fromkeys(one.run.agent_name for one in self.inner))
        failed = sum(one.failed for one in self.inner)
        count = counted(max(len(self.inner), self.sub_agent_runs), "sub-agent run")
        first = (
            f"The first {len(self.inner):,} of " if len(self.inner) < self.sub_agent_runs else ""
        )
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        said = f"{first}{count}: {', '.join(names[:MOST_NAMES])}{more}"
        return f"{said} · {failed:,} failed" if failed else said

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
def read_part(conn: sqlite3.Connection, session_id: str, *, offset: int, limit: int) -> Part:
    """Return `limit` turns after the first `offset`; raises `NotFound`."""
    detail = get_turns(conn, session_id, limit=limit, offset=offset)
    return Part(detail, list_records(conn, [run.run_id for run in detail.runs]))


def turns_of(
    found: Part, took: Timing | None, spent: Money | None, words: Words, *, most: int = MOST_CHARS
) -> list[Turn]:
    """Return the runs of a part in order, with what is known of their cost and time.

    Of a message or an answer, `most` characters.
    """
    costs = {} if spent is None else {one.run_id: one for one in spent.turns if one.runs > 1}
    times: dict[str, TurnTime] = {} if took is None else {one.run_id: one for one in took.turns}
    history = () if spent is None else spent.history
    turns = []
    before = ""
    for run, place in zip(found.detail.runs, found.detail.places, strict=True):
        time = times.get(run.run_id)
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
                pause=time.idle_before if time and time.idle_before >= NOTABLE_PAUSE else 0.0,
                marks=[one.mark for one in history if one.run_id == run.run_id],
                new_day=run.started_at[:10] != before,
            )
        )
        before = run.started_at[:10]
    return turns


def folded(turns: Sequence[Turn]) -> list[Turn]:
    """Put the runs of sub-agents into the turn that called them."""
    inside: dict[int, list[Turn]] = {}
    for turn in turns:
        if turn.nested:
            inside.setdefault(turn.number, []).append(turn)
    return [replace(one, inner=inside.get(one.number, ())) for one in turns if not one.nested]


def summary(records: Sequence[Record]) -> str:
    """Return `2 LLM calls · 1 tool call`, ordered by first occurrence."""
    counts = Counter(
        _OF_SOURCE.get(one.source) or _NOUNS.get(one.kind) or f"{one.kind or 'other'} span"
        for one in records
    )
    return " · ".join(counted(count, noun) for noun, count in counts.items())
