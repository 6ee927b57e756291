"""The way in for a person: a form that takes the key, and a cookie that stands for it."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from waxlocal.web.auth import LOGIN_S, Access, cookie_name
from waxlocal.web.pages.files import file_url

__all__ = ["ROUTES"]

# A key and an address; more comes from no form of ours.
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
<h1>This server asks for its key</h1>
{said}<form method="post" action="/login?next={next}">
<p><label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus></p>
<p><button>Log in</button></p>
</form>
<p>It is the one that <code>waxlocal serve</code> was started with: the content of its
<code>--key-file</code>, or of <code>WAXLOCAL_SERVE_KEY</code>.</p>
</main>
</body>
</html>
"""
_WRONG = '<p role="alert">That is not the key.</p>\n'


async def login(request: Request) -> Response:
    """Show the form, or check what came from it."""
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
    """Check the key, and give a cookie that stands for it."""
    form = parse_qs((await request.body())[:MAX_FORM].decode("utf-8", "replace"))
    access: Access = request.app.state.access
    if not access.is_open and not access.is_key(form.get("key", [""])[0].strip().encode()):
        return _form(_next(request), _WRONG, 401)
    answer = RedirectResponse(_next(request), 303)
    if not access.is_open:
        answer.set_cookie(
            _cookie(request),
            access.new_login(),
            max_age=LOGIN_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


async def log_out(request: Request) -> Response:
    """Take the cookie away."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(_cookie(request), httponly=True, samesite="strict")
    return answer


def _cookie(request: Request) -> str:
    return cookie_name((request.scope.get("server") or ("", ""))[1])


def _next(request: Request) -> str:
    """Return where to go after it: a path of this server, whatever the address says."""
    wanted = request.query_params.get("next", "/")
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if inside and wanted.isprintable() and "\\" not in wanted else "/"


ROUTES = [
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
