"""A page as a stream: `live=stream` in its query string, and what changes on it from then on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from waxlocal.errors import NotFound, ObserveError
from waxlocal.web.api.problems import Problem
from waxlocal.web.auth import port_of
from waxlocal.web.live.parts import Changes, Snapshot
from waxlocal.web.live.streams import LivePage, Streams
from waxlocal.web.root_path import path_of, root_of

__all__ = ["HEARTBEAT_S", "streamed"]

Endpoint = Callable[[Request], Awaitable[Response]]

# Seconds after which an empty line shows both sides that the other is there. A proxy such as nginx
# closes a connection without data after 60.
HEARTBEAT_S = 15.0
# A page on which something computes or runs is looked at again after this many seconds: figures
# that are ready and processes that were killed announce nothing.
LOOK_AGAIN_S = {"waiting": 1.0, "running": 15.0}
# Lists and figures may be those that were kept when the file changed, for twenty times as long as
# they took and a minute at most: seconds after the last change at which a page is looked at again.
SETTLED_S = (2.0, 5.0, 15.0, 30.0, 65.0)
# Seconds after which a browser that got no stream asks again.
ASK_AGAIN_S = 60
_HEADERS = {
    # no-transform: whatever compresses or collects responses on the way must let this one through
    # as it is, since a browser would see a change only once a block is full. nginx needs the other.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


def streamed(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint of a page, which can also be a stream."""

    async def page(request: Request) -> Response:
        if request.method != "GET" or request.query_params.get("live") != "stream":
            return await endpoint(request)
        return await _stream(request, endpoint)

    return page


async def _stream(request: Request, endpoint: Endpoint) -> Response:
    streams: Streams = request.app.state.streams
    client = request.headers.get("waxlocal-browser", "")[:40] or _address(request)
    if streams.has_room(client):
        opened = _Opened(request, endpoint, streams)
        # Raises: a page that is not there has no stream.
        first = await opened.state(streams.clock())
        if streams.has_room(client):  # others may have come meanwhile
            return _Streaming(opened, first, streams, client)
    # To a browser, 204 is no error: the page asks from time to time, as without streams.
    return Response(None, 204, {"Retry-After": str(ASK_AGAIN_S)})


class _Streaming(StreamingResponse):
    """A response that is counted while it lasts."""

    def __init__(self, opened: _Opened, first: Snapshot, streams: Streams, client: str) -> None:
        super().__init__(opened.events(first), media_type="text/event-stream", headers=_HEADERS)
        self._page = opened.page
        self._streams = streams
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client leaves or the stream ends."""
        with self._streams.opened(self._client, self._page):
            await super().__call__(scope, receive, send)


class _Opened:
    """A page that somebody has open."""

    def __init__(self, request: Request, endpoint: Endpoint, streams: Streams) -> None:
        self._request = request
        self._endpoint = endpoint
        self._streams = streams
        self._query = _query_of(request)
        key = (root_of(request.scope), path_of(request.scope), self._query)
        self.page: LivePage = streams.page(key)

    async def state(self, since: float) -> Snapshot:
        """Return the state of the page, not older than that; raises as the page does."""
        return await self.page.state(since, self._render)

    async def _render(self) -> str:
        scope = {**self._request.scope, "query_string": self._query.encode("ascii")}
        answer = await self._endpoint(Request(scope))
        return bytes(answer.body).decode("utf-8")

    async def events(self, now: Snapshot) -> AsyncIterator[bytes]:
        """Yield events and heartbeats until the page is gone, its reader, or the server."""
        known = self._known(now)
        # At once, so that a page knows whether anything on the way keeps the stream to itself.
        yield b":\n\n"
        while not self._is_over():
            if changes := now.since(known):
                yield _event(now, changes)
            known = now.marks
            due = await self._due(now)
            if due is None:
                yield b":\n\n"
                continue
            try:
                now = await self.state(due)
            except NotFound:
                yield b"event: gone\ndata: {}\n\n"
                return
            except (ObserveError, Problem):
                # Busy, for example. Not until the next change: there may be many a second.
                await asyncio.sleep(LOOK_AGAIN_S["waiting"])

    def _known(self, now: Snapshot) -> Collection[str]:
        """Return the marks that the client has: without any, it is told of changes from now on."""
        given = self._request.headers.get("waxlocal-marks", "")
        last = self._request.headers.get("last-event-id")
        if given and last != now.id:
            return dict.fromkeys(given.split(","))
        return now.marks if last in (None, now.id) else ()

    def _is_over(self) -> bool:
        if self._streams.is_closing:
            return True
        headers = dict(self._request.headers.raw)
        # The login of a browser ends after a week, and a key may be withdrawn.
        return not self._request.app.state.auth.admits(headers, port_of(self._request.scope))

    async def _due(self, now: Snapshot) -> float | None:
        """Wait until the page may have changed; return since when, None if a heartbeat is due."""
        watch, clock = self._streams.watch, self._streams.clock
        heartbeat = clock() + HEARTBEAT_S
        while not self._streams.is_closing:
            due = self._due_at(now)
            if clock() >= due:
                return due
            if clock() >= heartbeat:
                break
            await watch.wait(min(due, heartbeat) - clock())
        return None

    def _due_at(self, now: Snapshot) -> float:
        made, changed = self.page.made_at, self._streams.watch.changed_at
        if made > now.made_at:  # another stream of the page was first
            return now.made_at
        if made <= changed:
            return self._streams.next_at(self.page)
        later = [changed + seconds for seconds in SETTLED_S if changed + seconds > made]
        if now.refresh <= 1:
            later.append(made + LOOK_AGAIN_S["waiting"])
        elif now.refresh <= 2:
            later.append(made + LOOK_AGAIN_S["running"])
        return max(min(later, default=float("inf")), self._streams.next_at(self.page))


def _event(now: Snapshot, changes: Changes) -> bytes:
    said = {"refresh": now.refresh, **changes.as_dict()}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return f"id: {now.id}\nevent: change\ndata: {text}\n\n".encode("utf-8", "replace")


def _query_of(request: Request) -> str:
    """Return the query string that gives the live parts of this page."""
    left_out = ("live", "part", "file")  # other forms of the page
    given = [pair for pair in request.query_params.multi_items() if pair[0] not in left_out]
    return urlencode([*given, ("live", "1")], errors="replace")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
