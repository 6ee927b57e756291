"""The endpoint that searches: at a path of our own, for the Waxell API has none."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waxlocal.errors import InvalidQuery
from waxlocal.queries.filters import MAX_LIMIT
from waxlocal.queries.rows import as_dict
from waxlocal.records import LARGEST_INTEGER
from waxlocal.search.line import Line, parse_line
from waxlocal.web.api.parameters import DEFAULT_LIMIT, read_parameters
from waxlocal.web.api.problems import Problem
from waxlocal.web.api.responses import json_answer
from waxlocal.web.search_index import ask_index
from waxlocal.wire import paths

__all__ = ["ROUTES"]


async def search(request: Request) -> Response:
    """Find the turns in which something was said."""
    given = read_parameters(request, ("q", "limit", "below"))
    line = _line(given.needed("q"))
    limit = given.number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    below = given.number("below", LARGEST_INTEGER, 1, LARGEST_INTEGER)
    found = await ask_index(request, line, limit=limit, below=below)
    if found is None:
        raise Problem(503, "the search index is being made", hint="ask again in a second")
    hits = [as_dict(hit.row()) for hit in found.hits]
    answer = {"is_cut": found.is_cut, "below": found.below, "behind": found.behind}
    return json_answer({**answer, "results": hits})


def _line(text: str) -> Line:
    try:
        line = parse_line(text)
    except InvalidQuery as error:
        raise Problem(400, str(error), hint=error.hint, parameter="q") from error
    if line.is_empty:
        raise Problem(400, "no word to search for", hint="q=refund user:42", parameter="q")
    return line


ROUTES = [Route(paths.SEARCH, search)]
