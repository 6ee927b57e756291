"""The OpenAPI 3.1 document of the API."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waxlocal._version import __version__
from waxlocal.web.api.openapi_ingest import ingest_paths, ingest_schemas
from waxlocal.web.api.openapi_parts import PROBLEM, gives, operation
from waxlocal.web.api.openapi_query import query_paths, query_schemas
from waxlocal.web.api.openapi_rows import Json, object_of
from waxlocal.web.api.responses import json_answer
from waxlocal.web.root_path import root_of
from waxlocal.wire.paths import DOCUMENT

__all__ = ["ROUTES", "openapi_document"]

_SCHEMES: Json = {
    "WaxKey": {"type": "apiKey", "in": "header", "name": "X-Wax-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
_TAGS = {
    "Sessions": "Conversations: all runs with the same session id.",
    "Runs": "Single runs of an agent.",
    "Users": "Users of the agents.",
    "Search": "Full text of what was said.",
    "Models": "Usage and prices of models. Money is US dollars; null is an unknown price.",
    "Recording": "Endpoints that the Waxell Observe SDK writes to.",
    "Governance": "Checks that the SDK requests; this server always allows.",
    "Server": "The server itself.",
}


def openapi_document(*, with_key: bool, root: str = "") -> Json:
    """Return the document; `with_key` if requests need the API key.

    `root` is the path below which the server is reached.
    """
    schemas = {**query_schemas(), **ingest_schemas(), "Problem": PROBLEM}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "waxlocal",
            "version": __version__,
            "description": "Sessions, runs and their cost, from one SQLite file.",
        },
        # Relative to where the document was read: scheme and host are those that the client used.
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name, "description": said} for name, said in _TAGS.items()],
        "security": [{name: []} for name in _SCHEMES] if with_key else [],
        "paths": {**query_paths(), **ingest_paths(), **_server_paths()},
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


def _server_paths() -> Json:
    status = object_of({"status": {"type": "string"}})
    text = {"type": "string"}
    alive = operation(
        "isAlive",
        "Server",
        "Check that the server is running.",
        {"200": gives(status, "The server is running.")},
    )
    ready = operation(
        "isReady",
        "Server",
        "Check that the file can be read and written.",
        {"200": gives(status, "The file can be read and written.")},
    )
    metrics = operation(
        "getMetrics",
        "Server",
        "Get metrics in the Prometheus text format.",
        {"200": gives(text, "Counters.", "text/plain")},
    )
    document = operation(
        "getDocument",
        "Server",
        "Get this document.",
        {"200": gives({"type": "object"}, "OpenAPI 3.1.")},
    )
    return {
        "/healthz": {"get": {**alive, "security": []}},
        "/readyz": {"get": {**ready, "security": []}},
        "/metrics": {"get": metrics},
        DOCUMENT: {"get": document},
    }


async def document(request: Request) -> Response:
    """Return the OpenAPI document."""
    with_key = not request.app.state.auth.is_open
    return json_answer(openapi_document(with_key=with_key, root=root_of(request.scope)))


ROUTES = [Route(DOCUMENT, document)]
