"""The network under one connection: a deadline, and a look at what came in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

import httpcore

__all__ = ["Network"]

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
# A longer head is none that we would go on with.
_LONGEST_HEAD = 64 * 1024


class Network(httpcore.NetworkBackend):
    """The usual network, for one connection at a time.

    One deadline holds for everything between two calls of `begin`: the usual timeouts begin anew
    with each byte, and a server that drips could hold a thread for hours. And the bytes of the
    answer are counted: of one that is sent twice, the second copy would pass for the answer to the
    next request.
    """

    def __init__(self) -> None:
        self._usual = httpcore.SyncBackend()
        self._deadline = 0.0
        self._head = bytearray()
        self._received = 0

    def begin(self, seconds: float) -> None:
        """Begin with a request that has so much time."""
        self._deadline = time.monotonic() + seconds
        self.forget()

    def forget(self) -> None:
        """Count anew: what came until now was not the answer."""
        self._head.clear()
        self._received = 0

    def left(self, timeout: float | None) -> float:
        """Return how long an operation may take. Raises `httpcore.ReadTimeout`."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("no complete answer in time")
        return left if timeout is None else min(timeout, left)

    def count(self, data: bytes) -> bytes:
        """Note bytes that came in, and return them."""
        self._received += len(data)
        if len(self._head) < _LONGEST_HEAD:
            self._head += data
        return data

    def answered_once(self) -> bool:
        """Return whether exactly one answer came in: only then is the connection used again.

        An answer without Content-Length cannot be told from two.
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
        stream = self._usual.connect_tcp(
            host, port, self.left(timeout), local_address, socket_options
        )
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, network: Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._network.count(self._stream.read(max_bytes, self._network.left(timeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.left(timeout))

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
