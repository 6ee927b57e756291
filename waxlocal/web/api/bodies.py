"""Read request bodies as JSON of limited depth."""

from __future__ import annotations

from typing import Any

from starlette.requests import ClientDisconnect, Request

from waxlocal.decode import TooDeep, TooMany, loads
from waxlocal.encode import MAX_DEPTH
from waxlocal.web.api.problems import Problem

__all__ = ["as_object", "parse_json", "read_body", "read_json", "read_object"]


async def read_body(request: Request) -> bytes:
    """Return the body of a request; raises `ClientDisconnect` if the client leaves before its end.

    As `Request.body` does, which takes three times as long for the usual body of one part.
    """
    parts: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_json(request: Request) -> Any:
    """Return the body of a request, parsed as JSON; raises `Problem` (400) for anything else."""
    return parse_json(await read_body(request))


async def read_object(request: Request) -> dict[str, Any]:
    """Return the body of a request, which must be a JSON object; raises `Problem` (400)."""
    return as_object(await read_json(request))


def as_object(value: Any) -> dict[str, Any]:
    """Return a parsed body that is a JSON object; raises `Problem` (400) for anything else."""
    if not isinstance(value, dict):
        raise Problem(400, "the body is not a JSON object", kind="invalid-body")
    return value


def parse_json(body: bytes | str, most_levels: int = MAX_DEPTH) -> Any:
    """Return the value of a body of at most so many levels; raises `Problem` (400, 413).

    Accepts `NaN` and `Infinity`, which Python's own encoder writes. By default it takes as many
    levels as the recorder writes.
    """
    try:
        return loads(body, most_levels)
    except TooDeep as error:
        hint = "store the deepest levels as text"
        raise Problem(400, f"the body is {error}", kind="too-deep", hint=hint) from None
    except TooMany as error:
        hint = "send less per request"
        raise Problem(413, f"the body is JSON {error}", kind="too-large", hint=hint) from None
    except ValueError as error:
        # The decoder's message has a position, but no content of the body.
        raise Problem(400, f"the body is not valid JSON: {error}", kind="invalid-body") from None
