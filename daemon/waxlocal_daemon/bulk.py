"""Many runs in one request, for servers that offer it; the format is in docs/bulk.md."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from waxlocal.delivery.records import RecordedRun
from waxlocal_daemon.sender import Request

__all__ = ["Batch", "Offer", "answers", "batch_of", "offer_of"]

# Level 1 makes JSON a sixth as large in a third of the time that level 6 takes for a seventh.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
# What can stand in the first line of a request.
_PATH = re.compile(r"/[!-~]{0,500}")
_RECORDS = ("llm_calls", "steps", "spans", "scores", "events")
# Columns that say where a row lies in this file, and what can be computed.
_OF_THIS_FILE = frozenset(("id", "process_id", "workflow_id"))


class Offer(NamedTuple):
    """What a server takes at once: its path, runs, and bytes before compression."""

    path: str
    max_runs: int
    max_bytes: int


class Batch(NamedTuple):
    """A request that carries runs, each with the bytes of its line."""

    request: Request
    key: str
    sizes: Mapping[str, int]


def offer_of(config: Mapping[str, Any]) -> Offer | None:
    """Return what the server's configuration offers, None when it does not, or not so as known."""
    bulk = config.get("bulk")
    if not isinstance(bulk, dict):
        return None
    path, runs, size = bulk.get("path"), bulk.get("max_runs"), bulk.get("max_bytes")
    if not (isinstance(path, str) and _PATH.fullmatch(path)):
        return None
    if not (isinstance(runs, int) and isinstance(size, int) and runs > 0 and size > 0):
        return None
    return Offer(path, min(runs, 500), min(size, 8 * 1024 * 1024))


def batch_of(runs: Iterable[RecordedRun], offer: Offer) -> Batch:
    """Return the batch of the first of these runs that fit; the first fits always.

    Its key is the hash of its bytes: the same batch has the same key, and no other has it.
    """
    lines: list[bytes] = []
    sizes: dict[str, int] = {}
    total = 0
    for run in runs:
        line = _line(run)
        total += len(line)
        if lines and (total > offer.max_bytes or len(lines) == offer.max_runs):
            break
        lines.append(line)
        sizes[run.run["run_id"]] = len(line)
    body = b"".join(lines)
    key = hashlib.sha256(body).hexdigest()
    headers = (
        ("Content-Type", "application/x-ndjson"),
        ("Content-Encoding", "gzip"),
        ("Idempotency-Key", key),
    )
    return Batch(Request("POST", offer.path, _compressed(body), headers), key, sizes)


def _compressed(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def _line(run: RecordedRun) -> bytes:
    document: dict[str, Any] = {
        "run": {
            name: value
            for name, value in run.run.items()
            if value is not None and name not in _OF_THIS_FILE
        },
        "process": run.process,
    }
    for name in _RECORDS:
        records = getattr(run, name)
        if records:
            document[name] = [_present(record) for record in records]
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def _present(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None and name != "run_id"}


def answers(body: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return (status, reason) by run id from the answer to a batch; nothing of what is none."""
    results = body.get("results")
    found: dict[str, tuple[str, str]] = {}
    for result in results if isinstance(results, list) else ():
        if isinstance(result, dict) and isinstance(result.get("run_id"), str):
            found[result["run_id"]] = (str(result.get("status")), str(result.get("reason") or ""))
    return found
