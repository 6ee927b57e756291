"""Login and logout: a form that takes the key, and a session cookie."""

from __future__ import annotations

from typing import Literal, TypedDict
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from waxlocal.web.auth import LOGIN_S, Authentication, cookie_name, port_of
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.rendering import environment
from waxlocal.web.root_path import root_of

__all__ = ["ROUTES"]

# A key and a path; our form sends no more.
MAX_FORM = 64 * 1024


async def login(request: Request) -> Response:
    """Show the login form, or check the submitted key."""
    return await log_in(request) if request.method == "POST" else _form(request)


def _form(request: Request, *, wrong: bool = False, status: int = 200) -> Response:
    links = Links.of(request)
    action = links.to("/login", {"next": _next(request)})
    values = {"title": "Log in", "links": links, "action": action, "wrong": wrong}
    return HTMLResponse(environment.get_template("login.html").render(values), status)


async def log_in(request: Request) -> Response:
    """Check the key, and set the session cookie."""
    form = parse_qs((await request.body())[:MAX_FORM].decode("utf-8", "replace"))
    auth: Authentication = request.app.state.auth
    if not auth.is_open and not auth.is_key(form.get("key", [""])[0].strip().encode()):
        return _form(request, wrong=True, status=401)
    answer = RedirectResponse(Links.of(request).to(_next(request)), 303)
    if not auth.is_open:
        answer.set_cookie(
            _cookie(request),
            auth.new_login(),
            max_age=LOGIN_S,
            **_where(request),
        )
    return answer


async def log_out(request: Request) -> Response:
    """Delete the session cookie."""
    answer = RedirectResponse(Links.of(request).to("/login"), 303)
    answer.delete_cookie(_cookie(request), **_where(request))
    return answer


class _Where(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["strict"]


def _where(request: Request) -> _Where:
    """Return where a browser may send the cookie; it deletes one that was set for the same only."""
    return {
        "path": root_of(request.scope) or "/",
        "secure": request.url.scheme == "https",
        "httponly": True,
        "samesite": "strict",
    }


def _cookie(request: Request) -> str:
    return cookie_name(port_of(request.scope))


def _next(request: Request) -> str:
    """Return the path to go to after login, below the root path; always one of this server."""
    wanted = request.query_params.get("next", "/")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if inside and wanted.isprintable() and "\\" not in wanted else "/"


ROUTES = [
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
