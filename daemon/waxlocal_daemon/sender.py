"""Sends requests from a few threads, each with its own connection.

A shared pool searches all of its connections for each request, which halves the throughput at 32
connections; httpx's asyncio client has a quarter of it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

import httpcore

from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.answers import Answer, header_text, plain_text
from waxlocal_daemon.network import Network

__all__ = ["Request", "Sender", "check_network"]

# Common servers close an idle connection after 5 s; close it first.
KEEP_ALIVE_S = 4.0
# With this many requests in flight, wait a little longer for more responses: the server is busy
# with the others meanwhile.
MANY = 8
GATHER_S = 0.002
# More than any response of the API; a page of another server need not be read to its end.
MAX_ANSWER_BYTES = 8 * 1024 * 1024


class Request(NamedTuple):
    """One request: `path` is relative to the server's URL, `headers` come after the usual ones."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    # Returned with the response, for the caller; so is how often the circuit had opened before.
    about: Any = None
    openings: int = 0


_Todo: TypeAlias = "queue.SimpleQueue[Request | None]"
_Done: TypeAlias = "queue.SimpleQueue[tuple[Request, Answer]]"


class Sender:
    """Hands requests to threads and collects the responses, in the order of arrival.

    For use by one thread. Follows no redirects and retries nothing. A request takes at most
    `settings.request_timeout` seconds without progress: for each part of it that the network takes,
    and then to the last byte of the response, however slow the server is.
    """

    def __init__(self, settings: UploadSettings) -> None:
        parts = urlsplit(settings.api_url)
        self._prefix = parts.path.rstrip("/")
        self._url = (parts.scheme.encode(), (parts.hostname or "").encode("idna"), parts.port)
        self._headers = [
            (b"Host", parts.netloc.encode("idna")),
            (b"X-Wax-Key", settings.api_key.header()),
            (b"User-Agent", _user_agent()),
            (b"Accept", b"application/json"),
        ]
        self._settings = settings
        self._tls = _tls(settings)
        self._proxy = _proxy(settings.proxy_url())
        self._todo, self._done = _queues()
        self._threads = 0
        self.in_flight = 0

    def send(self, request: Request) -> None:
        """Send a request as soon as a thread is free."""
        self.in_flight += 1
        if self.in_flight > self._threads < self._settings.concurrency:
            self._threads += 1
            # A daemon thread: one that hangs in the network does not keep the process alive.
            threading.Thread(
                target=self._work, args=(self._todo, self._done), name="waxlocal-send", daemon=True
            ).start()
        self._todo.put(request)

    def collect(self, timeout: float) -> list[tuple[Request, Answer]]:
        """Return the responses received so far; waits up to `timeout` seconds for the first."""
        answers: list[tuple[Request, Answer]] = []
        try:
            answers.append(self._done.get(timeout > 0, timeout))
            if self.in_flight >= MANY:
                # More are about to arrive; stored together they need one commit instead of ten.
                time.sleep(GATHER_S)
            while True:
                answers.append(self._done.get(False))
        except queue.Empty:
            self.in_flight -= len(answers)
            return answers

    def forget(self) -> None:
        """Give up the requests in flight: their responses are not collected."""
        self.close()
        self._todo, self._done = _queues()
        self.in_flight = 0

    def close(self) -> None:
        """Let the threads end; one that waits for a response ends when it has it."""
        with suppress(queue.Empty):
            while True:
                self._todo.get(False)
        for _ in range(self._threads):
            self._todo.put(None)
        self._threads = 0

    def _work(self, todo: _Todo, done: _Done) -> None:
        network = Network()
        pool = self._pool(network)
        try:
            while (request := todo.get()) is not None:
                network.begin(self._settings.request_timeout)
                answer = self._answer(pool, request)
                if not network.answered_once():
                    pool.close()  # it opens another connection when it needs one
                done.put((request, answer))
        finally:
            pool.close()

    def _pool(self, network: Network) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._tls,
            proxy=self._proxy,
            max_connections=1,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=network,
        )

    def _answer(self, pool: httpcore.ConnectionPool, request: Request) -> Answer:
        key = self._settings.api_key
        try:
            with pool.stream(
                request.method,
                self._target(request.path),
                headers=self._headers_of(request),
                content=request.body,
                extensions={"timeout": self._timeouts()},
            ) as response:
                body = _limited(response.iter_stream())
                headers = {
                    name.decode("latin-1").lower(): header_text(value, key)
                    for name, value in response.headers
                }
                return Answer(response.status, headers, body, "", key)
        except Exception as error:  # of the network, TLS, or a server without HTTP
            return Answer(None, {}, b"", plain_text(_told(error), key))

    def _target(self, path: str) -> httpcore.URL:
        scheme, host, port = self._url
        return httpcore.URL(
            scheme=scheme, host=host, port=port, target=(self._prefix + path).encode("ascii")
        )

    def _headers_of(self, request: Request) -> Sequence[tuple[bytes, bytes]]:
        own = [(name.encode(), value.encode()) for name, value in request.headers]
        if request.method == "GET":
            return [*self._headers, *own]
        return [*self._headers, (b"Content-Length", str(len(request.body)).encode()), *own]

    def _timeouts(self) -> dict[str, float]:
        settings = self._settings
        return {
            "connect": settings.connect_timeout,
            "read": settings.read_timeout,
            "write": settings.read_timeout,
            "pool": settings.connect_timeout,
        }


def check_network(settings: UploadSettings, environ: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigurationError` for certificates or a proxy that a `Sender` could not use."""
    settings.proxy_url(environ)
    _tls(settings, environ)


def _queues() -> tuple[_Todo, _Done]:
    return queue.SimpleQueue(), queue.SimpleQueue()


def _limited(chunks: Iterable[bytes]) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise httpcore.RemoteProtocolError("the response is larger than 8 MB")
    return bytes(body)


def _told(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    return words if isinstance(error, httpcore.ConnectError) else f"{type(error).__name__}: {words}"


def _user_agent() -> bytes:
    from waxlocal._version import __version__

    return f"waxlocal/{__version__}".encode()


def _proxy(url: str | None) -> httpcore.Proxy | None:
    """Return the proxy; httpcore takes user and password beside the address only."""
    if not url:
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore.Proxy(f"{parts.scheme}://{host}", auth=auth)


def _tls(settings: UploadSettings, environ: Mapping[str, str] | None = None) -> Any:
    if urlsplit(settings.api_url).scheme != "https":
        return None
    from waxlocal_daemon.tls import tls_context

    return tls_context(environ, settings.ca_file)
