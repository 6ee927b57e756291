"""Login and logout: a form that takes the key, and a session cookie."""

from __future__ import annotations

from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from waxlocal.web.auth import LOGIN_S, Authentication, cookie_name, port_of
from waxlocal.web.pages.rendering import environment

__all__ = ["ROUTES"]

# A key and a path; our form sends no more.
MAX_FORM = 64 * 1024


async def login(request: Request) -> Response:
    """Show the login form, or check the submitted key."""
    return await log_in(request) if request.method == "POST" else _form(_next(request))


def _form(next_: str, *, wrong: bool = False, status: int = 200) -> Response:
    values = {"title": "Log in", "next": quote(next_, safe=""), "wrong": wrong}
    return HTMLResponse(environment.get_template("login.html").render(values), status)


async def log_in(request: Request) -> Response:
    """Check the key, and set the session cookie."""
    form = parse_qs((await request.body())[:MAX_FORM].decode("utf-8", "replace"))
    auth: Authentication = request.app.state.auth
    if not auth.is_open and not auth.is_key(form.get("key", [""])[0].strip().encode()):
        return _form(_next(request), wrong=True, status=401)
    answer = RedirectResponse(_next(request), 303)
    if not auth.is_open:
        answer.set_cookie(
            _cookie(request),
            auth.new_login(),
            max_age=LOGIN_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


async def log_out(request: Request) -> Response:
    """Delete the session cookie."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(_cookie(request), httponly=True, samesite="strict")
    return answer


def _cookie(request: Request) -> str:
    return cookie_name(port_of(request.scope))


def _next(request: Request) -> str:
    """Return the path to redirect to after login; always a path of this server."""
    wanted = request.query_params.get("next", "/")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if inside and wanted.isprintable() and "\\" not in wanted else "/"


ROUTES = [
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
