"""One connection to the server, over which requests go one by one or several at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import httpcore

from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.answers import Answer, header_text, plain_text
from waxlocal_daemon.network import PROGRESS_BYTES, Deadline, Incoming, Route
from waxlocal_daemon.response import read_response

__all__ = ["Connection", "Request"]

# Common servers close an idle connection after 5 s: one that was idle for longer is not used again.
KEEP_ALIVE_S = 4.0
# The headers that a verdict reads.
_HEADERS = ("content-type", "retry-after")


class Request(NamedTuple):
    """One request: `path` is relative to the server's URL, `headers` come after the usual ones."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    # Returned with the response, for the caller; so is how often the circuit had opened before.
    about: Any = None
    openings: int = 0
    # Whether others may leave behind it before its response has come.
    joins: bool = False


class Connection:
    """A connection to the server, opened for the first request; for one thread.

    Follows no redirects and retries nothing. httpcore, whose streams it uses, would take five times
    as long for a request, which was half of the upload.
    """

    def __init__(self, route: Route, settings: UploadSettings) -> None:
        self._route = route
        self._settings = settings
        self._head = (
            b" HTTP/1.1\r\nHost: %b\r\nX-Wax-Key: %b\r\nUser-Agent: %b\r\n"
            b"Accept: application/json\r\nAccept-Encoding: identity\r\n%b"
        ) % (route.authority, settings.api_key.header(), _user_agent(), route.headers)
        self._deadline = Deadline(settings.request_timeout)
        self._stream: httpcore.NetworkStream | None = None
        self._incoming: Incoming | None = None
        self._used_at = 0.0
        # Whether the connection of the last exchange ended without a word of the server.
        self.was_lost = False

    @property
    def is_open(self) -> bool:
        """Whether the next request goes over the same connection."""
        return self._stream is not None

    def exchange(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Send requests at once, and give each response as it comes.

        Gives fewer if the connection ends before. If it ended without a word of the server
        (`was_lost`), the last answer is the failure. Requests without an answer may have reached
        the server, or not have left.
        """
        self.was_lost = False
        self._deadline.go_on()
        unanswered = len(requests)
        try:
            stream, incoming = self._opened()
            with suppress(httpcore.WriteError):  # it may have answered before it closed
                self._send(stream, requests)
            for _ in requests:
                answer, last = self._answer(incoming)
                unanswered -= 1
                yield answer
                if last:
                    break
                self._deadline.go_on()
            # A second copy of a response would be taken for the response to the next request.
            if last or not incoming.is_empty() or _undecrypted(stream):
                self.close()
        except Exception as error:  # of the network, TLS, or a server without HTTP
            # Where no connection was to be had, nothing was lost.
            self.was_lost = self.is_open
            self.close()
            if unanswered:
                key = self._settings.api_key
                yield Answer(None, {}, b"", plain_text(_in_words(error), key))
        self._used_at = time.monotonic()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        stream, self._stream, self._incoming = self._stream, None, None
        if stream is not None:
            stream.close()

    def _opened(self) -> tuple[httpcore.NetworkStream, Incoming]:
        if self._stream is not None and (
            time.monotonic() - self._used_at > KEEP_ALIVE_S
            # Either the end of the connection, or a response to nothing.
            or self._stream.get_extra_info("is_readable")
        ):
            self.close()
        if self._stream is None or self._incoming is None:
            self._stream = self._route.connect(self._deadline)
            timeout = self._settings.read_timeout
            self._incoming = Incoming(self._stream, self._deadline, timeout)
        return self._stream, self._incoming

    def _send(self, stream: httpcore.NetworkStream, requests: Sequence[Request]) -> None:
        if len(requests) == 1 and len(requests[0].body) > PROGRESS_BYTES:
            parts = [self._head_of(requests[0]), requests[0].body]
        else:
            parts = [b"".join(self._head_of(one) + one.body for one in requests)]
        for part in parts:
            for start in range(0, len(part), PROGRESS_BYTES):
                timeout = self._deadline.left(self._settings.read_timeout)
                stream.write(part[start : start + PROGRESS_BYTES], timeout)
                self._deadline.go_on()

    def _head_of(self, request: Request) -> bytes:
        target = self._route.prefix + request.path.encode("ascii")
        own = "".join(f"{name}: {value}\r\n" for name, value in request.headers).encode("ascii")
        if request.method != "GET":
            own = b"Content-Length: %d\r\n%b" % (len(request.body), own)
        return b"%b %b%b%b\r\n" % (request.method.encode("ascii"), target, self._head, own)

    def _answer(self, incoming: Incoming) -> tuple[Answer, bool]:
        """Read the next response, and whether the connection is of no use after it."""
        key = self._settings.api_key
        response = read_response(incoming)
        headers = {
            name: header_text(response.headers[name], key)
            for name in _HEADERS
            if name in response.headers
        }
        return Answer(response.status, headers, response.body, "", key), response.closes


def _undecrypted(stream: httpcore.NetworkStream) -> int:
    """Return how many bytes TLS has received and not given out: no socket shows those."""
    tls = stream.get_extra_info("ssl_object")
    return 0 if tls is None else int(tls.pending())


def _in_words(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    return words if isinstance(error, httpcore.ConnectError) else f"{type(error).__name__}: {words}"


def _user_agent() -> bytes:
    from waxlocal._version import __version__

    return f"waxlocal/{__version__}".encode()
