"""Request guards: proxy, Host, origin, API key, content type, size limits and timeout.

One pure ASGI layer, for speed: the original SDK waits for each of its requests.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waxlocal.web.api.problems import Problem, problem_response
from waxlocal.web.auth import Authentication, port_of
from waxlocal.web.middleware.forwarded import Forwarded
from waxlocal.web.middleware.hosts import Hosts
from waxlocal.web.root_path import path_of, root_of
from waxlocal.wire.paths import BULK, DOCUMENT

__all__ = ["Guards"]

# For comparison: a run of the original SDK with 3,000 calls is 2 MB.
MAX_BODY = 16 * 1024 * 1024
MAX_BULK_BODY = 64 * 1024 * 1024
# Path and query; a session id may have 5,000 characters, each up to nine bytes when encoded.
MAX_URL = 48 * 1024
# Seconds from the first byte of the headers to the last byte of the response. They begin anew with
# each part of this size, of a body or of a response: over 20 KB/s a run with a long document takes
# minutes, and so does a whole list as a file.
REQUEST_S = 30.0
PROGRESS_BYTES = 16 * 1024
# How long a client may keep sending a rejected body. Closing the connection at once could also
# discard the response before the client reads it.
LINGER_S = 2.0
# A small rejected body is read to its end, so that the connection can be reused.
SMALL_BODY = 64 * 1024

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_TYPES = frozenset((b"application/json", b"application/x-ndjson"))
_API = "/api/"
_OWN_PAGES = "make changes from this server's own pages, or from a program"
# The browser says that the page is ours, and the address that it has for it is another.
_BEHIND_PROXY = (
    "behind a proxy, name it with --trusted-proxy, and let it send X-Forwarded-Proto and "
    "X-Forwarded-Host"
)


class Guards:
    """Rejects bad requests before any other code sees them."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        forwarded: Forwarded,
        auth: Authentication,
        request_s: float = REQUEST_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._forwarded = forwarded
        self._auth = auth
        self._request_s = request_s
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or respond with the reason for its rejection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._forwarded.refusal(scope)  # first: everything else reads what it writes
        headers = dict(scope["headers"])
        body = _Body(scope, headers, receive)
        try:
            _admit(problem)
            self._check(scope, headers)
            body.check_length()
            _end_with_slash(scope)
            await self._in_time(scope, body, send)
        except _Refused as refused:
            # After a timeout, and when the server stops, do not wait for the rest of the body.
            patience = 0.0 if refused.problem.status in (408, 503) else self._linger_s
            await _linger(problem_response(refused.problem), scope, body, send, patience)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        _admit(self._hosts.refusal(scope))
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL:
            raise _Refused(414, f"the URL has more than {MAX_URL:,} bytes")
        method, path = scope["method"], path_of(scope)
        if method not in _SAFE:
            _check_origin(scope, headers)
        elif _is_fetched_by_another_site(headers):
            raise _Refused(403, "pages of other sites may not read here", kind="cross-site")
        _admit(self._auth.refusal(path, headers, port_of(scope), root=root_of(scope)))
        if method not in _SAFE and path.startswith(_API):
            _check_type(path, headers)

    async def _in_time(self, scope: Scope, body: _Body, send: Send) -> None:
        """Handle the request within the timeout; cancel it after that."""
        timer = body.timer = _Timer(self._request_s)
        sender = _Sender(send, body, timer)
        try:
            await self._app(scope, body.receive, sender.send)
        except asyncio.CancelledError:
            # Otherwise only the server cancels requests, when it stops.
            if timer.task is not None and sys.version_info >= (3, 11):
                timer.task.uncancel()
            if not sender.started:
                late = _too_slow(body.complete, self._request_s)
                raise (late if timer.expired else _stopping()) from None
        finally:
            timer.cancel()


class _Timer:
    """Cancels the task that made it after some seconds without progress."""

    def __init__(self, seconds: float) -> None:
        self.task = asyncio.current_task()
        self.expired = False
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._handle = self._loop.call_at(self._deadline, self._look)

    def begin_anew(self) -> None:
        self._deadline = self._loop.time() + self._seconds

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        if self._loop.time() < self._deadline:
            self._handle = self._loop.call_at(self._deadline, self._look)
            return
        self.expired = True
        if self.task is not None:
            self.task.cancel()


