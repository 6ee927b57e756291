"""Clients that leave before their request or its response is complete: no fault of the server."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Scope

from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.web import OBSERVABILITY, OBSERVE, serving, spawned
from waxlocal.web.app import create_app
from waxlocal.web.engine import Engine
from waxlocal.web.middleware.guards import MAX_BODY
from waxlocal.web.middleware.request_log import CLIENT_LEFT, Counts, RequestLog
from waxlocal.web.server import address_of, listen, make_server
from waxlocal.wire.paths import BULK

pytestmark = pytest.mark.usefixtures("engine")

JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
HALF = "Content-Length: 1000"
CHUNKED = "Transfer-Encoding: chunked"
# What a client says before it leaves: the route, its headers, and the beginning of its body.
HALF_REQUESTS = {
    "a record": (f"POST {OBSERVE}/runs/start/", (JSON, HALF), b'{"agent_name"'),
    "a record in chunks": (f"POST {OBSERVE}/runs/start/", (JSON, CHUNKED), b'5\r\n{"age'),
    "a record without any body": (f"POST {OBSERVE}/runs/x/llm-calls/", (JSON, HALF), b""),
    "a batch": (f"POST {BULK}", ("Content-Type: application/x-ndjson", HALF), b'{"run"'),
    "a price": (f"PUT {OBSERVE}/model-costs/m/", (JSON, HALF), b'{"input'),
    "a form": ("POST /sync/retry", (FORM, HALF), b"al"),
}


class Lines:
    """The log lines of a server, and a way to wait for one."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._more = threading.Condition()

    def add(self, line: str) -> None:
        with self._more:
            self.all.append(line)
            self._more.notify_all()

    def wait_for(self, number: int) -> list[str]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.all) >= number, PATIENCE_S), self.all
            return self.all


def leave(address: str, sent: bytes, *, abruptly: bool, read: int = 0) -> None:
    """Send bytes, read so many of the response, and leave; abruptly, by a reset."""
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        while read > 0:
            read -= len(connection.recv(read))
        if abruptly:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def request(address: str, line: str, *headers: str) -> bytes:
    host = httpx.URL(address).netloc.decode()
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


@contextmanager
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that nothing is logged: by us, by uvicorn, or by asyncio."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("abruptly", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize(("line", "headers", "body"), HALF_REQUESTS.values(), ids=HALF_REQUESTS)
def test_a_client_that_leaves_while_it_sends_gets_a_line_and_no_traceback(
    db_path: Path,
    caplog: pytest.LogCaptureFixture,
    line: str,
    headers: tuple[str, ...],
    body: bytes,
    abruptly: bool,
) -> None:
    """Status 499, as in nginx; it is counted, and the next request is answered."""
    lines = Lines()
    with quiet(caplog), serving(db_path, log=lines.add) as client:
        address = str(client.base_url)
        leave(address, request(address, line, *headers) + body, abruptly=abruptly)
        (logged,) = lines.wait_for(1)
        assert re.search(rf"path={line.split()[1]} status=499 ms=[\d.]+ bytes=0$", logged)
        assert 'status="499"' in client.get("/metrics").text
        assert client.get("/healthz").status_code == 200


def test_a_client_that_leaves_while_its_refused_body_is_read_gets_the_refusal_in_the_log(
    db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The response was decided before it left."""
    lines = Lines()
    with quiet(caplog), serving(db_path, log=lines.add) as client:
        address = str(client.base_url)
        head = request(
            address, f"PUT {OBSERVE}/model-costs/m/", JSON, f"Content-Length: {MAX_BODY + 1}"
        )
        leave(address, head + b"[" * 1_000, abruptly=True)
        (logged,) = lines.wait_for(1)
    assert " status=413 " in logged


@pytest.mark.parametrize("read", [0, 1, 100_000])
def test_a_client_that_leaves_while_it_is_answered_gets_a_line_and_no_traceback(
    db_path: Path, caplog: pytest.LogCaptureFixture, read: int
) -> None:
    """The response was made, whoever reads it; the next request is answered."""
    with recorded(db_path) as to:
        run_id = to.run("s1", inputs={"message": "x" * 8_000_000})
    lines = Lines()
    with quiet(caplog), serving(db_path, log=lines.add) as client:
        address = str(client.base_url)
        path = f"{OBSERVABILITY}/runs/{run_id}/"
        leave(address, request(address, f"GET {path}"), abruptly=True, read=read)
        (logged,) = lines.wait_for(1)
        assert re.search(rf"path={path} status=(200|499) ", logged)
        assert client.get("/healthz").status_code == 200


def test_a_process_says_one_line_for_a_client_that_left(db_path: Path) -> None:
    """Nothing else is on stderr."""
    with recorded(db_path):
        pass
    with spawned("--access-log", db=db_path) as (process, address):
        sent = request(address, f"POST {OBSERVE}/runs/start/", JSON, HALF) + b"{"
        leave(address, sent, abruptly=True)
        assert process.stderr is not None
        line = process.stderr.readline()
        process.terminate()
        rest = process.communicate(timeout=PATIENCE_S)[1]
    assert " status=499 " in line
    assert rest == ""


def test_a_server_that_stops_answers_requests_whose_body_has_not_come(
    db_path: Path, caplog: pytest.LogCaptureFixture, engine: Engine
) -> None:
    """With 503, when their time is over, and without a traceback."""
    lines, started = Lines(), threading.Event()
    listener = listen("127.0.0.1", 0)
    app = create_app(db_path, log=lines.add)
    server = make_server(app, started=started.set, drain_s=1, engine=engine)
    thread = threading.Thread(target=server.run, args=([listener],))
    address = address_of(listener)
    halves = [request(address, line, *more) + body for line, more, body in HALF_REQUESTS.values()]
    with ExitStack() as stack:
        thread.start()
        assert started.wait(PATIENCE_S)
        url = httpx.URL(address)
        at = (str(url.host), url.port or 80)
        clients = [
            stack.enter_context(socket.create_connection(at, timeout=PATIENCE_S)) for _ in halves
        ]
        for client, half in zip(clients, halves, strict=True):
            client.sendall(half)
        while len(server.server_state.tasks) < len(halves):
            assert thread.is_alive()
        server.should_exit = True
        answers = [client.makefile("rb").read() for client in clients]
        thread.join(PATIENCE_S)
        listener.close()
    assert not thread.is_alive()
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert b"the server is stopping" in answer
    assert all(" status=503 " in line for line in lines.wait_for(len(halves)))
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("error", [OSError, ConnectionResetError, BrokenPipeError])
def test_a_server_that_reports_the_client_s_leaving_by_an_error_is_understood(
    caplog: pytest.LogCaptureFixture, error: type[OSError]
) -> None:
    """ASGI 2.4 allows it. uvicorn does not do it, so here the caller takes its place."""
    counts, lines = Counts(), Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        raise error

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "raw_path": b"/", "query_string": b"", "path": "/"}
    with quiet(caplog):
        asyncio.run(RequestLog(app, counts=counts, log=lines.add)(scope, receive, send))
    assert list(counts.requests) == [("", "", CLIENT_LEFT)]
    assert " status=499 " in lines.all[0]
