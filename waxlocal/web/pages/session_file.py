"""A session as one file: HTML that needs nothing else, Markdown, or a line of JSON for each run."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import NotFound
from waxlocal.exports import as_json
from waxlocal.queries import (
    Money,
    Session,
    Timing,
    as_dict,
    get_run,
    money,
    timing,
)
from waxlocal.queries.run_order import Neighbours, PlacedRun, beside, runs_in_order
from waxlocal.queries.sessions import sessions_by_id
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.web.db import ask
from waxlocal.web.pages import session_markdown
from waxlocal.web.pages.downloads import FILE_S, download, encoded, form_of
from waxlocal.web.pages.files import content_of
from waxlocal.web.pages.folds import Words
from waxlocal.web.pages.rendering import environment
from waxlocal.web.pages.turns import Part, Turn, folded, read_runs, turns_of

__all__ = ["FORMS", "session_file", "written"]

Answer = TypeVar("Answer")

# Runs that are in memory at once; a turn with more is there with all of its sub-agents.
RUNS = 25
_STYLE = Markup(content_of("app.css").decode())  # noqa: S704 - our own


@dataclass(frozen=True)
class Overview:
    """What stands above the conversation, and the runs of each of its parts."""

    session: Session
    money: Money
    timing: Timing
    parts: tuple[tuple[PlacedRun, ...], ...]
    beside: Mapping[int, Neighbours]


class Form(NamedTuple):
    """How a file is written: its head from the overview, then part by part, and its end."""

    name: str
    suffix: str
    media_type: str
    head: Callable[[Overview], str]
    read: Callable[[sqlite3.Connection, Overview, Sequence[PlacedRun]], Any]
    part: Callable[[Overview, Any], Iterator[str]]
    end: str


def written(conn: sqlite3.Connection, session_id: str, form: str) -> Iterator[str]:
    """Yield a session as a file, run by run; raises `NotFound` before the first."""
    chosen = FORMS[form]
    overview = _overview(conn, session_id)
    yield chosen.head(overview)
    for runs in overview.parts:
        yield from chosen.part(overview, chosen.read(conn, overview, runs))
    yield chosen.end


async def session_file(request: Request, session_id: str, form: str) -> Response:
    """Answer with a session as a file; raises `NotFound` and `InvalidQuery`."""
    chosen = form_of(FORMS, form)
    overview = await _ask(request, lambda conn: _overview(conn, session_id))
    name = f"{_file_name(session_id)}{chosen.suffix}"
    return download(_streamed(request, chosen, overview), name, chosen.media_type)


async def _streamed(request: Request, form: Form, overview: Overview) -> AsyncIterator[bytes]:
    yield encoded([await asyncio.to_thread(form.head, overview)])
    for runs in overview.parts:
        found = await _ask(request, _part_of(form, overview, runs))
        # In a thread, and without a connection: to render takes longer than to read.
        yield await asyncio.to_thread(_rendered, form, overview, found)
    yield encoded([form.end])


async def _ask(request: Request, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
    return await ask(request, question, seconds=FILE_S)


def _part_of(
    form: Form, overview: Overview, runs: Sequence[PlacedRun]
) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: form.read(conn, overview, runs)


def _rendered(form: Form, overview: Overview, found: Any) -> bytes:
    return encoded(form.part(overview, found))


def _file_name(session_id: str) -> str:
    return "session-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", session_id).strip("-.")[:80] or "1")


@in_snapshot
def _overview(conn: sqlite3.Connection, session_id: str) -> Overview:
    found = sessions_by_id(conn, [session_id])
    if not found:
        raise NotFound(f"no session {session_id!r}")
    runs = runs_in_order(conn, session_id)
    return Overview(
        session=found[0],
        money=money(conn, session_id),
        timing=timing(conn, session_id),
        parts=tuple(_parts(runs)),
        beside=beside(runs),
    )


def _parts(runs: Sequence[PlacedRun]) -> Iterator[tuple[PlacedRun, ...]]:
    """Yield all runs of some turns at a time, a turn always with its sub-agents."""
    turns: dict[int, list[PlacedRun]] = {}
    for run in runs:
        turns.setdefault(run.place.turn, []).append(run)
    part: list[PlacedRun] = []
    for number in sorted(turns):
        if part and len(part) + len(turns[number]) > RUNS:
            yield tuple(part)
            part = []
        part += turns[number]
    if part:
        yield tuple(part)


# -- what people read


def _read_turns(conn: sqlite3.Connection, overview: Overview, runs: Sequence[PlacedRun]) -> Part:
    return read_runs(conn, overview.session, runs)


def _turns(overview: Overview, found: Part, words: Words) -> list[Turn]:
    return folded(turns_of(found, overview.timing, overview.money, words, most=None))


# HTML opens from a stick, without script, and loads nothing.


def _html_head(overview: Overview) -> str:
    return environment.get_template("file_head.html").render(
        title=overview.session.title or "Untitled session",
        session=overview.session,
        money=overview.money,
        timing=overview.timing,
        style=_STYLE,
    )


def _html_part(overview: Overview, found: Part) -> Iterator[str]:
    template = environment.get_template("file_turn.html")
    for turn in _turns(overview, found, Words(most=None)):
        yield template.render(turn=turn)


_HTML_END = "</div>\n</main>\n</body>\n</html>\n"


def _markdown_head(overview: Overview) -> str:
    return session_markdown.head(overview.session, overview.money, overview.timing)


def _markdown_part(overview: Overview, found: Part) -> Iterator[str]:
    return map(session_markdown.turn, _turns(overview, found, Words(most=0)))


# -- what programs read: all that was recorded of each run


def _read_runs(
    conn: sqlite3.Connection, overview: Overview, runs: Sequence[PlacedRun]
) -> list[dict[str, Any]]:
    found = []
    for run in runs:
        with suppress(NotFound):  # deleted meanwhile
            detail = get_run(conn, run.run_id, beside=overview.beside[run.id])
            found.append(as_dict(detail) | run.place._asdict())
    return found


def _json_part(_overview: Overview, found: Sequence[dict[str, Any]]) -> Iterator[str]:
    return (as_json(run) + "\n" for run in found)


FORMS: Mapping[str, Form] = {
    "html": Form("HTML", ".html", "text/html", _html_head, _read_turns, _html_part, _HTML_END),
    "markdown": Form(
        "Markdown", ".md", "text/markdown", _markdown_head, _read_turns, _markdown_part, ""
    ),
    "jsonl": Form(
        "JSON lines", ".jsonl", "application/x-ndjson", lambda _: "", _read_runs, _json_part, ""
    ),
}
