"""The whole of a list as one file: CSV or JSON lines, with the filter and the order of its page."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.exports import (
    RUN_COLUMNS,
    SESSION_COLUMNS,
    USER_COLUMNS,
    as_csv,
    as_json,
)
from waxlocal.queries import as_dict
from waxlocal.queries.run_list import run_ids, runs_by_id
from waxlocal.queries.sessions import session_ids, sessions_by_id
from waxlocal.queries.users import all_users
from waxlocal.web.db import ask
from waxlocal.web.pages.downloads import FILE_S, download, encoded, form_of
from waxlocal.web.pages.list_request import RUNS, SESSIONS, ListRequest

__all__ = ["FORMS", "list_file"]

FORMS = {"csv": "CSV", "jsonl": "JSON lines"}
_TYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
# Rows that are read, and in memory, at once.
PIECE = 1_000


class _Kind(NamedTuple):
    """How the rows of a list are found and read, and the columns of CSV."""

    ids: Callable[..., Iterator[str]]
    rows: Callable[[sqlite3.Connection, list[str]], Sequence[Any]]
    columns: tuple[str, ...]


_KINDS = {
    SESSIONS.noun: _Kind(session_ids, sessions_by_id, SESSION_COLUMNS),
    RUNS.noun: _Kind(run_ids, runs_by_id, RUN_COLUMNS),
}


async def list_file(request: Request, asked: ListRequest[Any], form: str) -> Response:
    """Answer with all rows of a list; raises `InvalidQuery`.

    The sessions or runs are those that match at the beginning, each once; they are read and sent a
    thousand at a time, so a slow client keeps no snapshot of the file open.
    """
    media_type = form_of(_TYPES, form)
    kind = _KINDS.get(asked.listed.noun)
    if kind is None:
        parts = _only(await ask(request, lambda conn: _users(conn, asked, form), seconds=FILE_S))
    else:
        pieces = await ask(request, lambda conn: _pieces(conn, asked, kind), seconds=FILE_S)
        parts = _parts(request, kind, form, pieces)
    return download(parts, f"{asked.listed.noun}.{form}", media_type)


def _pieces(conn: sqlite3.Connection, asked: ListRequest[Any], kind: _Kind) -> list[str]:
    """Return all ids, as JSON of a thousand at a time: a text takes half of what a list takes."""
    ids = kind.ids(conn, filter=asked.filter, ordering=asked.ordering)
    return [json.dumps(piece) for piece in iter(lambda: list(islice(ids, PIECE)), [])]


async def _parts(
    request: Request, kind: _Kind, form: str, pieces: Sequence[str]
) -> AsyncIterator[bytes]:
    yield _encoded(form, kind.columns, (), is_first=True)
    for piece in pieces:
        yield await ask(request, _read(kind, form, json.loads(piece)), seconds=FILE_S)


def _read(kind: _Kind, form: str, ids: list[str]) -> Callable[[sqlite3.Connection], bytes]:
    return lambda conn: _encoded(form, kind.columns, kind.rows(conn, ids), is_first=False)


async def _only(part: bytes) -> AsyncIterator[bytes]:
    yield part


def _users(conn: sqlite3.Connection, asked: ListRequest[Any], form: str) -> bytes:
    """Return all users: they are few, and their order is only known when all have been counted."""
    users = all_users(conn, ordering=asked.ordering)
    return _encoded(form, USER_COLUMNS, users, is_first=True)


def _encoded(form: str, columns: Sequence[str], rows: Iterable[Any], *, is_first: bool) -> bytes:
    plain = map(as_dict, rows)
    lines = map(as_json, plain) if form == "jsonl" else as_csv(columns, plain)
    if form == "csv" and not is_first:
        lines = islice(lines, 1, None)
    return encoded(f"{line}\n" for line in lines)
