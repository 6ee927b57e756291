"""What a server that honours `Idempotency-Key` stores, and what it notices about its clients."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.strict import ITEMS, TABLES, checked, lines, strict_object
from tests.faults.wire import Answer, BadRequest, Head
from tests.tools.run_paths import run_and_stage
from waxlocal.wire import paths

__all__ = ["BULK_PATH", "CONFIG_PATH", "PREFIX", "START_PATH", "Ledger", "answered"]

PREFIX = f"{paths.OBSERVE}/"
START_PATH = paths.RUN_START
BULK_PATH = paths.BULK
CONFIG_PATH = paths.CONFIG
MAX_RUNS = 500
MAX_BYTES = 8 * 1024 * 1024

# The order of these says nothing: a partial output may come after the run's end.
_ANY_TIME = frozenset(("partial",))
_MANIFEST = {
    "manifest_version": "1",
    "ttl_seconds": 3600,
    "checkpoints": [],
    "surfaces": {},
    "policies": [],
}


class Part(NamedTuple):
    """The records that one request has brought; `key` is empty when it had none."""

    key: str
    items: list[dict[str, Any]]


@dataclass
class StoredRun:
    """A run as it has arrived; `local_id` is its id where it was recorded, if the client says."""

    run_id: str
    workflow_id: str
    local_id: str
    start: dict[str, Any]
    bulk: bool = False
    parts: dict[str, list[Part]] = field(default_factory=lambda: defaultdict(list))
    completes: list[dict[str, Any]] = field(default_factory=list)

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Return the records by stage, in the order of their arrival."""
        return {
            stage: [item for part in parts for item in part.items]
            for stage, parts in self.parts.items()
        }

    def repeated(self) -> list[str]:
        """Return the positioned records that have come under more than one key."""
        found = []
        for stage, parts in self.parts.items():
            seen: dict[str, str] = {}
            for part in parts if len(parts) > 1 else ():
                for item in part.items:
                    text = json.dumps(item, sort_keys=True)
                    if "position" in item and seen.setdefault(text, part.key) != part.key:
                        found.append(f"{stage} of {self.local_id or self.run_id}: {text[:200]}")
        return found


@dataclass
class KeyRecord:
    """All arrivals of one idempotency key; `answer` is there once it was stored."""

    path: str
    arrivals: int = 0
    paths: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    answer: Answer | None = None


