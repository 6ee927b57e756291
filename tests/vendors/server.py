"""The stand-in itself: it listens on loopback, in a thread of the test."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.faults.wire import BadRequest, Head, inflated, read_body, read_head
from tests.tools.patience import PATIENCE_S
from tests.vendors.answers import Asked, Refused, say
from tests.vendors.endpoint import CREATED, Endpoint
from tests.vendors.exchange import Exchange, Left
from tests.vendors.openai_chat import OPENAI
from tests.vendors.replies import Fault, Reply, Script
from tests.vendors.routes import MODELS, find, vendor_of

__all__ = ["Request", "VendorServer", "vendor_server"]

HOST = "127.0.0.1"
_BACKLOG = 1024


class Request(NamedTuple):
    """A request as it came in; names of headers in lower case; no JSON: a body of None."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any


class VendorServer:
    """Answers as the vendors' APIs do; all methods are for any thread.

    `requests` has each request, in the order in which they came; `failures` what went wrong in
    the stand-in itself.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests: list[Request] = []
        self.failures: list[str] = []
        self._script = Script()
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._release: asyncio.Event
        self._end: asyncio.Event
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="vendors")

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def bodies(self) -> list[Any]:
        """The JSON of each request, in order."""
        return [request.body for request in self.requests]

    @property
    def unasked(self) -> int:
        """How many queued replies nobody has asked for."""
        return self._script.left()

    def answer(self, *replies: Reply, model: str | None = None) -> None:
        """Answer the next requests so, one after the other; or the next ones for a model."""
        for reply in replies:
            self._script.add(reply, model)

    def always(self, model: str, reply: Reply) -> None:
        """Answer each request for a model so, unless a reply is queued for it."""
        self._script.set(model, reply)

    def release(self) -> None:
        """Let all answers go on that hang now."""
        self._loop.call_soon_threadsafe(self._let_go)

    def counts(self) -> dict[str, int]:
        """Return what can be waited for.

        Of the requests `received`, those `answered` to the end, those `left` by the client before
        that, and those `broken` as scripted; those `hanging` now; the `chunks` of all streams.
        """
        with self._changed:
            return dict(self._counts)

    def wait_for(self, *, patience_s: float | None = PATIENCE_S, **counts: int) -> None:
        """Wait until each of these counts is reached."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: all(self._counts[name] >= number for name, number in counts.items()),
                patience_s,
            )
        assert reached, f"{counts} not reached: {self.counts()}"

    def start(self) -> None:
        """Listen, and return when it does; raises OSError when the port is taken."""
        self._socket = _listen(self.port)
        self.port = self._socket.getsockname()[1]
        self._thread.start()
        assert self._listening.wait(PATIENCE_S)

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)

    # What an answer needs: see `House`.

    def tell(self, name: str, number: int = 1) -> None:
        """Count something, and wake those who wait for it."""
        with self._changed:
            self._counts[name] += number
            self._changed.notify_all()

    async def released(self) -> None:
        """Wait until the test lets hanging answers go on."""
        await self._release.wait()

    def _let_go(self) -> None:
        self._release.set()
        self._release = asyncio.Event()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._release, self._end = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(self._connect, sock=self._socket, backlog=_BACKLOG)
        self._listening.set()
        await self._end.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (Left, ConnectionError):
            self.tell("left")
        except (BadRequest, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            # The server stops. Python 3.11 prints a traceback for a connection that is cancelled.
            pass
        except Exception:
            self.failures.append(traceback.format_exc())
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve a request; return whether another may come on this connection."""
        try:
            head = await read_head(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False  # between requests, a client may go
        body = _json(inflated(head, await read_body(reader, head)))
        self.requests.append(Request(head.method, head.path, head.query, head.headers, body))
        number = len(self.requests)
        self.tell("received")
        exchange = Exchange(self, f"req_{number:08d}", reader, writer)
        again = await self._answer(exchange, head, body, number)
        return again and head.headers.get("connection", "").lower() != "close"

    async def _answer(self, exchange: Exchange, head: Head, body: Any, number: int) -> bool:
        if head.method == "GET" and head.path.startswith("/v1/models"):
            return await exchange.give(OPENAI, _models(head.path))
        found = find(head.path)
        if found is None or head.method != "POST":
            fault = Fault(404, f"The stand-in has no {head.method} {head.path}.")
            return await exchange.refuse(vendor_of(head.path, head.headers), fault)
        endpoint, names = found
        try:
            asked = _read(endpoint, body, names)
        except Refused as refused:
            return await exchange.refuse(endpoint.vendor, refused.fault)
        reply = self._script.choose(asked.model)
        return await exchange.answer(endpoint, asked, reply, say(asked, reply, number))


def _read(endpoint: Endpoint, body: Any, names: Mapping[str, str]) -> Asked:
    if not isinstance(body, dict):
        raise Refused("The body must be a JSON object.")
    try:
        return endpoint.read(body, names)
    except (AttributeError, KeyError, TypeError) as error:
        raise Refused(f"The request has a wrong form: {error!r}") from error


def _models(path: str) -> dict[str, Any]:
    name = path.removeprefix("/v1/models").strip("/")
    rows = [
        {"id": model, "object": "model", "created": CREATED, "owned_by": "stand-in"}
        for model in ([name] if name else MODELS)
    ]
    return rows[0] if name else {"object": "list", "data": rows}


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def vendor_server() -> Iterator[VendorServer]:
    """Run a stand-in for the length of the block; fails when something in it went wrong."""
    server = VendorServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.failures, "\n".join(server.failures)
