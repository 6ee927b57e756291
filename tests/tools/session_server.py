"""A small HTTP server that lists sessions, in this process and on a real socket."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Asked", "Reply", "SessionServer", "listing", "session_server"]


class Asked(NamedTuple):
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    offset: int
    limit: int


class Reply(NamedTuple):
    """What to answer; `claimed` is a Content-Length that is not the body's."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    claimed: int | None = None


Answerer = Callable[[Asked], Reply]


class SessionServer(ThreadingHTTPServer):
    """Answers each GET as the answerer says, and remembers what it was asked."""

    daemon_threads = False

    def __init__(self, answer: Answerer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Return its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    server: SessionServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        offset, limit = (int(query.get(name, ["0"])[0]) for name in ("offset", "limit"))
        asked = Asked(self.path, dict(self.headers.items()), offset, limit)
        self.server.asked.append(asked)
        reply = self.server.answer(asked)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.claimed or len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def session_server(
    answer: Answerer, *, tls: ssl.SSLContext | None = None
) -> Iterator[SessionServer]:
    """Run a server for the length of the block."""
    with SessionServer(answer, tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def listing(sessions: list[dict[str, Any]], *, style: str = "next", most: int = 1_000) -> Answerer:
    """Return an answerer that pages through sessions.

    `style` is what it says beside them: `next`, `count`, or `bare` for nothing. It gives at most
    `most` at a time.
    """

    def answer(asked: Asked) -> Reply:
        end = asked.offset + min(asked.limit, most)
        body: dict[str, Any] = {"results": sessions[asked.offset : end]}
        if style == "next":
            body["next"] = (
                f"https://elsewhere.example/?offset={end}" if end < len(sessions) else None
            )
        if style == "count":
            body["count"] = len(sessions)
        return Reply(body=json.dumps(body).encode())

    return answer