@dataclass
class Accepted:
    """A request that was carried out; the body of a bulk one is the list of its lines."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Noticed:
    """What clients must not do, each with words that say where."""

    children_before_parents: list[str] = field(default_factory=list)
    after_complete: list[str] = field(default_factory=list)
    unknown_runs: list[str] = field(default_factory=list)
    without_key: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


class Ledger:
    """Carries out requests. One that comes again with the same key gets the same answer."""

    def __init__(self, seed: int, *, bulk: bool) -> None:
        self.keys: dict[str, KeyRecord] = {}
        self.runs: dict[str, StoredRun] = {}
        self.accepted: list[Accepted] = []
        self.noticed = Noticed()
        self.stored = 0
        self.completed = 0
        self.bulk = bulk
        self._workflows: set[str] = set()
        self._random = random.Random(seed)
        self._handlers: Mapping[str, Callable[[dict[str, Any]], Answer]] = {
            START_PATH: self._start,
            f"{PREFIX}events/": _events,
            f"{PREFIX}policy-check/": lambda _given: answered({"action": "allow"}),
        }

    def arrive(self, head: Head) -> int:
        """Count a request whose head has come; return how often its key has been seen by now."""
        if not head.key:
            if head.method == "POST" and not head.path.endswith("/policy-check/"):
                self.noticed.without_key.append(head.path)
            return 1
        record = self.keys.setdefault(head.key, KeyRecord(head.path))
        record.arrivals += 1
        if head.path not in record.paths:
            record.paths.append(head.path)
        return record.arrivals

    def note_body(self, head: Head, body: bytes) -> str:
        """Note the body that a key has come with; return its SHA-256."""
        fingerprint = hashlib.sha256(body).hexdigest()
        if head.key and fingerprint not in (bodies := self.keys[head.key].bodies):
            bodies.append(fingerprint)
        return fingerprint

    def carry_out(self, head: Head, body: bytes, refuse: str = "") -> Answer:
        """Store what a request brings, unless it is stored already, and return the answer.

        `refuse`: lines of a bulk request that hold this text are answered as refused.
        """
        record = self.keys.get(head.key)
        try:
            if record is not None and len(record.bodies) + len(record.paths) > 2:
                raise BadRequest(422, "the Idempotency-Key has come with another request")
            if record is not None and record.answer is not None:
                return record.answer
            answer = self._do(head, body, refuse)
        except BadRequest as error:
            self.noticed.refused.append(f"{error.status} {head.path}: {error.reason}")
            return answered({"detail": error.reason}, error.status)
        if record is not None:
            record.answer = answer
            self.stored += 1
        return answer

    def _do(self, head: Head, body: bytes, refuse: str) -> Answer:
        if head.method == "GET":
            return self._get(head.path)
        if head.method != "POST":
            raise BadRequest(405, head.method)
        if head.path == BULK_PATH and self.bulk:
            return self._store_bulk(head, body, refuse)
        handler = self._handlers.get(head.path)
        of_run = None if handler else run_and_stage(head.path)
        given = strict_object(head, body)
        if of_run is not None:
            answer = self._store_stage(head, *of_run, given)
        elif handler is not None:
            answer = handler(given)
        else:
            raise BadRequest(404, "no such endpoint")
        self._accept(head, given)
        return answer

    def _accept(self, head: Head, body: Any) -> None:
        headers = {name: value for name, value in head.headers.items() if name != "x-wax-key"}
        self.accepted.append(Accepted(head.path, headers, body))

    def _get(self, path: str) -> Answer:
        if path == CONFIG_PATH:
            limits = {"path": BULK_PATH, "max_runs": MAX_RUNS, "max_bytes": MAX_BYTES}
            return answered({"bulk": limits} if self.bulk else {})
        if path == f"{PREFIX}policy-manifest/":
            return answered(_MANIFEST)
        raise BadRequest(404, "no such endpoint")

    def _start(self, given: dict[str, Any]) -> Answer:
        checked("start", given)
        run_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        about = given["metadata"].get("waxlocal")
        local_id = str(about.get("run_id", "")) if isinstance(about, dict) else ""
        run = StoredRun(run_id, f"wf_{run_id}", local_id, given)
        for name in ("parent_workflow_id", "root_workflow_id"):
            if given.get(name) and given[name] not in self._workflows:
                told = f"{local_id or run_id} came before its {name} {given[name]}"
                self.noticed.children_before_parents.append(told)
        self._workflows.add(run.workflow_id)
        self.runs[run_id] = run
        return answered({"run_id": run_id, "workflow_id": run.workflow_id}, 201)

    def _store_stage(self, head: Head, run_id: str, stage: str, given: dict[str, Any]) -> Answer:
        run = self.runs.get(run_id)
        if run is None:
            self.noticed.unknown_runs.append(head.path)
            raise BadRequest(404, "no such run")
        checked(stage, given)
        if stage == "complete":
            self.completed += not run.completes
            run.completes.append(given)
            return answered({"run_id": run_id, "duration": 0.0, "governance": {"action": "allow"}})
        if run.completes and stage not in _ANY_TIME:
            self.noticed.after_complete.append(f"{stage} of {run.local_id or run_id}")
        items = given[ITEMS[stage]] if stage in ITEMS else [given]
        run.parts[stage].append(Part(head.key, items))
        return answered({"recorded": len(items)})

    def _store_bulk(self, head: Head, body: bytes, refuse: str) -> Answer:
        if head.key != hashlib.sha256(body).hexdigest():
            raise BadRequest(400, "the key is not the body's SHA-256")
        found = lines(head, body)
        if len(found) > MAX_RUNS or len(body) > MAX_BYTES:
            raise BadRequest(413, "more than was offered")
        kept: list[dict[str, Any]] = []
        results = [self._store_line(head, line, refuse, kept) for line in found]
        self._accept(head, kept)
        return answered({"results": results})

    def _store_line(
        self, head: Head, line: bytes, refuse: str, kept: list[dict[str, Any]]
    ) -> dict[str, str]:
        try:
            given = checked("bulk", strict_object(head, line))
        except BadRequest as error:
            self.noticed.refused.append(f"a line of {head.path}: {error.reason}")
            return {"run_id": "", "status": "refused", "reason": error.reason}
        run_id = given["run"]["run_id"]
        if refuse and refuse.encode() in line:
            return {"run_id": run_id, "status": "refused", "reason": f"{refuse} is not taken"}
        known = run_id in self.runs
        self._merge(head.key, given)
        kept.append(given)
        return {"run_id": run_id, "status": "merged" if known else "stored"}

    def _merge(self, key: str, given: dict[str, Any]) -> None:
        row = given["run"]
        run_id = row["run_id"]
        run = self.runs.setdefault(run_id, StoredRun(run_id, f"wf_{run_id}", run_id, row, True))
        self._workflows.add(run.workflow_id)
        for table in TABLES:
            stage = table.replace("_", "-")
            parts = run.parts.get(stage, [])
            there = {item["position"] for part in parts for item in part.items}
            new = [item for item in given.get(table, ()) if item["position"] not in there]
            if new:
                run.parts[stage].append(Part(key, new))
        if row.get("status", "running") != "running" and not run.completes:
            self.completed += 1
            run.completes.append(row)


def _events(given: dict[str, Any]) -> Answer:
    checked("events", given)
    return answered({"recorded": len(given["events"])})


def answered(body: Any, status: int = 200) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, json.dumps(body).encode())
