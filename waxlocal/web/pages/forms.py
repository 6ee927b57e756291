"""Reads the forms that pages send."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import Request

from waxlocal.web.api.problems import Problem

__all__ = ["read_form"]

# A hundred ids, or one of 5,000 characters, each up to nine bytes when encoded.
MOST_BYTES = 65_536


async def read_form(request: Request, most_fields: int) -> Mapping[str, list[str]]:
    """Return the values of a form by name; raises `Problem` for anything else or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "the body is not a form")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Problem(413, f"the form is larger than {MOST_BYTES:,} bytes")
    try:
        return parse_qs(body.decode("utf-8", "replace"), True, max_num_fields=most_fields)
    except ValueError:
        raise Problem(400, f"the form has more than {most_fields} fields") from None
