"""The server itself: connections, requests one after the other, faults between them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.behaviour import Exchange, misbehave
from tests.faults.doors import Doors
from tests.faults.ledger import BULK_PATH, Ledger, answered
from tests.faults.rules import BEFORE_BODY, Asked, Rule, Script, from_json
from tests.faults.strict import count_items
from tests.faults.wire import Answer, BadRequest, Head, encode, read_body, read_head

__all__ = ["CONTROL", "Server"]

CONTROL = "/_control/"


class Arrival(NamedTuple):
    """A request, as the log has it; `fault` is empty when none was due, `status` 0 is silence."""

    seconds: float
    method: str
    path: str
    key: str
    fault: str
    status: int


class Server:
    """Serves the API with faults, control without, and another origin for redirects."""

    def __init__(
        self, rules: Sequence[Rule], seed: int, *, bulk: bool = False, latency_ms: float = 0
    ) -> None:
        self.ledger = Ledger(seed, bulk=bulk)
        self.doors = Doors(self._serve_api)
        self.control = Doors(self._serve_control)
        self.other = Doors(self._serve_elsewhere)
        self._script = Script(rules, seed)
        self._seed = seed
        self._latency_s = latency_ms / 1000
        self._key: str | None = None
        self._log: list[Arrival] = []
        self._faults: Counter[str] = Counter()
        self._arrivals = 0
        self._hanging = 0
        self._release = asyncio.Event()
        self._waiting: list[tuple[dict[str, int], asyncio.Event]] = []
        self._background: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start to listen on all ports."""
        for doors in (self.doors, self.control, self.other):
            await doors.open()

    def end(self) -> None:
        """Stop listening."""
        for doors in (self.doors, self.control, self.other):
            doors.end()

    # What faults need: see `House`.

    @property
    def elsewhere(self) -> str:
        """The address of another origin."""
        return self.other.url

    def carry_out(self, head: Head, body: bytes, refuse: str = "") -> Answer:
        """Store what a request brings and return the usual answer."""
        if self._key is not None and head.headers.get("x-wax-key") != self._key:
            return answered({"detail": "Invalid API key"}, 401)
        return self.ledger.carry_out(head, body, refuse)

    def close_doors(self, seconds: float) -> None:
        """Refuse new connections for a time."""
        task = asyncio.ensure_future(self.doors.close_for(seconds))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def released(self) -> None:
        """Wait until hanging requests are let go."""
        self._hanging += 1
        self._tell()
        try:
            await self._release.wait()
        finally:
            self._hanging -= 1

    async def _serve_api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether another may come on this connection."""
        try:
            head = await read_head(reader)
        except BadRequest as error:
            return await self._refuse_request(writer, "a request", error)
        if head.path.startswith(CONTROL):
            return await self._answer_control(head, reader, writer)
        began = time.monotonic()
        self._arrivals += 1
        exchange = Exchange(self, head, reader, writer)
        fault = ""
        try:
            fitting, asked = self._arrive(head)
            rule = self._script.choose(fitting, asked, None) if fitting else None
            if rule is None or rule.kind not in BEFORE_BODY:
                await self._receive(exchange)
            if rule is None and fitting:
                rule = self._look_inside(fitting, asked, exchange)
            if rule is not None:
                fault = _name(rule)
                self._faults[fault] += 1
            return await self._respond(exchange, rule)
        except BadRequest as error:
            exchange.status = error.status
            return await self._refuse_request(writer, head.path, error)
        finally:
            self._log.append(
                Arrival(began, head.method, head.path, head.key, fault, exchange.status or 0)
            )
            self._tell()

    def _arrive(self, head: Head) -> tuple[list[tuple[int, Rule]], Asked]:
        attempt = self.ledger.arrive(head)
        asked = Asked(head.method, head.path, head.key or f"{head.path} {self._arrivals}", attempt)
        return self._script.fitting(asked), asked

    async def _receive(self, exchange: Exchange) -> None:
        if exchange.head.headers.get("expect", "").lower() == "100-continue":
            await exchange.push(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await exchange.read_body()
        self.ledger.note_body(exchange.head, body)

    def _look_inside(
        self, fitting: list[tuple[int, Rule]], asked: Asked, exchange: Exchange
    ) -> Rule | None:
        body = exchange.body or b""
        counted = any(rule.over_items is not None for _index, rule in fitting)
        items = count_items(body, bulk=asked.path == BULK_PATH) if counted else 0
        return self._script.choose(fitting, asked, body, items)

    async def _respond(self, exchange: Exchange, rule: Rule | None) -> bool:
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if rule is not None:
            return await misbehave(exchange, rule)
        await exchange.send(await exchange.usual())
        return exchange.head.headers.get("connection", "").lower() != "close"

    async def _refuse_request(
        self, writer: asyncio.StreamWriter, what: str, error: BadRequest
    ) -> bool:
        self.ledger.noticed.refused.append(f"{error.status} {what}: {error.reason}")
        writer.write(encode(answered({"detail": error.reason}, error.status), close=True))
        await writer.drain()
        return False

    async def _serve_elsewhere(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Take everything, as an attacker would, and note what has come."""
        head = await read_head(reader)
        await read_body(reader, head)
        carried = [name for name in ("x-wax-key", "idempotency-key") if name in head.headers]
        told = f"{head.method} {head.path} with {' and '.join(carried) or 'no key'}"
        self.ledger.noticed.elsewhere.append(told)
        writer.write(encode(answered({"run_id": "stolen", "workflow_id": "stolen"})))
        return True

    async def _serve_control(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        return await self._answer_control(await read_head(reader), reader, writer)

    async def _answer_control(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        body = json.loads(await read_body(reader, head) or b"{}")
        answer = await self._command(head.path.removeprefix(CONTROL), body)
        writer.write(encode(answer))
        await writer.drain()
        return True

    async def _command(self, name: str, given: dict[str, Any]) -> Answer:
        match name:
            case "state":
                return answered(self.state())
            case "counts":
                return answered(self.counts())
            case "runs":
                return answered([_whole(run) for run in self.ledger.runs.values()])
            case "requests":
                return answered([asdict(accepted) for accepted in self.ledger.accepted])
            case "log":
                return answered([arrival._asdict() for arrival in self._log])
            case "wait":
                return answered({"reached": await self._wait(given["counts"], given["timeout"])})
            case "script":
                self._script = Script(from_json(json.dumps(given["rules"])), self._seed)
            case "key":
                self._key = given["key"]
            case "release":
                self._release.set()
                self._release = asyncio.Event()
            case "close":
                self.doors.close()
            case "open":
                await self.doors.open()
            case _:
                return answered({"detail": "no such command"}, 404)
        return answered({})

    def counts(self) -> dict[str, int]:
        """Return what can be waited for: numbers that tests ask for, most of them growing."""
        return {
            "arrivals": self._arrivals,
            "answered": len(self._log),
            "stored": self.ledger.stored,
            "started": len(self.ledger.runs),
            "completed": self.ledger.completed,
            "hanging": self._hanging,
        }

    def state(self) -> dict[str, Any]:
        """Return all that an audit needs: everything but bodies."""
        return {
            "counts": self.counts(),
            "faults": self._faults,
            "posts": sum(arrival.method == "POST" for arrival in self._log),
            "keys": [
                {
                    "key": key,
                    "paths": record.paths,
                    "arrivals": record.arrivals,
                    "bodies": record.bodies,
                    "stored": record.answer is not None,
                }
                for key, record in self.ledger.keys.items()
            ],
            "runs": [
                {
                    "run_id": run.run_id,
                    "local_id": run.local_id,
                    "bulk": run.bulk,
                    "completes": len(run.completes),
                    "records": {name: len(items) for name, items in run.records().items()},
                    "repeated": run.repeated(),
                }
                for run in self.ledger.runs.values()
            ],
            **asdict(self.ledger.noticed),
        }

    async def _wait(self, counts: dict[str, int], timeout: float) -> bool:
        event = asyncio.Event()
        self._waiting.append((counts, event))
        self._tell()
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    def _tell(self) -> None:
        """Wake those whose counts have been reached."""
        if not self._waiting:
            return
        now = self.counts()
        for wanted, event in self._waiting:
            if all(now[name] >= number for name, number in wanted.items()):
                event.set()
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].is_set()]

    def save(self, directory: Path) -> None:
        """Write state and log into a directory."""
        log = [arrival._asdict() for arrival in self._log]
        for name, value in (("state", self.state()), ("log", log)):
            (directory / f"{name}.json").write_text(json.dumps(value, indent=1))


def _name(rule: Rule) -> str:
    return f"{rule.kind} {rule.status}" if rule.kind in ("status", "poison") else rule.kind


def _whole(run: Any) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "local_id": run.local_id,
        "start": run.start,
        "records": run.records(),
        "completes": run.completes,
    }
