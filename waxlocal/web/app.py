"""The ASGI application: the API and the dashboard on one file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from waxlocal.errors import ObserveError
from waxlocal.settings.secret import Secret
from waxlocal.web import pages
from waxlocal.web.api import (
    bulk_routes,
    cost_routes,
    health,
    ingest_routes,
    openapi,
    query_routes,
    search_routes,
)
from waxlocal.web.api.problems import Problem, problem_of, problem_response
from waxlocal.web.auth import Authentication, port_of
from waxlocal.web.cache import Cache
from waxlocal.web.db import Database
from waxlocal.web.fast_path import FastPath
from waxlocal.web.heap import keep_trimmed
from waxlocal.web.live.streams import MOST_STREAMS, Streams
from waxlocal.web.middleware.compression import Compression
from waxlocal.web.middleware.forwarded import Forwarded
from waxlocal.web.middleware.guards import LINGER_S, REQUEST_S, Guards
from waxlocal.web.middleware.hosts import Hosts
from waxlocal.web.middleware.request_log import Counts, RequestLog
from waxlocal.web.middleware.security_headers import SecurityHeaders
from waxlocal.web.pages import login
from waxlocal.web.root_path import path_of
from waxlocal.web.search_index import Indexing

__all__ = ["create_app", "routes"]


def create_app(
    path: Path,
    *,
    key: Secret | str | None = None,
    allowed_hosts: Sequence[str] = (),
    trusted_proxies: Sequence[str] = (),
    root_path: str = "",
    durability: str = "normal",
    log: Callable[[str], None] | None = None,
    request_s: float = REQUEST_S,
    linger_s: float = LINGER_S,
    streams: int = MOST_STREAMS,
) -> Starlette:
    """Return the application for a file; with a `key`, every request must send it.

    `allowed_hosts` are Host names, with or without a port, accepted in addition to this machine's
    own. `trusted_proxies` are the addresses and networks whose `X-Forwarded-` headers count;
    `root_path` is the path below which a proxy has the server. `log` gets a line per request. A
    request may take `request_s` seconds, and as many more for each 16 KB of its body; after a
    rejection, a client may go on sending its body for `linger_s` seconds. Up to `streams` open
    pages are told of changes; others ask for them now and then. The file is opened when the
    application starts and closed when it stops. Raises `ConfigurationError` for an invalid name,
    address or path.
    """
    auth, counts, hosts = Authentication(key), Counts(), Hosts(allowed_hosts)
    forwarded = Forwarded(
        hosts=hosts, proxies=trusted_proxies, root_path=root_path, own=_first_parts()
    )
    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(RequestLog, counts=counts, log=log),
            Middleware(
                Guards,
                hosts=hosts,
                forwarded=forwarded,
                auth=auth,
                request_s=request_s,
                linger_s=linger_s,
            ),
            Middleware(FastPath, routes=ingest_routes.ROUTES),
            # Last, so that what programs record never passes through it; more in its docstring.
            Middleware(Compression),
        ],
        exception_handlers={Problem: _say, ObserveError: _say, HTTPException: _say},
        lifespan=_lifespan,
    )
    # The original SDK treats a redirect as an error; the guards handle the trailing slash instead.
    app.router.redirect_slashes = False
    app.state.auth = auth
    app.state.counts = counts
    app.state.cache = Cache()
    app.state.streams = Streams(path, most=streams)
    app.state.database = Database(path, durability=durability)
    app.state.indexing = Indexing(path)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.database.open()
    app.state.streams.open()
    tasks = [asyncio.create_task(one) for one in (keep_trimmed(), app.state.indexing.go_on())]
    try:
        yield
    finally:
        app.state.streams.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await app.state.cache.close()
        app.state.database.close()


def routes() -> list[BaseRoute]:
    """Return all routes; the ingest routes come first because programs wait for them."""
    return [
        *ingest_routes.ROUTES,
        *bulk_routes.ROUTES,
        *query_routes.ROUTES,
        *search_routes.ROUTES,
        *cost_routes.ROUTES,
        *openapi.ROUTES,
        *health.ROUTES,
        *login.ROUTES,
        *pages.ROUTES,
    ]


def _first_parts() -> set[str]:
    return {one.path.split("/")[1] for one in routes() if isinstance(one, Route)} - {""}


async def _say(request: Request, error: Exception) -> Response:
    """Return the error response: a problem document for API paths, a page for others."""
    problem = problem_of(error)
    if not request.app.state.auth.admits(dict(request.headers.raw), port_of(request.scope)):
        return pages.bare_page(request, problem)
    if path_of(request.scope).startswith("/api/"):
        return problem_response(problem)
    return await pages.error_page(request, problem)
