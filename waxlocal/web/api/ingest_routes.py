"""The ingest endpoints, which the original SDK writes to; see docs/ingest.md.

`waxlocal.ingest.endpoints` does the work; this module adds HTTP: paths, bodies, keys, responses.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from waxlocal.clock import SYSTEM_CLOCK
from waxlocal.decode import DEEPEST_LEVELS
from waxlocal.encode import dumps
from waxlocal.ingest.costs import look_up_prices, not_looked_up
from waxlocal.ingest.endpoints import OF_RUN, WITHOUT_RUN
from waxlocal.ingest.idempotency import KeyReused, fingerprint, once
from waxlocal.sdk.governance import ALLOWED_HERE
from waxlocal.web.api.bodies import as_object, parse_json, read_body
from waxlocal.web.api.bulk_routes import OFFER
from waxlocal.web.api.keys import key_of, problem_of_reuse
from waxlocal.web.api.problems import Problem
from waxlocal.web.db import change
from waxlocal.web.root_path import path_of
from waxlocal.wire import paths
from waxlocal.wire.request_keys import ASK_FOR_NEW_KEY

__all__ = ["ROUTES"]

Json = dict[str, Any]
Work = Callable[[sqlite3.Connection, Json, int], Json]

# Larger bodies are parsed in a thread: at 100 MB/s, this size blocks the event loop for 0.1 ms.
PARSE_HERE_BYTES = 16 * 1024

# The SDK requests this before user code starts, so it is built once. `ttl_seconds` is the longest
# that the SDK accepts.
_ALLOWED = dumps(
    {"action": "allow", "reason": ALLOWED_HERE, "metadata": {}, "evaluations": []}
).encode()
_MANIFEST = dumps(
    {
        "manifest_version": "1",
        "ttl_seconds": 3600,
        "checkpoints": [],
        "surfaces": {},
        "policies": [],
    }
).encode()
# No `otel_endpoint`: over OTLP the SDK would additionally send only tags and metadata.
_CONFIG = dumps({"bulk": OFFER, "tenant_id": "local", "tenant_slug": "local"}).encode()


async def _config(_request: Request) -> Response:
    return _json(_CONFIG)


async def _policy_check(_request: Request) -> Response:
    return _json(_ALLOWED)


async def _policy_manifest(_request: Request) -> Response:
    return _json(_MANIFEST)


async def _prompt(request: Request) -> Response:
    raise Problem(
        404,
        f"prompt {request.path_params['name']!r} not found",
        hint="define a default prompt in the program: waxlocal does not store prompts",
    )


async def _start(request: Request) -> Response:
    return await _changed(request, WITHOUT_RUN["start"], 201)


async def _of_run(request: Request) -> Response:
    """Handle a request about a run.

    If the start of a run failed, the SDK continues with an empty id. Like any other unknown id, it
    gets a 404.
    """
    run_id = request.path_params.get("run_id", "")
    work = OF_RUN[_last_part(request)]

    def of_run(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
        return work(connection, run_id, body, now_ns)

    return await _changed(request, of_run)


async def _without_run(request: Request) -> Response:
    return await _changed(request, WITHOUT_RUN[_last_part(request)])


def _last_part(request: Request) -> str:
    return path_of(request.scope).rstrip("/").rpartition("/")[2]


async def _changed(request: Request, work: Work, status: int = 200) -> Response:
    """Apply a request, once per `Idempotency-Key`; respond when it is committed."""
    raw = await read_body(request)
    key = key_of(request)
    if len(raw) <= PARSE_HERE_BYTES:
        body = _parsed(raw)
    else:
        body = await asyncio.to_thread(_parsed, raw)
    await _prices(body)
    mark = fingerprint(path_of(request.scope), raw) if key else ""
    now_ns = SYSTEM_CLOCK.time_ns()

    def changed(connection: sqlite3.Connection) -> str:
        return once(connection, key, mark, now_ns, partial(work, connection, body, now_ns))

    try:
        answer = await change(request, changed, small=len(raw) <= PARSE_HERE_BYTES)
    except KeyReused as reused:
        # Our own uploader may, after its file was restored: a record is identified by its content.
        raise problem_of_reuse(reused, **ASK_FOR_NEW_KEY) from None
    return _json(answer.encode(), status)


async def _prices(body: Json) -> None:
    """Look up the models of calls before locking the file: the first lookup takes 0.2 s."""
    calls = body.get("calls")
    if isinstance(calls, list):
        models = (call.get("model") for call in calls if isinstance(call, dict))
        unknown = not_looked_up(model for model in models if isinstance(model, str))
        if unknown:
            await asyncio.to_thread(look_up_prices, unknown)


def _parsed(raw: bytes) -> Json:
    """Return the body of a request, which must be a JSON object; raises `Problem` (400)."""
    # Recorded values are not refused for their depth: `dumps` labels what is too deep for the file.
    return as_object(parse_json(raw, DEEPEST_LEVELS)) if raw else {}


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _routes() -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        Route(paths.CONFIG, _config),
        Route(paths.POLICY_MANIFEST, _policy_manifest),
        Route(paths.POLICY_CHECK, _policy_check, methods=["POST"]),
        Route(paths.PROMPTS + "{name:path}/", _prompt),
        Route(paths.RUN_START, _start, methods=["POST"]),
    ]
    routes += [
        Route(path, _without_run, methods=["POST"])
        for path in (
            paths.RUN_OF_DAY,
            paths.EVENTS,
            paths.GOVERNANCE_DECISION,
            paths.PROMPT_GUARD,
        )
    ]
    for stage in (*paths.RUN_STAGES, *paths.MEMORY_STAGES):
        for run_id in ("{run_id}", ""):
            path = paths.stage_path(stage, run_id)
            routes.append(Route(path, _of_run, methods=["POST"]))
    return routes


ROUTES = _routes()
