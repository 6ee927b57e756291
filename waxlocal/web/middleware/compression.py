"""Compress what browsers and programs read: pages, JSON, files, in gzip where they accept it."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from waxlocal.web.root_path import path_of

__all__ = ["Compression"]

# What fits into one packet of a network does not arrive sooner for being smaller.
LEAST_BYTES = 1_400
# Of 1 to 9. The last one makes a page a fiftieth smaller, and takes more than twice the time.
LEVEL = 5

_READING = frozenset(("GET", "HEAD"))
_ACCEPT = b"accept-encoding"
# Where a secret stands beside text that somebody else has chosen, the compressed length gives it
# away bit by bit (BREACH). No page holds a key, and other sites cannot ask with the user's cookie:
# `Guards` and `SameSite`. The page that asks for the key is left out all the same.
_AS_IT_IS = frozenset(("/login",))


class Compression:
    """Compresses responses to GET and HEAD, streams part by part; never `text/event-stream`.

    It is the innermost layer. Inside the fast path, so that recording programs never pass through
    it. Inside the guards and the log: both count what is sent, and a client has as long for each
    16 KB of that. The security headers are the same either way. Around the handlers of errors,
    whose pages are compressed like others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if (
            scope["type"] != "http"
            or scope["method"] not in _READING
            or path_of(scope) in _AS_IT_IS
        ):
            await self._app(scope, receive, send)
        else:
            _honor_refusal(scope)
            await self._compressed(scope, receive, send)


def _honor_refusal(scope: Scope) -> None:
    """Take out an `Accept-Encoding` with `gzip;q=0`: the library takes the name for consent."""
    headers = scope["headers"]
    if any(name == _ACCEPT and _refuses_gzip(value) for name, value in headers):
        scope["headers"] = [one for one in headers if one[0] != _ACCEPT]


def _refuses_gzip(accepted: bytes) -> bool:
    for one in accepted.lower().split(b","):
        coding, _, weight = one.replace(b" ", b"").partition(b";q=")
        if coding == b"gzip" and weight and not weight.strip(b"0."):
            return True
    return False
