"""The search page: the turns in which something was said, by conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import InvalidQuery
from waxlocal.search.hits import MOST_BEHIND, Hit, by_session
from waxlocal.search.line import Line, parse_line
from waxlocal.web.pages.addresses import Links
from waxlocal.web.pages.exact import exact_match
from waxlocal.web.pages.list_request import whole
from waxlocal.web.pages.rendering import show
from waxlocal.web.search_index import ask_index, indexing_of

__all__ = ["search_page"]

# Turns on a page.
HITS = 20
# More documents than any index has; as many digits as `whole` reads.
MOST_BELOW = 10**11 - 1


@dataclass(frozen=True)
class Conversation:
    """The hits in one session, each with the URL of its turn; or one run outside of sessions."""

    title: str
    url: str
    hits: Sequence[tuple[Hit, str]]


async def search_page(request: Request) -> Response:
    """Show the turns that match `q`, those recorded last first; without it what can be asked."""
    text = request.query_params.get("q", "").strip()
    below = whole(request.query_params.get("below"), 0, 1, MOST_BELOW) or None
    links, problem, line = Links.of(request), None, Line()
    try:
        line = parse_line(text)
        if text and line.is_empty:
            raise InvalidQuery("no word to search for", hint="refund user:42")
    except InvalidQuery as error:
        problem = error
    found = None if line.is_empty else await ask_index(request, line, limit=HITS, below=below)
    is_made = line.is_empty or (found is not None and found.behind < MOST_BEHIND)
    hits = found.hits if found else ()
    return await show(
        request,
        "search.html",
        title=f"Search: {text}" if text else "Search",
        section="search",
        status=HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        refresh="list" if is_made and not (found and found.behind) else "waiting",
        text=text,
        problem=problem,
        asks=not line.is_empty,
        is_first=below is None,
        found=found,
        conversations=[_conversation(one, links) for one in by_session(hits)],
        progress=indexing_of(request).progress,
        is_made=is_made,
        exact=await exact_match(request, links, text),
    )


def _conversation(hits: Sequence[Hit], links: Links) -> Conversation:
    first = hits[0]
    url = links.run(first.run_id) if first.session_id is None else links.session(first.session_id)
    return Conversation(first.session_title, url, [(hit, _turn_url(hit, links)) for hit in hits])


def _turn_url(hit: Hit, links: Links) -> str:
    if hit.session_id is None or hit.place is None:
        return links.run(hit.run_id)
    turn = hit.place.turn
    return f"{links.turn(hit.session_id, turn)}#turn-{turn}"
