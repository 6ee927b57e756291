"""The network layer of one connection: a deadline, and a count of the bytes received."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from typing import Any

import httpcore

__all__ = ["Network"]

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
# A request that gets on by as much has its whole time again: over 20 KB/s one may take minutes.
PROGRESS_BYTES = 16 * 1024
# What the system takes before the network does (twice as much, on Linux): by default it may be
# megabytes, and how the last of them get on cannot be seen.
UNSENT_BYTES = 128 * 1024
# The connection is not used again after a longer head.
_LONGEST_HEAD = 64 * 1024


class Network(httpcore.NetworkBackend):
    """The usual network, for one connection at a time.

    One deadline covers everything from `begin`, or from the last part of the request that was sent:
    httpcore's timeouts start again with each byte, so a server that answers slowly could hold a
    thread for hours. The bytes of the response are counted: if a server sent it twice, the second
    copy would be taken for the response to the next request.
    """

    def __init__(self) -> None:
        self._usual = httpcore.SyncBackend()
        self._seconds = self._deadline = 0.0
        self._head = bytearray()
        self._received = 0

    def begin(self, seconds: float) -> None:
        """Begin a request that may take this many seconds, once it is sent or gets on no more."""
        self._seconds = seconds
        self.go_on()
        self.forget()

    def go_on(self) -> None:
        """Give the request its time again: another part of it was sent."""
        self._deadline = time.monotonic() + self._seconds

    def forget(self) -> None:
        """Count from zero: the bytes so far were not the response."""
        self._head.clear()
        self._received = 0

    def left(self, timeout: float | None) -> float:
        """Return how long an operation may take. Raises `httpcore.ReadTimeout`."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("no complete answer in time")
        return left if timeout is None else min(timeout, left)

    def count(self, data: bytes) -> bytes:
        """Count received bytes, and return them."""
        self._received += len(data)
        if len(self._head) < _LONGEST_HEAD:
            self._head += data
        return data

    def answered_once(self) -> bool:
        """Return whether exactly one response was received; only then is the connection reused.

        Without a Content-Length, one response cannot be told from two.
        """
        end = self._head.find(_END_OF_HEAD)
        length = _CONTENT_LENGTH.search(self._head, 0, end + 2) if end >= 0 else None
        if length is None:
            return False
        return self._received == end + len(_END_OF_HEAD) + int(length[1])

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect as usual, before the deadline."""
        options = [*(socket_options or ()), (socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)]
        stream = self._usual.connect_tcp(host, port, self.left(timeout), local_address, options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, network: Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._network.count(self._stream.read(max_bytes, self._network.left(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PROGRESS_BYTES):
            part = buffer[start : start + PROGRESS_BYTES]
            self._stream.write(part, self._network.left(timeout))
            self._network.go_on()

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._network.forget()  # a proxy's answer to CONNECT
        stream = self._stream.start_tls(ssl_context, server_hostname, self._network.left(timeout))
        return _Stream(stream, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
