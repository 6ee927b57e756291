"""Reads one response of HTTP/1.1 from a connection: RFC 9112, sections 4 to 7.

`http.client` reads a head by the parser for mail, which takes five times as long as all else that
is done for a small request; a property test compares the two.
"""

from __future__ import annotations

import re
from typing import BinaryIO, NamedTuple

from httpcore import RemoteProtocolError

__all__ = ["MAX_BODY_BYTES", "Head", "Response", "read_head", "read_response"]

# More than any response of the API; a page of another server need not be read to its end.
MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_LINE = 64 * 1024
_MAX_LINES = 100
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?\r?\n")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = frozenset((204, 304))


class Head(NamedTuple):
    """Status and headers of a response; names in lower case, the last of several values counts."""

    status: int
    reason: str
    headers: dict[str, str]
    # Whether the connection is good for another request, if the body has an end of its own.
    stays_open: bool


class Response(NamedTuple):
    """A whole response; `closes`: whether the connection is of no use after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool


def read_response(incoming: BinaryIO) -> Response:
    """Read the next response to anything but HEAD and CONNECT.

    Raises `httpcore.RemoteProtocolError` for what is none, ends too early, or is larger than 8 MB.
    """
    head = read_head(incoming)
    coding = head.headers.get("transfer-encoding")
    length = head.headers.get("content-length")
    closes = not head.stays_open
    if head.status in _WITHOUT_BODY:
        body = b""
    elif coding is not None:  # it counts more than a length; with both, somebody is mistaken
        closes = closes or length is not None
        if coding.rpartition(",")[2].strip().lower() == "chunked":
            body = _chunks(incoming)
        else:
            body, closes = _rest(incoming), True
    elif length is not None:
        body = _exactly(incoming, _length(length))
    else:
        body, closes = _rest(incoming), True
    return Response(head.status, head.headers, body, closes)


def read_head(incoming: BinaryIO) -> Head:
    """Read the head of the next response that is none of 1xx, which only announce another one.

    Raises `httpcore.RemoteProtocolError`.
    """
    while True:
        line = incoming.readline(_MAX_LINE)
        found = _STATUS.fullmatch(line)
        if found is None:
            raise RemoteProtocolError(_no_status(line))
        minor, status = found[1], int(found[2])
        headers = _headers(incoming)
        if 100 <= status < 200 and status != _SWITCHING_PROTOCOLS:
            continue
        reason = line[13:].decode("latin-1").strip()
        return Head(status, reason, headers, _stays_open(headers, minor == b"1"))


def _no_status(line: bytes) -> str:
    if not line:
        return "the server closed the connection without a response"
    return f"not HTTP: {line[:80].decode('latin-1')!r}"


def _headers(incoming: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for _ in range(_MAX_LINES + 1):
        line = incoming.readline(_MAX_LINE)
        if line in (b"\r\n", b"\n"):
            return headers
        if not line.endswith(b"\n"):
            raise RemoteProtocolError("the head of the response is cut off, or has a line too long")
        text = line.decode("latin-1")
        if text[0] in " \t" and name:  # a value that goes on in the next line
            headers[name] += f" {text.strip()}"
            continue
        name, colon, value = text.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise RemoteProtocolError(f"a malformed header: {text[:80]!r}")
        name, value = name.lower(), value.strip()
        if name in ("content-length", "transfer-encoding", "connection") and name in headers:
            value = f"{headers[name]}, {value}"  # a list, whether in one line or in several
        headers[name] = value
    raise RemoteProtocolError(f"the response has more than {_MAX_LINES} headers")


def _stays_open(headers: dict[str, str], is_1_1: bool) -> bool:
    options = {one.strip().lower() for one in headers.get("connection", "").split(",")}
    # A server of HTTP/1.0 may mean to go on, but gains little by it.
    return is_1_1 and "close" not in options


def _length(text: str) -> int:
    """Return the length; a list of equal ones is that of a server that repeats itself."""
    given = {one.strip() for one in text.split(",")}
    (first, *others) = given
    if others or not _LENGTH.fullmatch(first):
        raise RemoteProtocolError(f"the length of the response is {text[:80]!r}")
    return int(first)


def _exactly(incoming: BinaryIO, length: int) -> bytes:
    if length > MAX_BODY_BYTES:
        raise _too_large()
    body = incoming.read(length)
    if len(body) < length:
        raise RemoteProtocolError(f"{length - len(body)} bytes of the response did not come")
    return body


def _rest(incoming: BinaryIO) -> bytes:
    body = incoming.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _chunks(incoming: BinaryIO) -> bytes:
    body = bytearray()
    while True:
        found = _CHUNK.fullmatch(incoming.readline(_MAX_LINE))
        if found is None:
            raise RemoteProtocolError("the response is cut off, or its chunks are malformed")
        size = int(found[1], 16)
        if not size:
            _headers(incoming)  # what is said after the body is of no use here
            return bytes(body)
        body += _exactly(incoming, size)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if incoming.readline(3) not in (b"\r\n", b"\n"):
            raise RemoteProtocolError("a chunk of the response is longer than it says")


def _too_large() -> RemoteProtocolError:
    return RemoteProtocolError("the response is larger than 8 MB")
