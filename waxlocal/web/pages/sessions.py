"""The list of sessions, and the page of an empty file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import (
    EVERYTHING,
    RunSummary,
    Session,
    count_sessions,
    last_runs,
    list_sessions,
)
from waxlocal.queries.filters import check_ordering
from waxlocal.queries.overview import Overview, overview, turn_sizes
from waxlocal.queries.run_list import count_runs
from waxlocal.queries.score_summaries import ScoreSummary, session_scores
from waxlocal.queries.search import PIECE, candidates, fitting, is_slow
from waxlocal.queries.sessions import sessions_by_id
from waxlocal.records import RUN_STATUSES
from waxlocal.web.cache import Cached, ask_kept, cache_of
from waxlocal.web.db import ask
from waxlocal.web.pages.exact import exact_match
from waxlocal.web.pages.list_file import FORMS, list_file
from waxlocal.web.pages.list_request import ListRequest, SessionRequest
from waxlocal.web.pages.rendering import show

__all__ = ["sessions_page"]

COLUMNS = (
    ("turn_count", "Turns"),
    ("total_tokens", "Tokens"),
    ("total_cost", "Cost"),
    ("total_duration", "Duration"),
    ("last_activity_at", "Last activity"),
)
# Runs shown if the file has no sessions.
FIRST_RUNS = 20


@dataclass(frozen=True)
class Listing:
    """A page of the list; `count` is None while it is not known.

    `looked` of `among` sessions have been read by a search that is still running.
    """

    sessions: tuple[Session, ...]
    sizes: dict[str, tuple[int | None, ...]]
    scores: dict[str | None, list[ScoreSummary]]
    count: int | None
    more: bool
    looked: int = 0
    among: int = 0

    @property
    def largest_cost(self) -> float:
        """The cost that makes a full bar."""
        return max((one.total_cost or 0.0 for one in self.sessions), default=0.0)


@dataclass(frozen=True)
class Found:
    """The ids that a search has found so far, and its progress."""

    ids: tuple[str, ...]
    looked: int
    among: int


async def sessions_page(request: Request) -> Response:
    """Show the sessions that match the filter, with their totals."""
    asked = ListRequest.of(request, "/")
    check_ordering(asked.ordering)  # an unknown ordering fails the whole page
    if form := request.query_params.get("file"):
        return await list_file(request, asked, form)
    slow = is_slow(asked.filter)
    listing, totals, exact = await asyncio.gather(
        _searched(request, asked) if slow else _listed(request, asked),
        _no_totals() if slow else _totals(request, asked),
        exact_match(request, asked.links, asked.value("search")),
    )
    nothing_at_all = listing.value is not None and not (asked.given or listing.value.sessions)
    runs: list[RunSummary] = []
    run_count = 0
    if nothing_at_all and not asked.offset:
        runs = (await ask(request, lambda conn: last_runs(conn, limit=FIRST_RUNS)))[::-1]
        run_count = await ask(request, lambda conn: count_runs(conn))
    waiting = listing.pending or totals.pending
    return await show(
        request,
        "sessions.html",
        title=f"Sessions{asked.words()}",
        section="sessions",
        refresh="waiting" if waiting else "list",
        asked=asked,
        file_forms=FORMS,
        listing=listing,
        totals=totals,
        exact=exact,
        slow=slow,
        nothing_at_all=nothing_at_all,
        runs=runs,
        run_count=run_count,
        columns=COLUMNS,
        statuses=RUN_STATUSES,
    )


async def _listed(request: Request, asked: SessionRequest) -> Cached[Listing]:
    page, count = await asyncio.gather(_part(request, asked), _count(request, asked))
    if page.value is None:
        return page
    part = page.value
    known = asked.count(len(part.sessions), part.more, count.value)
    return Cached(replace(part, count=known))


async def _part(request: Request, asked: SessionRequest) -> Cached[Listing]:
    def question(conn: sqlite3.Connection) -> Listing:
        found = asked.page_of(list_sessions(conn, **asked.wanted))
        return _listing(conn, found.rows, found.more)

    return await ask_kept(request, asked.page_key, question)


async def _count(request: Request, asked: SessionRequest) -> Cached[int]:
    if asked.filter == EVERYTHING:  # that is quick, and the totals are not
        return await ask_kept(request, ("count",), count_sessions)
    totals = await _totals(request, asked)
    found = totals.value
    count = None if found is None else found.totals.sessions
    return Cached(count, totals.pending, totals.problem)


def _listing(conn: sqlite3.Connection, found: Sequence[Session], more: bool) -> Listing:
    ids = [one.session_id for one in found]
    return Listing(tuple(found), turn_sizes(conn, ids), session_scores(conn, ids), None, more)


async def _searched(request: Request, asked: SessionRequest) -> Cached[Listing]:
    """Return what a search has found so far; the search continues in the background."""
    need = asked.offset + asked.limit

    async def work(progress: Callable[[Found], None]) -> Found:
        ids = await ask(request, lambda conn: candidates(conn, asked.filter, asked.ordering))
        found: list[str] = []
        for start in range(0, len(ids), PIECE):
            found += await _fitting(request, asked, ids[start : start + PIECE])
            progress(Found(tuple(found), min(start + PIECE, len(ids)), len(ids)))
            if len(found) > need:
                return Found(tuple(found), min(start + PIECE, len(ids)), len(ids))
        return Found(tuple(found), len(ids), len(ids))

    key = ("search", asked.key, asked.ordering, need)
    cached = await cache_of(request).take(key, work)
    if cached.value is None:
        return Cached(None, cached.pending, cached.problem)
    found = cached.value

    def question(conn: sqlite3.Connection) -> Listing:
        sessions = sessions_by_id(conn, list(found.ids[asked.offset : need]))
        count = len(found.ids) if found.looked == found.among else None
        listing = _listing(conn, sessions, len(found.ids) > need)
        return replace(listing, count=count, looked=found.looked, among=found.among)

    return Cached(await ask(request, question), cached.pending)


async def _fitting(request: Request, asked: SessionRequest, ids: list[str]) -> list[str]:
    return await ask(request, lambda conn: fitting(conn, asked.filter, ids))


async def _totals(request: Request, asked: SessionRequest) -> Cached[Overview]:
    return await ask_kept(
        request, ("totals", asked.key), lambda conn: overview(conn, filter=asked.filter)
    )


async def _no_totals() -> Cached[Overview]:
    return Cached(None)
