"""A shortcut past routing and middleware for ingest requests, which programs wait for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waxlocal.errors import ObserveError
from waxlocal.web.api.problems import Problem, problem_of, problem_response
from waxlocal.web.root_path import path_of

__all__ = ["FastPath"]

Endpoint = Callable[[Request], Awaitable[Response]]

_OF_RUN = re.compile(r"(/api/v1/observe/runs/)([^/]+)(/[a-z-]+/)")
_RUN_ID = "{run_id}"


class FastPath:
    """Dispatches POST requests with records directly to their endpoints; others to the app.

    A run of the original SDK waits for seven requests, and routing and middleware take as long as
    writing the record. The endpoints come from the routes, which stay the reference: they are what
    is documented and tested.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = {
            route.path: route
            for route in routes
            if isinstance(route, Route) and "POST" in (route.methods or ())
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        found = self._found(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        route, parameters = found
        scope["route"], scope["path_params"] = route, parameters
        try:
            # For `Route(path, function)`, `endpoint` is that function.
            response = await cast(Endpoint, route.endpoint)(Request(scope, receive, send))
        except (Problem, ObserveError) as error:
            response = problem_response(problem_of(error))
        await response(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[Route, dict[str, Any]] | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path = path_of(scope)
        route = self._routes.get(path)
        if route is not None:
            return route, {}
        match = _OF_RUN.fullmatch(path)
        if match is None:
            return None
        route = self._routes.get(f"{match[1]}{_RUN_ID}{match[3]}")
        return None if route is None else (route, {"run_id": match[2]})
