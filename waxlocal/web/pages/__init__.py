"""The dashboard: HTML pages on the same file as the API."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from waxlocal.web.live.event_stream import streamed
from waxlocal.web.pages.analytics import analytics_page
from waxlocal.web.pages.errors import bare_page, error_page, help_page
from waxlocal.web.pages.failures import errors_page
from waxlocal.web.pages.files import static_file
from waxlocal.web.pages.forget import forget_page
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
    Route("/", streamed(sessions_page)),
    Route("/sessions", streamed(sessions_page)),
    Route("/sessions/{session_id}", streamed(session_page)),
    Route("/session", streamed(session_page)),  # an id that cannot be a part of a path
    Route("/runs", streamed(runs_page)),
    Route("/runs/{run_id}", streamed(run_page)),
    Route("/run", streamed(run_page)),
    Route("/search", streamed(search_page)),
    Route("/users", streamed(users_page)),
    Route("/users/{user_id}", streamed(user_page)),
    Route("/user", streamed(user_page)),
    Route("/errors", streamed(errors_page)),
    Route("/analytics", streamed(analytics_page)),
    Route("/models", streamed(models_page)),
    Route("/sync", streamed(sync_page)),
    Route("/sync/retry", retry, methods=["POST"]),
    Route("/forget", forget_page, methods=["GET", "POST"]),
    Route("/help", help_page),
    Route("/live/status", streamed(status_fragment)),
    Route("/static/{name}", static_file),
]
