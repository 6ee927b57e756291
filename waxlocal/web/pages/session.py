"""The page of a session: the conversation turn by turn, and where money and time went."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import (
    Money,
    RunSummary,
    SessionDetail,
    Timing,
    TurnMoney,
    TurnTime,
    get_turns,
    money,
    timing,
)
from waxlocal.queries.records import MOST_RECORDS, Record, list_records
from waxlocal.records import RunStatus
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.web.db import ask
from waxlocal.web.pages import charts
from waxlocal.web.pages.figures import short_tokens
from waxlocal.web.pages.folds import Fold, Words
from waxlocal.web.pages.list_request import MOST_OFFSET, whole
from waxlocal.web.pages.rendering import show
from waxlocal.wording import TIME_KINDS, counted, told_tokens
from waxlocal.wording import cost as cost_text

__all__ = ["session_page"]

Answer = TypeVar("Answer")

TURNS = 50
# So many that an open page has grown to while the conversation went on.
GROWN_TURNS = 200
# Maximum characters of a message or answer on this page; the page of the run has more.
MOST_CHARS = 20_000
# Up to this many turns are shown as a table with bars; more as a column chart.
TABLE_TURNS = 12
# Name at most so many of a turn's sub-agents in one line.
MOST_NAMES = 5
# Show a pause between turns from this many seconds on.
NOTABLE_PAUSE = 30.0
PARTS = (charts.Part("p2", "resent"), charts.Part("p1", "new"))
UNKNOWN_PART = charts.Part("p4", "new or resent")
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
class Whole:
    """The content of the page: the session, its turns on this page, their records."""

    detail: SessionDetail
    records: dict[str, list[Record]]


async def session_page(request: Request) -> Response:
    """Show a session; raises `NotFound`."""
    session_id = request.path_params.get("session_id") or request.query_params.get("id", "")
    offset = _offset(request)
    limit = GROWN_TURNS if request.query_params.get("grows") == "1" else TURNS

    def question(conn: sqlite3.Connection) -> Whole:
        detail = get_turns(conn, session_id, limit=limit, offset=offset)
        return Whole(detail, list_records(conn, [run.run_id for run in detail.runs]))

    found, spent, took = await asyncio.gather(
        ask(request, question),
        _kept(request, session_id, money),
        _kept(request, session_id, timing),
    )
    session = found.detail.session
    as_text = request.query_params.get("as") == "text"
    # In a thread: other requests do not wait for much Markdown.
    turns = await asyncio.to_thread(_turns, found, took.value, spent.value, as_text=as_text)
    waiting = spent.pending or took.pending
    return await show(
        request,
        "session.html",
        title=session.title or "Untitled session",
        section="sessions",
        refresh="waiting"
        if waiting
        else "running"
        if session.status == RunStatus.RUNNING
        else "list",
        session=session,
        turns=_folded(turns),
        shown_turns={turn.number for turn in turns},
        offset=offset,
        limit=limit,
        as_text=as_text,
        spent=spent,
        took=took,
        kinds=TIME_KINDS,
        turn_money=_of_page(spent.value, turns),
        chart=_chart(_of_page(spent.value, turns), session.turn_count),
        parts_of_input=(
            charts.Part("p1", "new input"),
            charts.Part("p2", "resent"),
            *((UNKNOWN_PART,) if spent.value is not None and spent.value.unsplit_tokens else ()),
        ),
        scores=[(turn, record) for turn in turns for record in turn.records
                if record.source == "score"],
        records_cut=sum(map(len, found.records.values())) == MOST_RECORDS,
    )  # fmt: skip


def _offset(request: Request) -> int:
    """Return how many turns come before this page: as it asks, or before the part with a turn."""
    turn = whole(request.query_params.get("turn"), 0, 1, MOST_OFFSET)
    if turn:
        return (turn - 1) // TURNS * TURNS
    return whole(request.query_params.get("offset"), 0, 0, MOST_OFFSET)


async def _kept(
    request: Request, session_id: str, query: Callable[[sqlite3.Connection, str], Answer]
) -> Cached[Answer]:
    return await ask_kept(request, (query, session_id), lambda conn: query(conn, session_id))


def _turns(found: Whole, took: Timing | None, spent: Money | None, *, as_text: bool) -> list[Turn]:
    words = Words(as_text=as_text)
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
                message=words.fold(run.message, most=MOST_CHARS),
                answer=words.fold(run.answer, most=MOST_CHARS),
                records=records,
                said=summary(records),
                pause=time.idle_before if time and time.idle_before >= NOTABLE_PAUSE else 0.0,
                marks=[one.mark for one in history if one.run_id == run.run_id],
                new_day=run.started_at[:10] != before,
            )
        )
        before = run.started_at[:10]
    return turns


def _folded(turns: Sequence[Turn]) -> list[Turn]:
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


def _of_page(spent: Money | None, turns: Sequence[Turn]) -> list[tuple[int, TurnMoney]]:
    """Return the cost of the turns on this page, with their numbers."""
    if spent is None:
        return []
    shown = {turn.number for turn in turns if not turn.nested}
    return [(one.number, one) for one in spent.turns if one.number in shown]


def _chart(turns: Sequence[tuple[int, TurnMoney]], of: int) -> charts.Chart | None:
    if len(turns) <= TABLE_TURNS or not any(one.tokens_in for _, one in turns):
        return None
    rows = [
        (
            str(number),
            *(
                told_tokens(
                    tokens, one.metered_share, short_tokens, estimated=one.estimated_tokens > 0
                )
                for tokens in (one.new_tokens, one.resent_tokens)
            ),
            told_tokens(one.tokens_out, one.metered_share, short_tokens),
            cost_text(one.cost, 1.0 if one.llm_calls else None),
        )
        for number, one in turns
    ]
    costliest = max(turns, key=lambda pair: pair[1].cost or 0.0)
    cost_most = f"turn {costliest[0]} cost most: {cost_text(costliest[1].cost, 1.0)}."
    shown = f"{of} turns; {cost_most}"
    if len(turns) < of:
        shown = f"Turns {turns[0][0]} to {turns[-1][0]} of {of:,}; of these, {cost_most}"
    is_unknown = any(one.unsplit_tokens for _, one in turns)
    return charts.columns(
        "Input tokens by turn",
        shown,
        [str(number) for number, _ in turns],
        [
            (one.resent_tokens or 0, one.new_tokens or 0, *([one.unsplit_tokens] * is_unknown))
            for _, one in turns
        ],
        parts=(*PARTS, UNKNOWN_PART) if is_unknown else PARTS,
        head=("Turn", "New input", "Resent", "Output", "Cost"),
        rows=rows,
        hrefs=[f"#turn-{number}" for number, _ in turns],
    )
