"""The errors page: what fails, where, how often, and since when."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.queries.failures import MOST_GROUPS, failures
from waxlocal.records import RunStatus
from waxlocal.web.cache import ask_kept
from waxlocal.web.pages.list_request import ListRequest
from waxlocal.web.pages.rendering import show

__all__ = ["errors_page"]

# These mean the same in the list of runs; others are of sessions, or look elsewhere there.
_OF_RUNS = frozenset({"user_id", "agent", "status", "error_type", "since", "until"})
STATUSES = (RunStatus.ERROR, RunStatus.BLOCKED, RunStatus.INTERRUPTED)


async def errors_page(request: Request) -> Response:
    """Show the failed runs by error and agent, the most frequent first. Raises `InvalidQuery`."""
    asked = ListRequest.of(request, "/errors")
    taken = await ask_kept(
        request, ("failures", asked.key), lambda conn: failures(conn, filter=asked.filter)
    )
    found = taken.value or []
    return await show(
        request,
        "errors.html",
        title=f"Errors{asked.words()}",
        section="errors",
        refresh="waiting" if taken.pending else "list",
        asked=asked,
        leads_to_runs=_OF_RUNS.issuperset(asked.given),
        statuses=STATUSES,
        runs=sum(one.count for one in found),
        taken=taken,
        found=found,
        most=MOST_GROUPS,
        largest=max((one.count for one in found), default=0),
    )
