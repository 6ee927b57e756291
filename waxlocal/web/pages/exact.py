"""The session or run that a search text is the id of."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from waxlocal.queries.identifiers import session_or_run
from waxlocal.web.db import ask
from waxlocal.web.pages.addresses import Links

__all__ = ["exact_match"]

# A shorter search text is more likely a word than the beginning of an id.
LEAST_ID = 8


@dataclass(frozen=True)
class Exact:
    """A session or run whose id begins with the search text."""

    noun: str
    id: str
    url: str


async def exact_match(request: Request, links: Links, text: str) -> Exact | None:
    """Return the session or run whose id matches the search text."""
    if len(text) < LEAST_ID or any(map(str.isspace, text)):
        return None

    found = await ask(request, lambda conn: session_or_run(conn, text))
    if found is None:
        return None
    noun, one = found
    return Exact(noun, one, (links.session if noun == "session" else links.run)(one))
