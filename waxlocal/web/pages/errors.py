"""The error page and the help page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from waxlocal.web.api.problems import Problem
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.rendering import environment, show

__all__ = ["bare_page", "error_page", "help_page"]

_HEADINGS = {
    400: "Bad request",
    401: "An API key is required",
    403: "Requests from that origin are refused",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    503: "Try again later",
}


def bare_page(request: Request, problem: Problem) -> Response:
    """Return the page for a problem as a stranger without the key gets it: its status alone."""
    page = environment.get_template("bare.html")
    text = page.render(title=_heading(problem), problem=problem, links=Links.of(request))
    return HTMLResponse(text, problem.status, {**problem.headers, "Cache-Control": "no-store"})


def _heading(problem: Problem) -> str:
    return _HEADINGS.get(problem.status, problem.title)


async def error_page(request: Request, problem: Problem) -> Response:
    """Return the page for a problem, with its status and headers."""
    heading = _heading(problem)
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
    """Show the help page: keys, what the figures mean, and the way out if a key is needed."""
    has_key = not request.app.state.auth.is_open
    return await show(request, "help.html", title="Help", live_from="/live/status", has_key=has_key)
