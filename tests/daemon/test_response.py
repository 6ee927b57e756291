"""Where a response ends and what it says: the rules of RFC 9112, as `http.client` reads them."""

from __future__ import annotations

import http.client
import io
from contextlib import suppress
from typing import Any

import pytest
from httpcore import RemoteProtocolError
from hypothesis import given
from hypothesis import strategies as st

from waxlocal_daemon.response import MAX_BODY_BYTES, read_response

BEHIND = b"HTTP/1.1 200"
NAMES = st.sampled_from(["Content-Type", "Retry-After", "X-A", "date", "SERVER"])
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20)
# `http.client` takes these two for the end of a line within a value.
PLAIN = VALUES.filter(lambda text: not set(text) & {"\x85", "\x1c"})
HEADERS = st.lists(st.tuples(NAMES, PLAIN), max_size=6, unique_by=lambda one: one[0].lower())
BODIES = st.binary(max_size=200)
STATUSES = st.sampled_from([200, 201, 204, 304, 400, 404, 422, 500, 503])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Give a valid response, its body in one of the three ways."""
    status, body = draw(STATUSES), draw(BODIES)
    lines = [f"HTTP/1.1 {status} {draw(st.sampled_from(['OK', '', 'Not so good']))}"]
    gap = draw(st.sampled_from(["", " ", "  "]))
    lines += [f"{name}:{gap}{text}" for name, text in draw(HEADERS)]
    # These have no body, which `http.client` does not know of chunks.
    without = status in (204, 304)
    way = "close" if without else draw(st.sampled_from(["length", "chunks", "close"]))
    if way == "length":
        lines.append(f"content-length: {len(body)}")
    elif way == "chunks":
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(_chunk(piece) for piece in draw(st.lists(BODIES.filter(bool)))) + (
            b"0\r\n" + draw(st.sampled_from([b"", b"x-late: 1\r\n"])) + b"\r\n"
        )
    if without:
        body = b""
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    announced = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return announced + head + body


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class _Socket:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def by_the_library(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return what `http.client` reads."""
    sock: Any = _Socket(raw)
    response = http.client.HTTPResponse(sock, method="POST")
    response.begin()
    headers = {name.lower(): value.strip() for name, value in response.getheaders()}
    return response.status, headers, response.read()


@given(responses())
def test_a_valid_response_is_read_as_the_library_reads_it(raw: bytes) -> None:
    """Status, headers and body."""
    found = read_response(io.BytesIO(raw))
    assert (found.status, found.headers, found.body) == by_the_library(raw)


@given(responses())
def test_nothing_is_read_of_what_follows(raw: bytes) -> None:
    """The next response begins where this one ends, unless only the connection ends it."""
    incoming = io.BytesIO(raw + BEHIND)
    found = read_response(incoming)
    if not found.closes:
        assert incoming.read() == BEHIND


@given(responses(), st.data())
def test_a_response_that_was_cut_off_is_never_whole(raw: bytes, data: st.DataObject) -> None:
    """Unless its end is the end of the connection: then nothing can tell."""
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        found = read_response(io.BytesIO(cut))
    except RemoteProtocolError:
        return
    assert found.closes


@given(st.binary(max_size=300) | responses().map(lambda raw: raw.replace(b"\r\n", b"\n\r", 1)))
def test_any_bytes_are_a_response_or_an_error(raw: bytes) -> None:
    """No other exception, whatever a server sends."""
    with suppress(RemoteProtocolError):
        assert read_response(io.BytesIO(raw)).status >= 100


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "without a response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "not HTTP"),
        (HEAD + b"content-length: 3, 4\r\n\r\nabcd", "the length"),
        (HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "the length"),
        (HEAD + b"content-length: -1\r\n\r\n", "the length"),
        (HEAD + b"content-length: +3\r\n\r\nabc", "the length"),
        (HEAD + b"content-length: 1_0\r\n\r\n0123456789", "the length"),
        (HEAD + "content-length: \u00b2\r\n\r\n".encode("latin-1"), "the length"),
        (HEAD + b"content-length : 3\r\n\r\nabc", "malformed header"),
        (HEAD + b"no colon\r\n\r\n", "malformed header"),
        (HEAD + b" folded: 1\r\n\r\n", "malformed header"),
        (HEAD + b"a: " + b"b" * 70_000 + b"\r\n\r\n", "too long"),
        (HEAD + b"a: b\r\n" * 101 + b"\r\n", "more than 100 headers"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n", "chunks"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n", "chunks"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "longer than it says"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n", "larger than 8 MB"),
        (HEAD + b"content-length: 99999999999\r\n\r\n", "larger than 8 MB"),
        (HEAD + b"\r\n" + bytes(MAX_BODY_BYTES + 1), "larger than 8 MB"),
    ],
)
def test_what_is_no_response_is_told(raw: bytes, why: str) -> None:
    """What two readers could understand differently is refused, as RFC 9112 has it."""
    with pytest.raises(RemoteProtocolError, match=why):
        read_response(io.BytesIO(raw))


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"1.1 200\r\ncontent-length: 0\r\n\r\n", False),
        (b"1.1 200 OK\r\ncontent-length: 0, 0\r\n\r\n", False),
        (b"1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", False),
        (b"1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", False),
        (b"1.1 200 OK\r\nConnection: Keep-Alive, Close\r\ncontent-length: 0\r\n\r\n", True),
        (b"1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
        (b"1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", True),
        (b"1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", True),
        (b"1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", True),
    ],
)
def test_whether_the_connection_is_of_use_afterwards(head: bytes, closes: bool) -> None:
    """Only where both sides know where the response ends, and the server goes on."""
    assert read_response(io.BytesIO(b"HTTP/" + head)).closes is closes
