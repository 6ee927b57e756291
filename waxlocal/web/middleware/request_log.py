"""Counts, durations and log lines of requests; faults become problems here."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.web.api.problems import problem_of, problem_response

__all__ = ["CLIENT_LEFT", "Counts", "RequestLog", "log_line", "log_to"]

_log = logging.getLogger("waxlocal.web")

# nginx's status for a request whose client left before a response; it is only counted and logged.
CLIENT_LEFT = 499


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


class RequestLog:
    """Counts and logs every request, and handles unexpected exceptions."""

    def __init__(
        self, app: ASGIApp, *, counts: Counts, log: Callable[[str], None] | None = None
    ) -> None:
        self._app = app
        self._counts = counts
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; an unexpected exception is logged and becomes a problem.

        A client that leaves before its request is complete is not a fault of the server, and gets
        the line of any other request.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            if not answer.bytes:
                answer.status = CLIENT_LEFT
        except Exception as fault:
            _log.exception("a request failed")
            if not answer.status:
                await problem_response(problem_of(fault))(scope, receive, answer.send)
        finally:
            ended = time.perf_counter()
            # A stream lasts as long as somebody looks: its duration says nothing of the server.
            seconds = (answer.streams_from or ended) - began
            self._counts.add(scope, answer.status, seconds)
            if self._log is not None:
                self._log(log_line(scope, answer.status, seconds, answer.bytes))


class _Answer:
    """Passes the response on, and remembers what of it was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.bytes = 0
        self.streams_from: float | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if is_stream(message):
                self.streams_from = time.perf_counter()
        try:
            await self._send(message)
        except OSError as error:
            # An ASGI server may say in this way that the client has left. uvicorn says nothing.
            raise ClientDisconnect from error
        self.bytes += len(message.get("body", b""))


def is_stream(message: Message) -> bool:
    """Return whether the response that begins so is a stream of events, which has no end."""
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


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
