"""What each kind of fault does on the wire."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from http.client import responses
from typing import Protocol

from tests.faults.rules import Rule
from tests.faults.wire import Answer, Head, encode, inflated, read_body, reset

__all__ = ["Exchange", "House", "misbehave"]

PORTAL = b"<!doctype html><html><title>Wi-Fi</title><body>Please log in to go on.</body></html>"
SHORT_BY = 100
# How long an early answer waits for the client to see it, so that no RST overtakes it.
LINGER_S = 1.0
DRIP_S = 0.01
DOWN_S = 0.2


class House(Protocol):
    """What a fault needs of the server it happens at."""

    @property
    def elsewhere(self) -> str:
        """The address of another origin, to which redirects lead."""

    def carry_out(self, head: Head, body: bytes, refuse: str = "") -> Answer:
        """Store what a request brings and return the usual answer."""

    def close_doors(self, seconds: float) -> None:
        """Refuse new connections for a time."""

    async def released(self) -> None:
        """Wait until the test lets hanging requests go."""


class Exchange:
    """One request on its connection; the body is None until it has been read."""

    def __init__(
        self,
        house: House,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.house = house
        self.head = head
        self.body: bytes | None = None
        self.reader = reader
        self.writer = writer
        self.status: int | None = None

    async def read_body(self) -> bytes:
        """Return the inflated body; raises BadRequest when it cannot be inflated."""
        if self.body is None:
            self.body = inflated(self.head, await read_body(self.reader, self.head))
        return self.body

    async def usual(self, refuse: str = "") -> Answer:
        """Carry the request out and return the answer that it would have without a fault."""
        return self.house.carry_out(self.head, await self.read_body(), refuse)

    async def send(self, answer: Answer, *, close: bool = False, longer: int = 0) -> None:
        """Send a response, and remember its status."""
        self.status = answer.status
        await self.push(encode(answer, close=close, longer=longer))

    async def push(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()


async def misbehave(exchange: Exchange, rule: Rule) -> bool:
    """Let a fault happen; return whether the connection can be used for another request."""
    return await _BEHAVIOURS[rule.kind](exchange, rule)


async def _refuse(exchange: Exchange, rule: Rule) -> bool:
    exchange.house.close_doors(DOWN_S if rule.seconds is None else rule.seconds)
    if rule.stores(False):
        await exchange.usual()
    return False


async def _reset_in_body(exchange: Exchange, rule: Rule) -> bool:
    await exchange.reader.readexactly(exchange.head.length // 2)
    reset(exchange.writer)
    return False


async def _reset_before_answer(exchange: Exchange, rule: Rule) -> bool:
    if rule.stores(False):
        await exchange.usual()
    reset(exchange.writer)
    return False


async def _reset_in_answer(exchange: Exchange, rule: Rule) -> bool:
    answer = await _answer(exchange, rule)
    data = encode(answer)
    await exchange.push(data[: len(data) - (len(answer.body or b"") + 1) // 2])
    reset(exchange.writer)
    return False


async def _close(exchange: Exchange, rule: Rule) -> bool:
    if rule.stores(True):
        await exchange.usual()
    return False


async def _closing(exchange: Exchange, rule: Rule) -> bool:
    await exchange.send(await exchange.usual(), close=True)
    return False


async def _status(exchange: Exchange, rule: Rule) -> bool:
    if rule.stores(rule.status < 300):
        await exchange.usual()
    await exchange.send(_scripted(rule))
    return True


async def _early(exchange: Exchange, rule: Rule) -> bool:
    await exchange.send(_scripted(rule), close=True)
    linger = LINGER_S if rule.seconds is None else rule.seconds
    if linger > 0:
        with suppress(OSError):  # the client is gone already
            exchange.writer.write_eof()
        await _or_gone(exchange, asyncio.sleep(linger))
    return False


async def _continue(exchange: Exchange, rule: Rule) -> bool:
    await exchange.push(b"HTTP/1.1 100 Continue\r\n\r\n")
    await exchange.send(await exchange.usual())
    return True


async def _drip(exchange: Exchange, rule: Rule) -> bool:
    answer = await _answer(exchange, rule)
    data = encode(answer)
    # `at`: "head" drips all of it, "body" only what comes after the headers.
    whole = 0 if rule.at == "head" else len(data) - len(answer.body or b"")
    exchange.status = answer.status
    await exchange.push(data[:whole])
    for byte in data[whole:]:
        await asyncio.sleep(DRIP_S if rule.seconds is None else rule.seconds)
        await exchange.push(bytes((byte,)))
    return True


async def _hang(exchange: Exchange, rule: Rule) -> bool:
    if rule.stores(False):
        await exchange.usual()
    wait = exchange.house.released() if rule.seconds is None else asyncio.sleep(rule.seconds)
    await _or_gone(exchange, wait)
    return False


async def _late(exchange: Exchange, rule: Rule) -> bool:
    answer = await _answer(exchange, rule)
    await asyncio.sleep(rule.seconds or 0)
    await exchange.send(answer)
    return True


async def _truncated(exchange: Exchange, rule: Rule) -> bool:
    answer = await _answer(exchange, rule)
    body = answer.body or b""
    await exchange.send(answer._replace(body=body[: len(body) // 2]))
    return True


async def _short(exchange: Exchange, rule: Rule) -> bool:
    await exchange.send(await _answer(exchange, rule), longer=SHORT_BY)
    return False


async def _html(exchange: Exchange, rule: Rule) -> bool:
    await exchange.send(Answer(200, PORTAL, (("content-type", "text/html; charset=utf-8"),)))
    return True


async def _redirect(exchange: Exchange, rule: Rule) -> bool:
    status = rule.status if 300 <= rule.status < 400 else 307
    location = exchange.house.elsewhere + exchange.head.path
    await exchange.send(Answer(status, b"", (("location", location),)))
    return True


async def _poison(exchange: Exchange, rule: Rule) -> bool:
    if exchange.head.path.endswith("/runs/bulk/"):
        await exchange.send(await exchange.usual(refuse=rule.contains))
    else:
        await exchange.send(_scripted(rule, status=rule.status if rule.status < 500 else 422))
    return True


async def _duplicate(exchange: Exchange, rule: Rule) -> bool:
    answer = await exchange.usual()
    exchange.status = answer.status
    await exchange.push(encode(answer) * 2)
    return True


_BEHAVIOURS: dict[str, Callable[[Exchange, Rule], Awaitable[bool]]] = {
    "close": _close,
    "closing": _closing,
    "continue": _continue,
    "drip": _drip,
    "duplicate": _duplicate,
    "early": _early,
    "hang": _hang,
    "html": _html,
    "late": _late,
    "poison": _poison,
    "redirect": _redirect,
    "refuse": _refuse,
    "reset-before-answer": _reset_before_answer,
    "reset-in-answer": _reset_in_answer,
    "reset-in-body": _reset_in_body,
    "short": _short,
    "status": _status,
    "truncated": _truncated,
}


async def _answer(exchange: Exchange, rule: Rule) -> Answer:
    """Return the usual answer, or the scripted one when nothing is to be stored."""
    return await exchange.usual() if rule.stores(True) else _scripted(rule)


def _scripted(rule: Rule, status: int = 0) -> Answer:
    status = status or rule.status
    headers = [("content-type", "application/json"), *rule.headers.items()]
    if rule.retry_after:
        headers.append(("retry-after", _moment(rule.retry_after)))
    if status == 204:
        return Answer(status, None, tuple(headers[1:]))
    if rule.raw:
        return Answer(status, rule.raw.encode("utf-8", "surrogatepass"), tuple(headers))
    body = {"detail": responses.get(status, "")} if rule.body is None else rule.body
    return Answer(status, json.dumps(body).encode(), tuple(headers))


def _moment(retry_after: str) -> str:
    if not retry_after.startswith("date"):
        return retry_after
    return formatdate(time.time() + float(retry_after[len("date") :]), usegmt=True)


async def _or_gone(exchange: Exchange, wait: Awaitable[None]) -> None:
    """Wait, but not longer than the client stays."""
    tasks = {asyncio.ensure_future(wait), asyncio.ensure_future(_gone(exchange.reader))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _gone(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        return
