"""API errors as problem details (RFC 9457), each with a hint."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from waxlocal.encode import dumps
from waxlocal.errors import (
    AmbiguousId,
    ConfigurationError,
    FileLocked,
    InvalidQuery,
    NotFound,
    ObserveError,
    StorageError,
)
from waxlocal.wire.paths import SESSIONS

__all__ = ["MEDIA_TYPE", "Problem", "problem_of", "problem_response"]

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:waxlocal:problem:"
# Retry-After in seconds. A lock is short; a full disk or a missing directory needs a person.
RETRY_LOCKED_S = 1
RETRY_STORAGE_S = 5

_KINDS = {
    400: "invalid-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    413: "too-large",
    414: "address-too-long",
    415: "unsupported-media-type",
    421: "misdirected",
    422: "unprocessable",
    431: "headers-too-large",
    503: "unavailable",
}


class Problem(Exception):
    """An error response; raise it anywhere while handling a request.

    `kind` is the last part of the type's URN, by default derived from the status. `hint` says how
    to fix the problem; `more` are further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        kind: str = "",
        title: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.type = TYPE_PREFIX + (kind or _KINDS.get(status, "error"))
        self.title = title or HTTPStatus(status).phrase
        self.hint = hint
        self.headers = dict(headers or {})
        self.more = more

    def document(self) -> dict[str, Any]:
        """Return the members of the document, without empty ones."""
        said = {"detail": self.detail, "hint": self.hint, **self.more}
        plain = {name: value for name, value in said.items() if value not in ("", None)}
        return {"type": self.type, "title": self.title, "status": self.status, **plain}


def problem_response(problem: Problem) -> Response:
    """Return the response for a problem."""
    body = dumps(problem.document()).encode()
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Return the problem for our or the framework's exceptions; any other is a server error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StorageError):
        return _storage_problem(error)
    if isinstance(error, ObserveError):
        kind, status = next(
            (found for cls, found in _OF_ERRORS if isinstance(error, cls)), ("error", 500)
        )
        hint = _LISTS if error.hint == NotFound.default_hint else error.hint
        return Problem(status, str(error), kind=kind, hint=hint)
    if isinstance(error, HTTPException):
        return _problem_of_framework(error)
    return Problem(
        500, "internal server error", kind="fault", hint="see the server's log on stderr"
    )


def _problem_of_framework(error: HTTPException) -> Problem:
    """Return the problem of a request that no route takes, or of another error of the framework."""
    if error.status_code == 404:
        return Problem(404, "there is nothing at this path", hint=_PATHS)
    if error.status_code == 405:
        # Starlette joins a set: another order in each process.
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        detail, hint = "this path does not take that method", f"use {allowed}" if allowed else ""
        return Problem(405, detail, hint=hint, headers=error.headers)
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return Problem(error.status_code, detail, headers=error.headers)


_PATHS = "the API is described by GET /api/v1/openapi.json"
# Hints for the CLI name commands; API clients get URLs instead.
_LISTS = f"list them with GET {SESSIONS} or .../runs/"
_OF_ERRORS: tuple[tuple[type[ObserveError], tuple[str, int]], ...] = (
    (NotFound, ("not-found", 404)),
    (AmbiguousId, ("ambiguous-id", 400)),
    (InvalidQuery, ("invalid-request", 400)),
    (ConfigurationError, ("configuration", 500)),
)


def _storage_problem(error: StorageError) -> Problem:
    wait = RETRY_LOCKED_S if isinstance(error, FileLocked) else RETRY_STORAGE_S
    return Problem(
        503,
        error.without_path,  # whoever may ask the server need not know its directories
        kind="storage",
        title="The file is not available now",
        hint=error.hint_without_path,
        headers={"Retry-After": str(wait)},
    )
