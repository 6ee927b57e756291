"""The dashboard: HTML pages on the same file as the API."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from waxlocal.web.pages.analytics import analytics_page
from waxlocal.web.pages.errors import bare_page, error_page, help_page
from waxlocal.web.pages.failures import errors_page
from waxlocal.web.pages.files import static_file
from waxlocal.web.pages.models import models_page
from waxlocal.web.pages.run import run_page
from waxlocal.web.pages.runs import runs_page
from waxlocal.web.pages.search import search_page
from waxlocal.web.pages.session import session_page
from waxlocal.web.pages.sessions import sessions_page
from waxlocal.web.pages.status import status_fragment
from waxlocal.web.pages.sync import retry, sync_page
from waxlocal.web.pages.users import user_page, users_page

__all__ = ["ROUTES", "bare_page", "error_page"]

ROUTES: list[BaseRoute] = [
    Route("/", sessions_page),
    Route("/sessions", sessions_page),
    Route("/sessions/{session_id}", session_page),
    Route("/session", session_page),  # an id that cannot be a part of a path
    Route("/runs", runs_page),
    Route("/runs/{run_id}", run_page),
    Route("/run", run_page),
    Route("/search", search_page),
    Route("/users", users_page),
    Route("/users/{user_id}", user_page),
    Route("/user", user_page),
    Route("/errors", errors_page),
    Route("/analytics", analytics_page),
    Route("/models", models_page),
    Route("/sync", sync_page),
    Route("/sync/retry", retry, methods=["POST"]),
    Route("/help", help_page),
    Route("/live/status", status_fragment),
    Route("/static/{name}", static_file),
]
