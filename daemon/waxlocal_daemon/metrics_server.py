"""Serves the metrics over HTTP."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from waxlocal.errors import ConfigurationError

__all__ = ["MetricsServer", "address_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Concurrent requests, and the seconds that each may take; a scraper sends one at a time.
MOST_AT_ONCE = 8
REQUEST_S = 5.0
LOOPBACK = "127.0.0.1"
_PORT = re.compile(r"[0-9]{1,5}")
# A name, an IPv4 address, an IPv6 address in brackets, or nothing.
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[\w.-]*", re.ASCII)


def address_of(given: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT`.

    Without a host it is loopback. Raises `ConfigurationError`.
    """
    host, _, port = given.strip().rpartition(":")
    if not (_PORT.fullmatch(port) and int(port) < 65536 and _HOST.fullmatch(host)):
        raise ConfigurationError(
            f"{given!r} is not a valid address for metrics", hint="write it as 127.0.0.1:9464"
        )
    return host.strip("[]") or LOOPBACK, int(port)


class MetricsServer:
    """Answers GET /metrics with `text()`, and GET /healthz with whether the daemon is `alive()`.

    Runs in its own threads, a few requests at a time; a client may be silent for `request_s`
    seconds. Raises `ConfigurationError` if it cannot listen on the address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        text: Callable[[], str],
        alive: Callable[[], bool] = lambda: True,
        *,
        request_s: float = REQUEST_S,
    ) -> None:
        try:
            self._server = _Server(address, text, alive, request_s)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                f"cannot listen on {address[0]} port {address[1]} for metrics: {why}",
                hint="choose another port with --metrics",
            ) from error
        self._host, self.port = address[0], int(self._server.server_address[1])
        self._over = False
        self._thread = threading.Thread(target=self._serve, name="waxlocal-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a request that is being answered is cut off with the process."""
        self._over = True
        with suppress(OSError):  # a last connection wakes the thread
            socket.create_connection((self._host, self.port), timeout=1).close()
        self._thread.join(1)
        self._server.server_close()

    def _serve(self) -> None:
        # Not serve_forever: it wakes twice a second to check whether to end.
        while not self._over:
            self._server.handle_request()


class _Server(HTTPServer):
    def __init__(
        self,
        address: tuple[str, int],
        text: Callable[[], str],
        alive: Callable[[], bool],
        request_s: float,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.text, self.alive, self.request_s = text, alive, request_s
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service for the name of this machine.
        super(HTTPServer, self).server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            with suppress(OSError):  # the client left
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        """Bound the time of the request."""
        super().setup()
        self.connection.settimeout(self.server.request_s)

    def do_GET(self) -> None:
        """Answer the two paths."""
        page = self.path.partition("?")[0]
        if page == "/metrics":
            self._send(HTTPStatus.OK, self.server.text(), CONTENT_TYPE)
        elif page == "/healthz":
            well = self.server.alive()
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, "ok\n" if well else "stalled\n")
        else:
            self._send(HTTPStatus.NOT_FOUND, "not found; try /metrics or /healthz\n")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Respond with one line, not with a page that repeats the request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # no do_POST, do_PUT, ...
            code = HTTPStatus.METHOD_NOT_ALLOWED
        self._send(HTTPStatus(code), f"{HTTPStatus(code).phrase}\n")

    def _send(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        # Not send_response, which names Python and its version.
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a scrape is not a change of state."""
