"""The bulk endpoint: many runs in one request, from another waxlocal; see docs/bulk.md."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.ingest.idempotency import KeyReused, fingerprint, once
from waxlocal.ingest.merge import merge
from waxlocal.web.api.keys import key_of, problem_of_reuse
from waxlocal.web.api.problems import Problem
from waxlocal.web.db import change
from waxlocal.wire.bulk import MAX_BYTES, MAX_RUNS, Line, read_lines
from waxlocal.wire.paths import BULK

__all__ = ["OFFER", "ROUTES"]

# The bulk part of the configuration response.
OFFER: dict[str, Any] = {"path": BULK, "max_runs": MAX_RUNS, "max_bytes": MAX_BYTES}
# The accepted size: a single run may be larger than the recommended batch.
MOST_BYTES = 2 * MAX_BYTES
# Decompress in steps, to stop a small body that expands to a huge one.
STEP_BYTES = 1024 * 1024
FEED_BYTES = 64 * 1024
# Programs that compress in parallel write one for each 128 KB.
MOST_MEMBERS = 1_000

_TYPES = frozenset(("application/x-ndjson", "application/json"))
_GZIP = 16 + zlib.MAX_WBITS

Read = list[Line | tuple[str, str]]


async def _bulk(request: Request) -> Response:
    _check_type(request)
    raw = await _body(request)
    key = key_of(request)
    packed = _is_packed(request)
    mark, lines = await asyncio.to_thread(_read, raw, packed)
    now_ns = SYSTEM_CLOCK.time_ns()

    def changed(connection: sqlite3.Connection) -> str:
        work = partial(_merged, connection, lines, now_ns)
        # To merge lines again changes nothing that is here. And a batch whose runs were lost has
        # the same key when it comes again, as has one with a line that was refused.
        return once(connection, key, mark, now_ns, work, repeatable=True)

    try:
        answer = await change(request, changed)
    except KeyReused as reused:
        raise problem_of_reuse(reused) from None
    return Response(answer.encode(), media_type="application/json")


def _merged(
    connection: sqlite3.Connection, lines: Sequence[Line | tuple[str, str]], now_ns: int
) -> dict[str, Any]:
    return {"results": [result.document() for result in merge(connection, lines, now_ns)]}


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _TYPES:
        hint = 'send one JSON object per line, with "Content-Type: application/x-ndjson"'
        raise Problem(415, f"unsupported Content-Type {given[:100]!r}", hint=hint)


def _is_packed(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity", ""):
        hint = "send the body uncompressed or with gzip"
        raise Problem(415, f"unsupported Content-Encoding {encoding[:100]!r}", hint=hint)
    return encoding == "gzip"


async def _body(request: Request) -> bytes:
    """Return the raw body; raises `Problem` if it is too large."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise _too_large()
    return b"".join(parts)


def _read(raw: bytes, packed: bool) -> tuple[str, Read]:
    """Return the fingerprint of the request and its lines; runs in a thread."""
    body = _inflated(raw) if packed else raw
    # Each line becomes many objects: reject too many before parsing them.
    if body.count(b"\n") > 2 * MAX_RUNS:
        raise _too_large()
    lines = read_lines(body)
    if len(lines) > MAX_RUNS:
        raise _too_large()
    return fingerprint(BULK, body), lines


def _inflated(raw: bytes) -> bytes:
    """Return the decompressed body, using limited memory and time."""
    parts: list[bytes] = []
    place = members = size = 0
    while raw[place : place + 1].strip(b"\0"):  # some programs fill up with zeros
        members += 1
        if members > MOST_MEMBERS:
            detail = f"the gzip body has more than {MOST_MEMBERS:,} members"
            raise Problem(400, detail, kind="invalid-body")
        opener = zlib.decompressobj(_GZIP)
        while not opener.eof:
            part, place = _step(opener, raw, place)
            size += len(part)
            if size > MOST_BYTES:
                raise _too_large()
            parts.append(part)
    return b"".join(parts)


def _step(opener: zlib._Decompress, raw: bytes, place: int) -> tuple[bytes, int]:
    """Return the next decompressed bytes, and where to go on; raises `Problem`.

    Given all of the rest, zlib would return it each time, copied.
    """
    given = raw[place : place + FEED_BYTES]
    try:
        part = opener.decompress(given, STEP_BYTES)
    except zlib.error as error:
        detail = f"the body is not valid gzip: {error}"
        raise Problem(400, detail, kind="invalid-body") from None
    if not (given or part or opener.eof):
        raise Problem(400, "the gzip body is truncated", kind="invalid-body")
    return part, place + len(given) - len(opener.unconsumed_tail) - len(opener.unused_data)


def _too_large() -> Problem:
    return Problem(
        413,
        f"the batch has more than {MAX_RUNS} runs or {MOST_BYTES:,} bytes",
        hint="send fewer runs per request",
        max_runs=MAX_RUNS,
        max_bytes=MAX_BYTES,
    )


ROUTES: list[BaseRoute] = [Route(BULK, _bulk, methods=["POST"])]
