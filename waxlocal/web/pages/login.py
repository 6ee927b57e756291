"""Login and logout: a form that takes the key, and a session cookie."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from waxlocal.web.auth import LOGIN_S, Authentication, cookie_name
from waxlocal.web.pages.files import file_url

__all__ = ["ROUTES"]

# A key and a path; our form sends no more.
MAX_FORM = 64 * 1024

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in · waxlocal</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
</head>
<body>
<main id="main">
<h1>Log in</h1>
{said}<form method="post" action="/login?next={next}">
<p><label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus></p>
<p><button>Log in</button></p>
</form>
<p>The key is in the <code>--key-file</code> of <code>waxlocal serve</code>, or in
<code>WAXLOCAL_SERVE_KEY</code>.</p>
</main>
</body>
</html>
"""
_WRONG = '<p role="alert">Wrong key.</p>\n'


async def login(request: Request) -> Response:
    """Show the login form, or check the submitted key."""
    return await log_in(request) if request.method == "POST" else _form(_next(request))


def _form(next_: str, said: str = "", status: int = 200) -> Response:
    page = _PAGE.format(
        icon=escape(file_url("icon.svg")),
        style=escape(file_url("app.css")),
        next=escape(quote(next_, safe="")),
        said=said,
    )
    return HTMLResponse(page, status)


async def log_in(request: Request) -> Response:
    """Check the key, and set the session cookie."""
    form = parse_qs((await request.body())[:MAX_FORM].decode("utf-8", "replace"))
    auth: Authentication = request.app.state.auth
    if not auth.is_open and not auth.is_key(form.get("key", [""])[0].strip().encode()):
        return _form(_next(request), _WRONG, 401)
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
    return cookie_name((request.scope.get("server") or ("", ""))[1])


def _next(request: Request) -> str:
    """Return the path to redirect to after login; always a path of this server."""
    wanted = request.query_params.get("next", "/")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if inside and wanted.isprintable() and "\\" not in wanted else "/"


ROUTES = [
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
