"""What went wrong, as a page that says what to do next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.web.pages.rendering import show
from waxlocal.web.problems import Problem

__all__ = ["error_page", "help_page"]

_HEADINGS = {
    400: "That cannot be asked",
    401: "A key is needed",
    403: "Not from there",
    404: "There is nothing here",
    405: "Not in this way",
    413: "That is too much",
    503: "Not at the moment",
}


async def error_page(request: Request, problem: Problem) -> Response:
    """Return a problem as a page, with its status and headers."""
    heading = _HEADINGS.get(problem.status, problem.title)
    response = await show(
        request,
        "error.html",
        title=heading,
        status=problem.status,
        problem=problem,
        # The API's hint for what is not there speaks of the API; the page has links.
        hint="" if problem.status == 404 else problem.hint,
        live_from="/live/status",
    )
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


async def help_page(request: Request) -> Response:
    """Show the keys, and what the figures mean."""
    return await show(request, "help.html", title="Help", live_from="/live/status")
