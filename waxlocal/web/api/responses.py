"""API responses: JSON, and pages of a list with `next` and `previous` URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from waxlocal.encode import dumps
from waxlocal.web.root_path import raw_path_of

__all__ = ["json_answer", "neighbours", "page", "raw_tail"]


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response; call it in a thread if the value is large."""
    return Response(dumps(value).encode(), status, headers, "application/json")


def page(
    request: Request, rows: Sequence[Any], count: int, *, limit: int, offset: int
) -> dict[str, Any]:
    """Return one page of a list of `count` rows, with the URLs of the adjacent pages."""
    return {"count": count, **neighbours(request, count, limit=limit, offset=offset)} | {
        "results": rows
    }


def neighbours(request: Request, count: int, *, limit: int, offset: int) -> dict[str, str | None]:
    """Return `next` and `previous` as absolute URLs on the requested host; None at either end."""
    more = offset + limit < count
    return {
        "next": _address(request, limit, offset + limit) if more else None,
        "previous": _address(request, limit, max(0, offset - limit)) if offset else None,
    }


def _address(request: Request, limit: int, offset: int) -> str:
    scope = request.scope
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in ("limit", "offset")]
    query = urlencode([*kept, ("limit", limit), ("offset", offset)])
    path = scope["raw_path"].decode("ascii")
    return f"{scope['scheme']}://{request.headers['host']}{path}?{query}"


class _Anything(Convertor[str]):
    """A path parameter with any characters, including line breaks, which the framework rejects."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


def raw_tail(request: Request, prefix: str) -> str:
    """Return the part of the path after a prefix, decoded once, without the trailing slash.

    Reads the raw path: in the decoded path, an escaped slash of an id looks like a separator.
    """
    raw = raw_path_of(request.scope).decode("latin-1")
    return unquote(raw[len(prefix) :].removesuffix("/"))
