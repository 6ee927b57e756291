"""The error page and the help page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.web.api.problems import Problem
from waxlocal.web.pages.rendering import show

__all__ = ["error_page", "help_page"]

_HEADINGS = {
    400: "Bad request",
    401: "An API key is required",
    403: "Requests from that origin are refused",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    503: "Try again later",
}


async def error_page(request: Request, problem: Problem) -> Response:
    """Return the page for a problem, with its status and headers."""
    heading = _HEADINGS.get(problem.status, problem.title)
    response = await show(
        request,
        "error.html",
        title=heading,
        status=problem.status,
        problem=problem,
        # The API's hint for 404 names API paths; the page has links instead.
        hint="" if problem.status == 404 else problem.hint,
        live_from="/live/status",
    )
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


async def help_page(request: Request) -> Response:
    """Show the help page: keys, and what the figures mean."""
    return await show(request, "help.html", title="Help", live_from="/live/status")
