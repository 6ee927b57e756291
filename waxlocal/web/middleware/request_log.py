"""The outermost middleware: request metrics, access log and security headers."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.web.api.problems import problem_of, problem_response
from waxlocal.wire.paths import OBSERVE

__all__ = ["Counts", "Watching", "log_line", "log_to"]

_log = logging.getLogger("waxlocal.web")

Headers = tuple[tuple[bytes, bytes], ...]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_SAFE_HEADERS = (
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
_SAFE_HEADERS_OF_API = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Recording programs parse these headers seven times per run.
_SAFE_HEADERS_OF_INGEST = ((b"x-content-type-options", b"nosniff"),)
# Keep recorded data out of caches, unless the response says otherwise.
_NO_STORE = (b"cache-control", b"no-store")


class Counts:
    """Counts and durations of requests, by route, method and status."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], list[float]] = {}

    def add(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request; the route is '' if none matched."""
        route = getattr(scope.get("route"), "path_format", "")
        method = scope["method"] if route else ""
        total = self.requests.setdefault((route, method, status), [0, 0.0])
        total[0] += 1
        total[1] += seconds


class Watching:
    """Counts, logs and completes every response, and handles unexpected exceptions."""

    def __init__(
        self, app: ASGIApp, *, counts: Counts, log: Callable[[str], None] | None = None
    ) -> None:
        self._app = app
        self._counts = counts
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; an unexpected exception is logged and becomes a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send, *_headers_for(scope))
        try:
            await self._app(scope, receive, answer.send)
        except Exception as fault:
            _log.exception("a request failed")
            if not answer.status:
                await problem_response(problem_of(fault))(scope, receive, answer.send)
        finally:
            seconds = time.perf_counter() - began
            self._counts.add(scope, answer.status, seconds)
            if self._log is not None:
                self._log(log_line(scope, answer.status, seconds, answer.bytes))


def _headers_for(scope: Scope) -> tuple[Headers, bool]:
    """Return the security headers of a response, and whether a cache might store it."""
    path = scope["path"]
    if path.startswith(f"{OBSERVE}/") and scope["method"] == "POST":
        return (
            _SAFE_HEADERS_OF_INGEST,
            False,
        )  # RFC 9111, 3: such responses are not stored without explicit headers
    return (_SAFE_HEADERS_OF_API if path.startswith("/api/") else _SAFE_HEADERS), True


class _Answer:
    """Passes the response on, with the security headers added."""

    def __init__(self, send: Send, safe: Headers, storable: bool) -> None:
        self._send = send
        self._safe = safe
        self._storable = storable
        self.status = 0
        self.bytes = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self._safe]
            if self._storable and not any(name == b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            message = {**message, "headers": headers}
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)


def log_line(
    scope: Scope, status: int, seconds: float, size: int, clock: Clock = SYSTEM_CLOCK
) -> str:
    """Return the log line of a request: parameter names, but no values and no headers."""
    path = scope["raw_path"].decode("ascii", "backslashreplace")
    query = scope["query_string"].decode("ascii", "backslashreplace")
    names = ",".join(sorted({quoted(name) for name, _ in parse_qsl(query, True)}))
    asked = f"{path}?{names}" if names else path
    return (
        f"ts={utc_text(clock.time_ns())} event=request method={scope['method']} path={asked} "
        f"status={status} ms={seconds * 1000:.1f} bytes={size}"
    )


def quoted(name: str) -> str:
    """Return a name without characters that would break the line."""
    return "".join(one if one.isalnum() or one in "_-." else "_" for one in name[:40])


def log_to(stream: TextIO | None = None) -> Callable[[str], None]:
    """Return a function that writes lines to a stream, by default stderr."""
    out = stream or sys.stderr

    def write(line: str) -> None:
        out.write(f"{line}\n")
        out.flush()

    return write
