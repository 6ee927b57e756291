"""Answers of the API: JSON, and pages of a list with the addresses of their neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from waxlocal.encode import dumps

__all__ = ["json_answer", "neighbours", "page", "raw_tail"]


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer of JSON; works in any thread, so that long ones hold up nobody."""
    return Response(dumps(value).encode(), status, headers, "application/json")


def page(
    request: Request, rows: Sequence[Any], count: int, *, limit: int, offset: int
) -> dict[str, Any]:
    """Return one page of a list of `count` rows, with the addresses of the pages around it."""
    return {"count": count, **neighbours(request, count, limit=limit, offset=offset)} | {
        "results": rows
    }


def neighbours(request: Request, count: int, *, limit: int, offset: int) -> dict[str, str | None]:
    """Return `next` and `previous`: whole addresses, by the host that was asked; None at an end."""
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
    """A part of a path with any characters: line breaks, too, which the framework's own refuses."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


def raw_tail(request: Request, prefix: str) -> str:
    """Return what follows a prefix of the path, decoded once, without the slash that ends it.

    From the path as it was sent: in the decoded one, a slash of an id cannot be told from one that
    divides the path.
    """
    raw: str = request.scope["raw_path"].decode("latin-1")
    return unquote(raw[len(prefix) :].removesuffix("/"))
