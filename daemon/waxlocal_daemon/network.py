"""The way to the server: direct or through a proxy, with or without TLS, within a deadline."""

from __future__ import annotations

import base64
import io
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import httpcore

from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.response import read_head

__all__ = ["Deadline", "Incoming", "Route", "check_network"]

# A request that gets on by as much has its whole time again: over 20 KB/s one may take minutes.
PROGRESS_BYTES = 16 * 1024
# What the system takes before the network does (twice as much, on Linux): by default it may be
# megabytes, and how the last of them get on cannot be seen.
UNSENT_BYTES = 128 * 1024
_PORTS = {"http": 80, "https": 443}


class Deadline:
    """How long a request may take without getting on.

    A timeout of the socket starts again with each byte, so a server that answers slowly could hold
    a thread for hours.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.go_on()

    def go_on(self) -> None:
        """Give the request its time again: another part of it was sent, or answered."""
        self._end = time.monotonic() + self._seconds

    def left(self, timeout: float) -> float:
        """Return how long an operation may take. Raises `httpcore.ReadTimeout`."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("no complete answer in time")
        return min(timeout, left)


class Route:
    """How the server is reached. Raises `ConfigurationError` for a proxy or certificates."""

    def __init__(self, settings: UploadSettings, environ: Mapping[str, str] | None = None) -> None:
        server, proxy = urlsplit(settings.api_url), settings.proxy_url(environ)
        self._proxy = urlsplit(proxy) if proxy else None
        self._connect_timeout = settings.connect_timeout
        self._secure = server.scheme == "https"
        self._server = _place(server)
        self.authority = server.netloc.encode("ascii")
        self.prefix = server.path.rstrip("/").encode("ascii")
        self.headers = b""
        if self._proxy is not None and not self._secure:
            # A proxy that forwards is asked for the whole URL, and told each time who asks.
            self.prefix = b"http://" + self.authority + self.prefix
            self.headers = _authorization(self._proxy)
        self._tls: Any = None
        if self._secure or (self._proxy is not None and self._proxy.scheme == "https"):
            from waxlocal_daemon.tls import tls_context

            self._tls = tls_context(environ, settings.ca_file)
            self._tls.set_alpn_protocols(["http/1.1"])

    def connect(self, deadline: Deadline) -> httpcore.NetworkStream:
        """Return a connection to the server, or to the proxy that forwards to it."""
        proxy = self._proxy
        host, port = self._server if proxy is None else _place(proxy)
        options = [
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES),
        ]
        seconds = deadline.left(self._connect_timeout)
        stream = httpcore.SyncBackend().connect_tcp(host, port, seconds, None, options)
        try:
            if proxy is not None and proxy.scheme == "https":
                stream = self._with_tls(stream, host, deadline)
            if self._secure:
                if proxy is not None:
                    self._tunnel(stream, proxy, deadline)
                stream = self._with_tls(stream, self._server[0], deadline)
        except BaseException:
            stream.close()
            raise
        return stream

    def _with_tls(
        self, stream: httpcore.NetworkStream, name: str, deadline: Deadline
    ) -> httpcore.NetworkStream:
        return stream.start_tls(self._tls, name, deadline.left(self._connect_timeout))

    def _tunnel(
        self, stream: httpcore.NetworkStream, proxy: SplitResult, deadline: Deadline
    ) -> None:
        """Have the proxy connect to the server. Raises `httpcore.ProxyError` if it does not."""
        host, port = self._server
        server = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        lines = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n"
        asked = lines % (server, server, _authorization(proxy))
        stream.write(asked, deadline.left(self._connect_timeout))
        answer = read_head(Incoming(stream, deadline, self._connect_timeout))
        if not 200 <= answer.status < 300:
            raise httpcore.ProxyError(f"{answer.status} {answer.reason}")


def check_network(settings: UploadSettings, environ: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigurationError` for certificates or a proxy that the upload could not use."""
    Route(settings, environ)


def _place(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _PORTS[url.scheme]


class Incoming(io.BufferedReader):
    """What comes in over a connection."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline, timeout: float) -> None:
        self._bytes = _Bytes(stream, deadline, timeout)
        super().__init__(self._bytes)

    def is_empty(self) -> bool:
        """Return whether all that was received has been read."""
        self._bytes.paused = True
        try:
            return not self.peek(1)
        finally:
            self._bytes.paused = False


class _Bytes(io.RawIOBase):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline, timeout: float) -> None:
        super().__init__()
        self._stream = stream
        self._deadline = deadline
        self._timeout = timeout
        # Whether nothing more is to be received just now.
        self.paused = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.paused:
            return None
        data = self._stream.read(len(buffer), self._deadline.left(self._timeout))
        buffer[: len(data)] = data
        return len(data)


def _authorization(proxy: SplitResult | None) -> bytes:
    """Return the header that tells a proxy who asks, with its end of line; empty without a user."""
    if proxy is None or not proxy.username:
        return b""
    who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(who)
