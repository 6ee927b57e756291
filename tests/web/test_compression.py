"""Responses in gzip: which, for whom, and that streams still arrive part by part."""

from __future__ import annotations

import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S, wait_until
from tests.tools.web import NO_TLS, OBSERVABILITY, OBSERVE, raw, serving, url_of
from waxlocal.web.live.streams import Streams
from waxlocal.web.middleware.compression import LEAST_BYTES, Compression
from waxlocal.web.pages.files import file_url
from waxlocal.web.server import address_of, listen, make_server

KEY = "a-key-of-forty-characters-for-this-test-"
LARGE = (
    "/",
    "/help",
    "/nowhere",
    "/?file=csv",
    "/sessions/talk?file=html",
    file_url("app.css"),
    file_url("app.js"),
    f"{OBSERVABILITY}/sessions/",
    f"{OBSERVABILITY}/sessions/talk/",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve thirty sessions, one of them of thirty turns."""
    path = tmp_path_factory.mktemp("compression") / "waxlocal.db"
    with recorded(path) as to:
        for number in range(30):
            for session in ("talk", f"other-{number}"):
                to.run(session, at=number * 60.0, inputs={"message": f"question {number}"},
                       result={"response": "an answer of some words"})  # fmt: skip
    with serving(path) as client:
        yield client


def asked(client: httpx.Client, path: str, accept: str, method: str = "GET") -> httpx.Response:
    """Ask for a path with this `Accept-Encoding`."""
    return client.request(method, path, headers={"Accept-Encoding": accept})


def steady(body: str) -> str:
    """Return a page without what differs from one second to the next."""
    return "\n".join(line for line in body.splitlines() if " ago" not in line)


@pytest.mark.parametrize("path", LARGE)
def test_what_is_large_comes_in_gzip_where_it_is_accepted(client: httpx.Client, path: str) -> None:
    """Pages, JSON, files and the style sheet: a third of the bytes, and the same content."""
    # On a busy machine the first answer may come without its totals.
    wait_until(lambda: "Computing" not in asked(client, path, "identity").text)
    packed, plain = asked(client, path, "br, gzip"), asked(client, path, "identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert {one.headers["vary"] for one in (packed, plain)} == {"Accept-Encoding"}
    assert packed.num_bytes_downloaded < plain.num_bytes_downloaded / 2
    assert steady(packed.text) == steady(plain.text)
    assert packed.status_code == plain.status_code
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert packed.headers["cache-control"] == plain.headers["cache-control"]
    assert packed.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("accept", ["", "identity", "br", "gzip;q=0", "br, gzip; q=0.000, *;q=1"])
def test_nobody_gets_gzip_who_does_not_accept_it(client: httpx.Client, accept: str) -> None:
    """A weight of nothing is a refusal."""
    assert "content-encoding" not in asked(client, "/help", accept).headers


def test_a_client_that_names_no_coding_gets_the_plain_body(client: httpx.Client) -> None:
    """As programs do that write their requests themselves."""
    host = url_of(client).removeprefix("http://")
    request = f"GET /help HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = raw(url_of(client), request.encode())
    assert b"content-encoding" not in answer.lower()
    assert b"<h1>Help</h1>" in answer


def test_a_small_answer_is_not_compressed(client: httpx.Client) -> None:
    """It would need a packet, too."""
    answer = asked(client, "/live/status", "gzip")
    assert len(answer.content) < LEAST_BYTES
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/help", f"{OBSERVABILITY}/sessions/"])
def test_head_tells_what_get_would(client: httpx.Client, path: str) -> None:
    """The length is that of the compressed body."""
    head, whole = (asked(client, path, "gzip", method) for method in ("HEAD", "GET"))
    assert head.content == b""
    assert head.headers["content-encoding"] == "gzip"
    assert int(head.headers["content-length"]) == whole.num_bytes_downloaded


def test_the_page_that_asks_for_the_key_is_never_compressed(tmp_path: Path) -> None:
    """However much of what a stranger has chosen stands on it."""
    with serving(tmp_path / "waxlocal.db", key=KEY) as client:
        answer = client.get("/login", params={"next": "/" + "x" * 5_000})
        assert answer.status_code == 200
        assert len(answer.content) > LEAST_BYTES
        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers


def test_what_programs_record_is_answered_plainly(client: httpx.Client) -> None:
    """The fast path is not slowed down, not even by a header."""
    body = {"agent_name": "x" * 2_000, "inputs": {}, "metadata": {}}
    answer = client.post(f"{OBSERVE}/runs/start/", json=body, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code < 300
    assert not {"content-encoding", "vary"} & set(answer.headers)


@contextmanager
def streaming(media_type: str) -> Iterator[tuple[str, threading.Event]]:
    """Serve a stream of two parts, the second one after the event; yields its address and that."""
    go_on = threading.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first\n"
        await anyio.to_thread.run_sync(go_on.wait, PATIENCE_S)
        yield b"second\n"

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(parts(), media_type=media_type)

    app = Starlette(routes=[Route("/", stream)], middleware=[Middleware(Compression)])
    app.state.streams = Streams(Path(), most=0)  # which a server ends when it stops
    started, listener = threading.Event(), listen("127.0.0.1", 0)
    server = make_server(app, started=started.set)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        yield address_of(listener), go_on
    finally:
        go_on.set()
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


@pytest.mark.parametrize(
    ("media_type", "coding"), [("text/csv", "gzip"), ("text/event-stream", None)]
)
def test_each_part_of_a_stream_leaves_at_once(media_type: str, coding: str | None) -> None:
    """It can be read before the next one is made; events are not compressed at all."""
    with streaming(media_type) as (address, go_on):
        headers = {"Accept-Encoding": "gzip"}
        with (
            httpx.Client(timeout=PATIENCE_S, verify=NO_TLS) as client,
            client.stream("GET", address, headers=headers) as answer,
        ):
            assert answer.headers.get("content-encoding") == coding
            unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
            read, text = answer.iter_raw(), b""
            while b"first\n" not in text:
                text += unpack.decompress(next(read)) if coding else next(read)
            assert text == b"first\n"
            go_on.set()
            for part in read:
                text += unpack.decompress(part) if coding else part
            assert text == b"first\nsecond\n"
