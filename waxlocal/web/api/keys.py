"""The `Idempotency-Key` of a request, and the response if it was used for another request."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from waxlocal.ingest.idempotency import KeyReused
from waxlocal.web.api.problems import Problem
from waxlocal.wire.request_keys import HEADER, MAX_CHARS, REUSED

__all__ = ["key_of", "problem_of_reuse"]

_NAME = HEADER.lower().encode()


def key_of(request: Request) -> str:
    """Return the key of a request, empty if it has none; raises `Problem` (400) for a long one."""
    # Not `request.headers`, which decodes every name until it finds one: most requests have no key.
    found = (value for name, value in request.scope["headers"] if name == _NAME)
    key = next(found, b"").decode("latin-1").strip()
    if len(key) > MAX_CHARS:
        raise Problem(400, f"the {HEADER} has more than {MAX_CHARS} characters")
    return key


def problem_of_reuse(reused: KeyReused, **more: Any) -> Problem:
    """Return the response (422) to a key that was used for another request."""
    return Problem(422, str(reused), kind=REUSED, hint=reused.hint, **more)
