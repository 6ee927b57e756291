"""A session as one file: HTML that needs nothing else, Markdown, or a line of JSON for each run."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.queries import (
    Money,
    Session,
    Timing,
    as_dict,
    get_run,
    money,
    timing,
)
from waxlocal.queries.rows import as_json
from waxlocal.queries.sessions import sessions_by_id
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.web.db import ask
from waxlocal.web.pages import session_markdown
from waxlocal.web.pages.files import STATIC
from waxlocal.web.pages.folds import Words
from waxlocal.web.pages.rendering import environment
from waxlocal.web.pages.turns import folded, read_part, turns_of

__all__ = ["FORMS", "session_file", "written"]

# Turns that are in memory at once.
TURNS = 100
# All of a message is in the file.
_WHOLE = 1 << 40
_STYLE = Markup((STATIC / "app.css").read_text(encoding="utf-8"))  # noqa: S704 - our own


@dataclass(frozen=True)
class Overview:
    """What stands above the conversation."""

    session: Session
    money: Money
    timing: Timing


class Form(NamedTuple):
    """How a file is written: its head from the overview, then part by part, and its end."""

    name: str
    suffix: str
    media_type: str
    head: Callable[[Overview], str]
    part: Callable[[sqlite3.Connection, Overview, int], str]
    end: str


def written(conn: sqlite3.Connection, session_id: str, form: str) -> Iterator[str]:
    """Yield a session as a file, a hundred turns at a time; raises `NotFound` before the first."""
    chosen = FORMS[form]
    overview = _overview(conn, session_id)
    yield chosen.head(overview)
    for offset in range(0, overview.session.turn_count, TURNS):
        yield chosen.part(conn, overview, offset)
    yield chosen.end


async def session_file(request: Request, session_id: str, form: str) -> Response:
    """Answer with a session as a file; raises `NotFound` and `InvalidQuery`."""
    chosen = FORMS.get(form)
    if chosen is None:
        raise InvalidQuery(f"unknown file {form!r}", hint=f"use one of: {', '.join(FORMS)}")
    overview = await ask(request, lambda conn: _overview(conn, session_id))
    name = f"{_file_name(session_id)}{chosen.suffix}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    parts = _streamed(request, chosen, overview)
    return StreamingResponse(parts, media_type=chosen.media_type, headers=headers)


async def _streamed(request: Request, form: Form, overview: Overview) -> AsyncIterator[bytes]:
    yield _encoded(await asyncio.to_thread(form.head, overview))
    for offset in range(0, overview.session.turn_count, TURNS):
        yield _encoded(await ask(request, _part_of(form, overview, offset)))
    yield _encoded(form.end)


def _part_of(form: Form, overview: Overview, offset: int) -> Callable[[sqlite3.Connection], str]:
    return lambda conn: form.part(conn, overview, offset)


def _encoded(text: str) -> bytes:
    # Recorded JSON may contain an escaped lone surrogate.
    return text.encode("utf-8", "replace")


def _file_name(session_id: str) -> str:
    return "session-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", session_id).strip("-.")[:80] or "1")


@in_snapshot
def _overview(conn: sqlite3.Connection, session_id: str) -> Overview:
    found = sessions_by_id(conn, [session_id])
    if not found:
        raise NotFound(f"no session {session_id!r}")
    return Overview(found[0], money(conn, session_id), timing(conn, session_id))


# -- HTML: opens from a stick, without script, and loads nothing


def _html_head(overview: Overview) -> str:
    return environment.get_template("file_head.html").render(
        title=overview.session.title or "Untitled session",
        session=overview.session,
        money=overview.money,
        timing=overview.timing,
        style=_STYLE,
    )


def _html_part(conn: sqlite3.Connection, overview: Overview, offset: int) -> str:
    found = read_part(conn, overview.session.session_id, offset=offset, limit=TURNS)
    words = Words(as_text=False)
    turns = turns_of(found, overview.timing, overview.money, words, most=_WHOLE)
    return environment.get_template("file_turns.html").render(turns=folded(turns))


_HTML_END = "</div>\n</main>\n</body>\n</html>\n"


# -- Markdown


def _markdown_head(overview: Overview) -> str:
    return session_markdown.head(overview.session, overview.money, overview.timing)


def _markdown_part(conn: sqlite3.Connection, overview: Overview, offset: int) -> str:
    found = read_part(conn, overview.session.session_id, offset=offset, limit=TURNS)
    words = Words(as_text=True)
    turns = turns_of(found, overview.timing, overview.money, words, most=_WHOLE)
    return "".join(map(session_markdown.turn, folded(turns)))


# -- JSON lines: all that was recorded of each run


def _json_part(conn: sqlite3.Connection, overview: Overview, offset: int) -> str:
    found = read_part(conn, overview.session.session_id, offset=offset, limit=TURNS)
    places = zip(found.detail.runs, found.detail.places, strict=True)
    return "".join(
        as_json(as_dict(get_run(conn, run.run_id)) | place._asdict()) + "\n"
        for run, place in places
    )


FORMS: Mapping[str, Form] = {
    "html": Form("HTML", ".html", "text/html", _html_head, _html_part, _HTML_END),
    "markdown": Form("Markdown", ".md", "text/markdown", _markdown_head, _markdown_part, ""),
    "jsonl": Form("JSON lines", ".jsonl", "application/x-ndjson", lambda _: "", _json_part, ""),
}
