"""Bodies of requests: JSON of a bounded depth."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from waxlocal.web.api.problems import Problem

__all__ = ["MAX_DEPTH", "parse_json", "read_json", "read_object"]

# Levels of lists and objects; what the recorder itself stores goes no deeper.
MAX_DEPTH = 100


async def read_json(request: Request) -> Any:
    """Return the body of a request as JSON; raises `Problem` (400) for anything else.

    `NaN` and `Infinity` are taken, as Python's own encoder writes them.
    """
    return parse_json(await request.body())


async def read_object(request: Request) -> dict[str, Any]:
    """Return the body of a request, which must be a JSON object."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(400, "the body is not a JSON object", kind="invalid-body")
    return body


def parse_json(body: bytes | str) -> Any:
    """Return JSON text as Python values; raises `Problem` as `read_json`."""
    try:
        value = json.loads(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        # The decoder says where, and not what it found there.
        raise Problem(400, f"the body is not valid JSON: {error}", kind="invalid-body") from None
    if _openings(body) > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _openings(body: bytes | str) -> int:
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    return body.count(b"[") + body.count(b"{")


def _depth_exceeds(value: Any, most: int) -> bool:
    """Return whether there are more levels, one level after the other."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep() -> Problem:
    return Problem(
        400,
        f"the body goes deeper than {MAX_DEPTH} levels",
        kind="too-deep",
        hint="store what lies deep as text",
    )
