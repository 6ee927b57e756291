"""The session or run that a search text is the id of."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from starlette.requests import Request

from waxlocal.errors import AmbiguousId, InvalidQuery, NotFound
from waxlocal.queries import SessionFilter, resolve_run_id, resolve_session_id
from waxlocal.queries.run_list import RunFilter
from waxlocal.web.db import ask
from waxlocal.web.pages.list_request import ListRequest

__all__ = ["exact_match"]

# A shorter search text is more likely a word than the beginning of an id.
LEAST_ID = 8


@dataclass(frozen=True)
class Exact:
    """A session or run whose id begins with the search text."""

    noun: str
    id: str
    url: str


async def exact_match(
    request: Request, asked: ListRequest[SessionFilter] | ListRequest[RunFilter]
) -> Exact | None:
    """Return the session or run whose id matches the search text."""
    text = asked.value("search")
    if len(text) < LEAST_ID or any(map(str.isspace, text)):
        return None

    def question(conn: sqlite3.Connection) -> Exact | None:
        for noun, resolve, url in (
            ("session", resolve_session_id, asked.links.session),
            ("run", resolve_run_id, asked.links.run),
        ):
            try:
                one = resolve(conn, text)
            except (NotFound, AmbiguousId, InvalidQuery):
                continue
            return Exact(noun, one, url(one))
        return None

    return await ask(request, question)
