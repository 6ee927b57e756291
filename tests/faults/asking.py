"""A plain client: single requests, on connections of their own and bare ones."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

from tests.faults.ledger import BULK_PATH, START_PATH
from tests.faults.server import FaultServer
from tests.tools.patience import PATIENCE_S
from waxlocal.wire.paths import OBSERVE, stage_path

__all__ = [
    "BREAKS",
    "CALLS",
    "END",
    "START",
    "Reply",
    "connected",
    "get",
    "head_bytes",
    "is_stored",
    "line",
    "next_key",
    "of_stage",
    "patiently",
    "post",
    "post_bulk",
    "request_bytes",
    "send_run",
    "until_closed",
    "until_reset",
]

# Seconds; reached only when something hangs that must not.
START = {"agent_name": "a", "workflow_name": "w", "inputs": {}, "metadata": {}, "trace_id": ""}
CALLS = {"calls": [{"model": "gpt-4o"}, {"model": "gpt-4o-mini"}]}
END = {"result": {}, "status": "success", "error": "", "steps": []}
BREAKS = (ConnectionError, http.client.HTTPException)

_numbers = count()


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    text: bytes

    @property
    def body(self) -> Any:
        """The JSON value of it."""
        return json.loads(self.text)


def next_key() -> str:
    """Return a key that no test has used."""
    return f"key-{next(_numbers)}"


def post(server: FaultServer, path: str, body: Any, key: str = "", **headers: str) -> Reply:
    """Send a request on a connection of its own."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "X-Wax-Key": "k"}
    sent |= {"Idempotency-Key": key} if key else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return _ask(server, "POST", path, data, sent)


def get(server: FaultServer, path: str) -> Reply:
    """Send a GET on a connection of its own."""
    return _ask(server, "GET", path, None, {})


def _ask(
    server: FaultServer, method: str, path: str, data: bytes | None, headers: dict[str, str]
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@contextmanager
def connected(server: FaultServer) -> Iterator[socket.socket]:
    """Open a bare connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
        yield sock


def request_bytes(key: str, body: bytes | None = None, *more: str) -> bytes:
    """Return the bytes of a request that starts a run."""
    body = json.dumps(START).encode() if body is None else body
    return head_bytes(key, len(body), *more) + body


def head_bytes(key: str, length: int, *more: str) -> bytes:
    """Return the head of a request that starts a run."""
    lines = [
        f"POST {START_PATH} HTTP/1.1",
        "Host: here",
        "Content-Type: application/json",
        f"Idempotency-Key: {key}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join((*lines, "", "")).encode()


def until_closed(sock: socket.socket) -> bytes:
    """Return all that comes before FIN."""
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def until_reset(sock: socket.socket) -> bytes:
    """Return all that comes before RST; FIN instead of it is a failure."""
    found = b""
    try:
        while data := sock.recv(65536):
            found += data
    except ConnectionResetError:
        return found
    raise AssertionError(f"closed in good order after {found!r}")


def is_stored(server: FaultServer, key: str) -> bool:
    """Tell whether a request with this key was carried out."""
    return any(found["key"] == key and found["stored"] for found in server.state()["keys"])


def of_stage(server: FaultServer, key: str, stage: str = "llm-calls", **more: Any) -> Reply:
    """Start a run and send one stage of it."""
    run_id = post(server, START_PATH, START, f"{key}-start").body["run_id"]
    return post(server, stage_path(stage, run_id), {**CALLS, **more}, key)


def patiently(server: FaultServer, path: str, body: Any, key: str) -> Any:
    """Send a request again until it has a usable answer, as a careful client does."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(*BREAKS, ValueError):
            reply = post(server, path, body, key)
            usable = reply.status in (200, 201) and isinstance(reply.body, dict)
            if usable and (path != START_PATH or isinstance(reply.body.get("run_id"), str)):
                return reply.body
    raise AssertionError(f"{path} was never accepted")


def send_run(server: FaultServer, local_id: str, **start: Any) -> dict[str, Any]:
    """Deliver a run with two calls."""
    body = {**START, "metadata": {"waxlocal": {"run_id": local_id}}, **start}
    ids: dict[str, Any] = patiently(server, START_PATH, body, f"{local_id}-start")
    of_run = f"{OBSERVE}/runs/{ids['run_id']}"
    patiently(server, f"{of_run}/llm-calls/", CALLS, f"{local_id}-calls")
    patiently(server, f"{of_run}/complete/", END, f"{local_id}-end")
    return ids


def line(run_id: str, calls: int = 1, status: str = "success") -> bytes:
    """Return a line of a bulk request."""
    made = [{"position": position, "model": "gpt-4o"} for position in range(calls)]
    return json.dumps({"run": {"run_id": run_id, "status": status}, "llm_calls": made}).encode()


def post_bulk(server: FaultServer, *lines: bytes, key: str = "") -> Reply:
    """Send runs in bulk."""
    body = b"\n".join(lines) + b"\n"
    return post(
        server,
        BULK_PATH,
        gzip.compress(body),
        key or hashlib.sha256(body).hexdigest(),
        Content_Type="application/x-ndjson",
        Content_Encoding="gzip",
    )
