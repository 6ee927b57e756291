"""One answer on its connection: whole or streamed, late, broken or hanging."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from tests.faults.wire import Answer, encode, reset
from tests.vendors.answers import Asked, Body, Said
from tests.vendors.endpoint import Endpoint, Vendor
from tests.vendors.replies import Fault, Reply

__all__ = ["Exchange", "House", "Left"]

_JSON = "application/json"


class Left(Exception):
    """The client has gone before the end of its answer."""


class House(Protocol):
    """What an answer needs of the server."""

    def tell(self, name: str, number: int = 1) -> None:
        """Count something."""

    async def released(self) -> None:
        """Wait until the test lets hanging answers go on."""


class Exchange:
    """Sends the answer to one request.

    Each way to send returns whether the connection can be used for another request, and raises
    Left when it notices that the client is gone: it looks whenever it waits.
    """

    def __init__(
        self,
        house: House,
        request_id: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._house = house
        self._request_id = request_id
        self._reader = reader
        self._writer = writer

    async def answer(self, endpoint: Endpoint, asked: Asked, reply: Reply, said: Said) -> bool:
        """Send the answer of an endpoint, as the reply says."""
        if reply.before_s:
            await self._or_left(asyncio.sleep(reply.before_s))
        if reply.fault is not None and reply.after is None:
            return await self.refuse(endpoint.vendor, reply.fault)
        headers = endpoint.headers(said)
        if asked.stream and endpoint.frames is not None:
            await self._head(endpoint, headers)
            return await self._stream(endpoint.vendor, endpoint.frames(asked, said), reply)
        return await self._whole(endpoint.vendor, endpoint.whole(asked, said), headers, reply)

    async def refuse(self, vendor: Vendor, fault: Fault) -> bool:
        """Send an error in the vendor's words."""
        headers = {**vendor.error_headers(fault), **fault.headers}
        body = vendor.error_body(fault, self._request_id)
        return await self._send(self._encoded(vendor, body, headers, fault.status))

    async def give(self, vendor: Vendor, body: Body) -> bool:
        """Send an answer that no reply changes."""
        return await self._send(self._encoded(vendor, body, {}, 200))

    async def _whole(
        self, vendor: Vendor, body: Body, headers: Mapping[str, str], reply: Reply
    ) -> bool:
        data = self._encoded(vendor, body, headers, 200)
        if reply.hangs_after is not None:
            await self._hang()
        if reply.breaks_after is not None:
            await self._push(data[: len(data) - len(json.dumps(body)) // 2])
            return self._break(reply)
        return await self._send(data)

    async def _stream(self, vendor: Vendor, frames: Iterator[bytes], reply: Reply) -> bool:
        # The empty chunk ends the body. What is due after more chunks than there are comes there.
        for sent, frame in enumerate(chain(frames, (b"",))):
            if sent and frame and reply.between_s:
                await self._or_left(asyncio.sleep(reply.between_s))
            if _is_due(reply.breaks_after, sent, frame):
                return self._break(reply)
            if _is_due(reply.hangs_after, sent, frame):
                await self._hang()
            if reply.fault is not None and _is_due(reply.after, sent, frame):
                await self._push(_chunk(vendor.error_frame(reply.fault, self._request_id)))
                break
            if frame:
                await self._push(_chunk(frame))
                self._house.tell("chunks")
        return await self._send(_chunk(b""))

    async def _head(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        lines = {
            "content-type": endpoint.stream_type,
            "cache-control": "no-cache",
            "transfer-encoding": "chunked",
            endpoint.vendor.id_header: self._request_id,
            **headers,
        }
        await self._push(encode(Answer(200, None, tuple(lines.items()))))

    def _encoded(
        self, vendor: Vendor, body: Body, headers: Mapping[str, str], status: int
    ) -> bytes:
        lines = {"content-type": _JSON, vendor.id_header: self._request_id, **headers}
        return encode(Answer(status, json.dumps(body).encode(), tuple(lines.items())))

    async def _send(self, data: bytes) -> bool:
        await self._push(data)
        self._house.tell("answered")
        return True

    async def _push(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def _break(self, reply: Reply) -> bool:
        if reply.reset:
            reset(self._writer)
        self._house.tell("broken")
        return False

    async def _hang(self) -> None:
        self._house.tell("hanging")
        try:
            await self._or_left(self._house.released())
        finally:
            self._house.tell("hanging", -1)

    async def _or_left(self, wait: Awaitable[None]) -> None:
        """Wait; a client that waits for its answer sends nothing, so what comes is its end."""
        waiting = asyncio.ensure_future(wait)
        leaving = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                raise Left
        finally:
            waiting.cancel()
            leaving.cancel()
            await asyncio.gather(waiting, leaving, return_exceptions=True)


def _is_due(after: int | None, sent: int, frame: bytes) -> bool:
    return after is not None and (sent == after or (not frame and sent < after))


def _chunk(data: bytes) -> bytes:
    """Return a chunk of an HTTP body without a length; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)
