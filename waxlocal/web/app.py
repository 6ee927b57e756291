"""The web application: the API and the dashboard, over one file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

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
)
from waxlocal.web.api.problems import Problem, problem_of, problem_response
from waxlocal.web.auth import Access
from waxlocal.web.db import Database
from waxlocal.web.fast_path import Shortcut
from waxlocal.web.middleware.guards import REQUEST_S, Guards
from waxlocal.web.middleware.hosts import Hosts
from waxlocal.web.middleware.request_log import Counts, Watching
from waxlocal.web.pages import login

__all__ = ["create_app", "routes"]


def create_app(
    path: Path,
    *,
    key: Secret | str | None = None,
    allowed_hosts: Sequence[str] = (),
    durability: str = "normal",
    log: Callable[[str], None] | None = None,
    request_s: float = REQUEST_S,
) -> Starlette:
    """Return the application for a file; with a `key`, every request has to bear it.

    `allowed_hosts` are names, with or without a port, that it answers to beside those of this
    machine; `log` gets a line for each request. The file is opened when the application starts,
    and closed when it ends. Raises `ConfigurationError` for a name that is none.
    """
    access, counts = Access(key), Counts()
    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(Watching, counts=counts, log=log),
            Middleware(Guards, hosts=Hosts(allowed_hosts), access=access, request_s=request_s),
            Middleware(Shortcut, routes=ingest_routes.ROUTES),
        ],
        exception_handlers={Problem: _say, ObserveError: _say, HTTPException: _say},
        lifespan=_lifespan,
    )
    # A redirect is an error for the original SDK; the guards settle the slash instead.
    app.router.redirect_slashes = False
    app.state.access = access
    app.state.counts = counts
    app.state.database = Database(path, durability=durability)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.database.open()
    try:
        yield
    finally:
        app.state.database.close()


def routes() -> list[BaseRoute]:
    """Return all routes, those that recorded programs wait for first."""
    return [
        *ingest_routes.ROUTES,
        *bulk_routes.ROUTES,
        *query_routes.ROUTES,
        *cost_routes.ROUTES,
        *openapi.ROUTES,
        *health.ROUTES,
        *login.ROUTES,
        *pages.ROUTES,
    ]


async def _say(request: Request, error: Exception) -> Response:
    """Answer a request that failed: with a problem for programs, with a page for people."""
    problem = problem_of(error)
    if request.url.path.startswith("/api/"):
        return problem_response(problem)
    return await pages.error_page(request, problem)
