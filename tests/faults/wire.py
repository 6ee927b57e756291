"""HTTP/1.1 as the server reads and writes it, and the ways to break a connection."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from http.client import responses
from typing import Any, NamedTuple

__all__ = ["Answer", "BadRequest", "Head", "encode", "inflated", "read_body", "read_head", "reset"]

MAX_BODY_BYTES = 256 * 1024 * 1024
# l_onoff, l_linger: a close sends RST and throws away what has not been sent.
_NO_LINGER = struct.pack("ii", 1, 0)


class BadRequest(Exception):
    """A request that no server must accept, with the status to answer it with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(NamedTuple):
    """The part of a request before its body; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    length: int
    query: str = ""

    @property
    def key(self) -> str:
        """The idempotency key, empty when there is none."""
        return self.headers.get("idempotency-key", "")


class Answer(NamedTuple):
    """The parts of a response; a body of None gives one without content-length (204)."""

    status: int
    body: bytes | None
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Return the next request's head; raises BadRequest for a malformed one."""
    lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        raise BadRequest(400, f"no request line of HTTP/1.1: {lines[0]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name.lower() in headers:
            raise BadRequest(400, f"a malformed header, or one that comes twice: {line!r}")
        headers[name.lower()] = value.strip()
    if "host" not in headers:
        raise BadRequest(400, "no Host")
    path, _, query = parts[1].partition("?")
    return Head(parts[0], path, headers, _length(parts[0], headers), query)


def _length(method: str, headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(411, "a body without content-length")
    given = headers.get("content-length", "" if method == "POST" else "0")
    if not (given.isascii() and given.isdigit()):
        raise BadRequest(411, f"content-length: {given!r}")
    if int(given) > MAX_BODY_BYTES:
        raise BadRequest(413, "more than 256 MB")
    return int(given)


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """Return all of the body, as it came."""
    return await reader.readexactly(head.length) if head.length else b""


def inflated(head: Head, body: bytes) -> bytes:
    """Return the body without its content-encoding."""
    encoding = head.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise BadRequest(415, f"content-encoding: {encoding}")
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(400, f"no gzip: {error}") from None


def encode(answer: Answer, *, close: bool = False, longer: int = 0) -> bytes:
    """Return the bytes of a response; `longer` is added to what content-length should say."""
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.body is not None:
        lines.append(f"content-length: {len(answer.body) + longer}")
    if close:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (answer.body or b"")


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    sock: Any = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
