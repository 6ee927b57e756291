"""The short way for the requests that recorded programs wait for."""

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

__all__ = ["Shortcut"]

Endpoint = Callable[[Request], Awaitable[Response]]

_OF_RUN = re.compile(r"(/api/v1/observe/runs/)([^/]+)(/[a-z-]+/)")
_RUN_ID = "{run_id}"


class Shortcut:
    """Takes posts of records straight to their endpoints; all else goes the usual way.

    A run of the original SDK waits for seven requests, and going through the list of routes and the
    layers around it takes as long as writing the record. The routes stay where they are: they are
    what is described and tested, and this takes their endpoints.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = {
            route.path: route
            for route in routes
            if isinstance(route, Route) and "POST" in (route.methods or ())
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        found = self._found(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        route, parameters = found
        scope["route"], scope["path_params"] = route, parameters
        try:
            # Of a route from `Route(path, function)` this is that function.
            response = await cast(Endpoint, route.endpoint)(Request(scope, receive, send))
        except (Problem, ObserveError) as error:
            response = problem_response(problem_of(error))
        await response(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[Route, dict[str, Any]] | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path = scope["path"]
        route = self._routes.get(path)
        if route is not None:
            return route, {}
        match = _OF_RUN.fullmatch(path)
        if match is None:
            return None
        route = self._routes.get(f"{match[1]}{_RUN_ID}{match[3]}")
        return None if route is None else (route, {"run_id": match[2]})
