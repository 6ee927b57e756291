"""The health, readiness and metrics endpoints."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waxlocal._version import __version__
from waxlocal.queries import count_sessions
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import file_size
from waxlocal.storage.transaction import read_something
from waxlocal.web.api.responses import json_answer
from waxlocal.web.db import ask, change, database_of
from waxlocal.web.middleware.request_log import Counts

__all__ = ["ROUTES"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_STARTED = time.time()


async def alive(request: Request) -> Response:
    """Report that the server is running."""
    return json_answer({"status": "ok"})


async def ready(request: Request) -> Response:
    """Report that the file can be read and written; a problem (503) otherwise."""
    await ask(request, read_something)
    await change(request, lambda connection: None)
    return json_answer({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Return metrics in the Prometheus text format."""
    sessions = await ask(request, _sessions)
    counts: Counts = request.app.state.counts
    lines = [*_requests(counts), *_file(database_of(request).path), *_rest(sessions)]
    return Response("\n".join(lines) + "\n", media_type=_TEXT)


def _sessions(connection: sqlite3.Connection) -> int:
    return count_sessions(connection)


def _requests(counts: Counts) -> Iterator[str]:
    found = sorted(counts.requests.items())
    yield "# HELP waxlocal_http_requests_total Requests answered; route '' counts unknown paths."
    yield "# TYPE waxlocal_http_requests_total counter"
    for (route, method, status), (count, _) in found:
        labels = f'route="{_escaped(route)}",method="{_escaped(method)}",status="{status}"'
        yield f"waxlocal_http_requests_total{{{labels}}} {count:.0f}"
    yield "# HELP waxlocal_http_request_seconds Seconds from request headers to end of response."
    yield "# TYPE waxlocal_http_request_seconds summary"
    for (route, method, status), (count, seconds) in found:
        labels = f'route="{_escaped(route)}",method="{_escaped(method)}",status="{status}"'
        yield f"waxlocal_http_request_seconds_sum{{{labels}}} {seconds:.6f}"
        yield f"waxlocal_http_request_seconds_count{{{labels}}} {count:.0f}"


def _file(path: Path) -> Iterator[str]:
    yield "# HELP waxlocal_file_bytes Size of the file and of its write-ahead log."
    yield "# TYPE waxlocal_file_bytes gauge"
    yield f'waxlocal_file_bytes{{part="database"}} {file_size(path)}'
    yield f'waxlocal_file_bytes{{part="wal"}} {log_size(path)}'


def _rest(sessions: int) -> Iterator[str]:
    yield "# HELP waxlocal_sessions Sessions in the file."
    yield "# TYPE waxlocal_sessions gauge"
    yield f"waxlocal_sessions {sessions}"
    yield "# HELP waxlocal_server_info The version of the server."
    yield "# TYPE waxlocal_server_info gauge"
    yield f'waxlocal_server_info{{version="{_escaped(__version__)}"}} 1'
    yield "# HELP waxlocal_server_start_time_seconds When the server started, in Unix time."
    yield "# TYPE waxlocal_server_start_time_seconds gauge"
    yield f"waxlocal_server_start_time_seconds {_STARTED:.3f}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


ROUTES = [
    Route("/healthz", alive),
    Route("/readyz", ready),
    Route("/metrics", metrics),
]