class _Refused(Exception):
    """A rejected request, with the problem to respond with."""

    def __init__(
        self,
        status: int = 400,
        detail: str = "",
        *,
        hint: str = "",
        problem: Problem | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.problem = problem or Problem(status, detail, hint=hint, **more)


def _admit(problem: Problem | None) -> None:
    if problem is not None:
        raise _Refused(problem=problem)


class _Body:
    """The body of a request; counts its bytes while it is read."""

    def __init__(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> None:
        self._receive = receive
        self._limit = MAX_BULK_BODY if path_of(scope).startswith(BULK[:-1]) else MAX_BODY
        length = headers.get(b"content-length", b"0")
        self._length = int(length) if length.isdigit() else 0
        self._read = self._noted = 0
        self.timer: _Timer | None = None
        self.complete = not self._length and b"transfer-encoding" not in headers

    def check_length(self) -> None:
        """Reject a body at once if its Content-Length is too large."""
        if self._length > self._limit:
            raise _too_large(self._limit)

    async def receive(self) -> Message:
        """Return the next ASGI message of the body."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self._read > self._limit:
                raise _too_large(self._limit)
            if self.timer is not None and self._read - self._noted >= PROGRESS_BYTES:
                self._noted = self._read
                self.timer.begin_anew()
        return message

    async def drop(self, most: float = float("inf")) -> None:
        """Read and discard the rest, up to its end or `most` bytes."""
        dropped = 0
        while not self.complete and dropped <= most:
            message = await self._receive()
            if message["type"] != "http.request":
                return
            dropped += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)

    @property
    def is_small(self) -> bool:
        """Whether its Content-Length is small."""
        return 0 < self._length <= SMALL_BODY


class _Sender:
    """Passes the response on, and remembers whether it has started."""

    def __init__(self, send: Send, body: _Body, timer: _Timer) -> None:
        self._send = send
        self._body = body
        self._timer = timer
        self._sent = 0
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = message.get("headers", [])
            if not self._body.complete and self._body.is_small:
                # Read what the handler did not, so that the connection can be reused.
                await self._body.drop(SMALL_BODY)
            if not self._body.complete:
                # Close the connection: the unread rest would be parsed as the next request.
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            if any(value.startswith(b"text/event-stream") for _, value in headers):
                self._timer.cancel()
        await self._send(message)
        self._sent += len(message.get("body", b""))
        if self._sent >= PROGRESS_BYTES:
            self._sent = 0
            self._timer.begin_anew()


def _check_origin(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Reject writes from pages of other sites (CSRF).

    Browsers send the origin of a request; other programs send neither header.
    """
    site = headers.get(b"sec-fetch-site", b"none")
    origin = headers.get(b"origin")
    own = scope.get("scheme", "http").encode() + b"://" + headers[b"host"]
    if site not in (b"same-origin", b"none") or (
        origin is not None and origin.lower() != own.lower()
    ):
        raise _Refused(
            403,
            "pages of other sites may not make changes here",
            kind="cross-site",
            hint=_BEHIND_PROXY if site == b"same-origin" else _OWN_PAGES,
        )


def _is_fetched_by_another_site(headers: dict[bytes, bytes]) -> bool:
    """Return whether a page of another site makes the browser ask, and nobody has followed a link.

    It could not read the answer, but forty questions at a time would keep everybody else waiting.
    See https://www.w3.org/TR/fetch-metadata/.
    """
    if headers.get(b"sec-fetch-site", b"none") in (b"same-origin", b"none"):
        return False
    followed = (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest"))
    return followed != (b"navigate", b"document")


def _check_type(path: str, headers: dict[bytes, bytes]) -> None:
    """Accept JSON only: pages of other sites can send form types without a preflight request."""
    given = headers.get(b"content-type")
    if given is None:
        if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            return
        raise _wrong_type("the request has no Content-Type")
    if given.partition(b";")[0].strip().lower() not in _TYPES:
        raise _wrong_type(f"unsupported Content-Type {given.decode('latin-1')[:100]!r}")
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity" and not path.startswith(BULK[:-1]):
        raise _wrong_type(f"unsupported Content-Encoding {encoding.decode('latin-1')[:100]!r}")


def _wrong_type(what: str) -> _Refused:
    return _Refused(415, what, hint='send JSON, with "Content-Type: application/json"')


def _too_large(limit: int) -> _Refused:
    hint = "send less per request"
    return _Refused(413, f"the body has more than {limit:,} bytes", hint=hint, max_bytes=limit)


def _too_slow(complete: bool, seconds: float) -> _Refused:
    if complete:
        detail = f"the server could not respond within {seconds:g} s"
        return _Refused(503, detail, kind="too-slow", headers={"Retry-After": "5"})
    return _Refused(408, f"too little of the request arrived within {seconds:g} s")


def _stopping() -> _Refused:
    return _Refused(503, "the server is stopping", kind="stopping", headers={"Retry-After": "5"})


def _end_with_slash(scope: Scope) -> None:
    """Make API paths work with and without a trailing slash."""
    path = path_of(scope)
    if path.startswith(_API) and not path.endswith("/") and path != DOCUMENT:
        scope["path"] += "/"


async def _linger(
    response: Response, scope: Scope, body: _Body, send: Send, patience: float
) -> None:
    """Respond while the request is still arriving, so that the client can read the response."""
    if body.is_small and patience:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(body.drop(SMALL_BODY), patience)
    if body.complete:
        await response(scope, body.receive, send)
        return
    response.headers["connection"] = "close"
    parts: list[Message] = []

    async def collect(message: Message) -> None:
        parts.append(message)

    await response(scope, body.receive, collect)
    for message in parts:
        await send({**message, "more_body": True} if "body" in message else message)
    if patience:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(body.drop(), patience)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
