"""The list of runs, in sessions or in none."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries import RunSummary
from waxlocal.queries.filters import check_ordering
from waxlocal.queries.run_list import RUN_ORDERINGS, RunFilter, count_runs, list_runs
from waxlocal.records import RUN_STATUSES, RunStatus
from waxlocal.web.cache import Cached, ask_kept
from waxlocal.web.pages.exact import exact_match
from waxlocal.web.pages.list_file import FORMS, list_file
from waxlocal.web.pages.list_request import ListRequest, Rows
from waxlocal.web.pages.rendering import show

__all__ = ["runs_page"]


async def runs_page(request: Request) -> Response:
    """Show the runs that match the filter, the last recorded first. Raises `InvalidQuery`."""
    asked = ListRequest.of_runs(request)
    check_ordering(asked.ordering, RUN_ORDERINGS)  # an unknown ordering fails the whole page
    if form := request.query_params.get("file"):
        return await list_file(request, asked, form)
    listing, count, exact = await asyncio.gather(
        _part(request, asked),
        _count(request, asked),
        exact_match(request, asked.links, asked.value("search")),
    )
    runs = listing.value.rows if listing.value else ()
    running = any(run.status == RunStatus.RUNNING for run in runs)
    return await show(
        request,
        "runs.html",
        title=f"Runs{asked.words()}",
        section="runs",
        refresh="waiting" if listing.pending else "running" if running else "list",
        asked=asked,
        file_forms=FORMS,
        listing=listing,
        runs=runs,
        exact=exact,
        count=asked.count(len(runs), bool(listing.value and listing.value.more), count.value),
        statuses=RUN_STATUSES,
    )


async def _part(request: Request, asked: ListRequest[RunFilter]) -> Cached[Rows[RunSummary]]:
    return await ask_kept(
        request, asked.page_key, lambda conn: asked.page_of(list_runs(conn, **asked.wanted))
    )


async def _count(request: Request, asked: ListRequest[RunFilter]) -> Cached[int]:
    return await ask_kept(
        request, ("run count", asked.key), lambda conn: count_runs(conn, filter=asked.filter)
    )
