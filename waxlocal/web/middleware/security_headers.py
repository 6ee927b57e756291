"""Add security headers to every response, and keep recorded data out of caches."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waxlocal.web.root_path import path_of
from waxlocal.wire.paths import OBSERVE

__all__ = ["SecurityHeaders"]

Headers = tuple[tuple[bytes, bytes], ...]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_OF_PAGES = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not `no-referrer`: browsers would send our own forms with `Origin: null`, like another site's.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
# API responses need no more than these, and recording programs parse them every time.
_OF_API = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Recording programs parse these headers seven times per run.
_OF_INGEST = ((b"x-content-type-options", b"nosniff"),)
_NO_STORE = (b"cache-control", b"no-store")


class SecurityHeaders:
    """The outermost middleware, so that responses to errors have the headers, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, adding the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _completed(scope, message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _completed(scope: Scope, headers: Headers) -> list[tuple[bytes, bytes]]:
    path = path_of(scope)
    if path.startswith(f"{OBSERVE}/") and scope["method"] == "POST":
        # RFC 9111, 3: a cache does not store such a response without explicit headers.
        return [*headers, *_OF_INGEST]
    completed = [*headers, *(_OF_API if path.startswith("/api/") else _OF_PAGES)]
    if not any(name == b"cache-control" for name, _ in headers):
        completed.append(_NO_STORE)
    return completed
