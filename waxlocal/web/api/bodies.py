"""Read request bodies as JSON of limited depth."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from waxlocal.web.api.problems import Problem

__all__ = ["MAX_DEPTH", "parse_json", "read_json", "read_object"]

# Levels of nested lists and objects; the recorder itself stores no more.
MAX_DEPTH = 100


async def read_json(request: Request) -> Any:
    """Return the body of a request, parsed as JSON; raises `Problem` (400) for anything else.

    Accepts `NaN` and `Infinity`, which Python's own encoder writes.
    """
    return parse_json(await request.body())


async def read_object(request: Request) -> dict[str, Any]:
    """Return the body of a request, which must be a JSON object."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(400, "the body is not a JSON object", kind="invalid-body")
    return body


def parse_json(body: bytes | str) -> Any:
    """Return parsed JSON; raises `Problem` as `read_json` does."""
    try:
        value = json.loads(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        # The decoder's message has a position, but no content of the body.
        raise Problem(400, f"the body is not valid JSON: {error}", kind="invalid-body") from None
    if _openings(body) > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _openings(body: bytes | str) -> int:
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    return body.count(b"[") + body.count(b"{")


def _depth_exceeds(value: Any, most: int) -> bool:
    """Return whether a value has more levels, checked level by level without recursion."""
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
        f"the body is nested more than {MAX_DEPTH} levels deep",
        kind="too-deep",
        hint="store the deepest levels as text",
    )
