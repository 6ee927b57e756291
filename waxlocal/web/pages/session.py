"""The page of a session: the conversation turn by turn, and where money and time went."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import Money, TurnMoney, money, timing
from waxlocal.queries.records import MOST_RECORDS
from waxlocal.records import RunStatus
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.web.db import ask
from waxlocal.web.pages import charts
from waxlocal.web.pages.figures import short_tokens
from waxlocal.web.pages.folds import Words
from waxlocal.web.pages.list_request import MOST_OFFSET, whole
from waxlocal.web.pages.rendering import show
from waxlocal.web.pages.session_file import FORMS, session_file
from waxlocal.web.pages.turns import Part, Turn, folded, read_part, turns_of
from waxlocal.wording import TIME_KINDS, told_tokens
from waxlocal.wording import cost as cost_text

__all__ = ["session_page"]

Answer = TypeVar("Answer")

TURNS = 50
# So many that an open page has grown to while the conversation went on.
GROWN_TURNS = 200
# Up to this many turns are shown as a table with bars; more as a column chart.
TABLE_TURNS = 12
PARTS = (charts.Part("p2", "resent"), charts.Part("p1", "new"))
UNKNOWN_PART = charts.Part("p4", "new or resent")


async def session_page(request: Request) -> Response:
    """Show a session; raises `NotFound`."""
    session_id = request.path_params.get("session_id") or request.query_params.get("id", "")
    if form := request.query_params.get("file"):
        return await session_file(request, session_id, form)
    offset = _offset(request)
    limit = GROWN_TURNS if request.query_params.get("grows") == "1" else TURNS

    def question(conn: sqlite3.Connection) -> Part:
        return read_part(conn, session_id, offset=offset, limit=limit)

    found, spent, took = await asyncio.gather(
        ask(request, question),
        _kept(request, session_id, money),
        _kept(request, session_id, timing),
    )
    session = found.detail.session
    as_text = request.query_params.get("as") == "text"
    # In a thread: other requests do not wait for much Markdown.
    turns = await asyncio.to_thread(
        turns_of, found, took.value, spent.value, Words(0) if as_text else Words()
    )
    of_page = _of_page(spent.value, turns)
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
        turns=folded(turns),
        shown_turns={turn.number for turn in turns},
        offset=offset,
        limit=limit,
        as_text=as_text,
        file_forms=FORMS,
        spent=spent,
        took=took,
        kinds=TIME_KINDS,
        turn_money=of_page,
        chart=_chart(of_page, spent.value),
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


def _of_page(spent: Money | None, turns: Sequence[Turn]) -> list[tuple[int, TurnMoney]]:
    """Return the cost of the turns on this page, with their numbers."""
    if spent is None:
        return []
    shown = {turn.number for turn in turns if not turn.nested}
    return [(one.number, one) for one in spent.turns if one.number in shown]


def _chart(turns: Sequence[tuple[int, TurnMoney]], spent: Money | None) -> charts.Chart | None:
    if spent is None or len(turns) <= TABLE_TURNS or not any(one.tokens_in for _, one in turns):
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
    costliest = max(spent.turns, key=lambda one: one.cost or 0.0)
    cost_most = f"turn {costliest.number} cost most: {cost_text(costliest.cost, 1.0)}."
    shown = f"{len(spent.turns):,} turns; {cost_most}"
    if len(turns) < len(spent.turns):
        some = f"Turns {turns[0][0]} to {turns[-1][0]} of {len(spent.turns):,}"
        shown = f"{some}; of all, {cost_most}"
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
