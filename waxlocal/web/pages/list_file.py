"""The whole of a list as one file, with the filter and the order of its page."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from waxlocal.errors import ConfigurationError, InvalidQuery
from waxlocal.exports import (
    RUN_COLUMNS,
    SESSION_COLUMNS,
    USER_COLUMNS,
    as_csv,
    as_json,
)
from waxlocal.parquet import ParquetRows, can_write
from waxlocal.queries import as_dict
from waxlocal.queries.run_list import run_ids, runs_by_id
from waxlocal.queries.sessions import session_ids, sessions_by_id
from waxlocal.queries.users import all_users
from waxlocal.web.db import ask
from waxlocal.web.pages.downloads import FILE_S, download, encoded, form_of
from waxlocal.web.pages.list_request import RUNS, SESSIONS, ListRequest

__all__ = ["FORMS", "list_file"]

# What a page offers: Parquet where it can be written.
FORMS = {
    "csv": "CSV",
    "jsonl": "JSON lines",
    **({"parquet": "Parquet"} if can_write() else {}),
}
_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
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


class _Rows(Protocol):
    """Writes rows piece by piece: all that it returns is the file."""

    def begin(self) -> bytes: ...
    def piece(self, rows: Iterable[Mapping[str, Any]]) -> bytes: ...
    def end(self) -> bytes: ...


class _JsonLines:
    """An object in each line."""

    def begin(self) -> bytes:
        return b""

    def piece(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        return encoded(f"{as_json(row)}\n" for row in rows)

    def end(self) -> bytes:
        return b""


class _Csv:
    """A header line, and a row for each."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        return self._lines((), skip=0)

    def piece(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        return self._lines(rows, skip=1)

    def end(self) -> bytes:
        return b""

    def _lines(self, rows: Iterable[Mapping[str, Any]], *, skip: int) -> bytes:
        return encoded(f"{line}\n" for line in islice(as_csv(self._columns, rows), skip, None))


async def list_file(request: Request, asked: ListRequest[Any], form: str) -> Response:
    """Answer with all rows of a list; raises `InvalidQuery`, also where a form is not to be had.

    The sessions or runs are those that match at the beginning, each once; they are read and sent a
    thousand at a time, so a slow client keeps no snapshot of the file open.
    """
    media_type = form_of(_TYPES, form)
    kind = _KINDS.get(asked.listed.noun)
    if kind is None:
        # In a thread: to load what writes Parquet takes a while.
        written = await asyncio.to_thread(_rows, form, USER_COLUMNS)
        parts = _only(await ask(request, lambda conn: _users(conn, asked, written), seconds=FILE_S))
    else:
        written = await asyncio.to_thread(_rows, form, kind.columns)
        pieces = await ask(request, lambda conn: _pieces(conn, asked, kind), seconds=FILE_S)
        parts = _parts(request, kind, written, pieces)
    return download(parts, f"{asked.listed.noun}.{form}", media_type)


def _pieces(conn: sqlite3.Connection, asked: ListRequest[Any], kind: _Kind) -> list[str]:
    """Return all ids, as JSON of a thousand at a time: a text takes half of what a list takes."""
    ids = kind.ids(conn, filter=asked.filter, ordering=asked.ordering)
    return [json.dumps(piece) for piece in iter(lambda: list(islice(ids, PIECE)), [])]


def _rows(form: str, columns: Sequence[str]) -> _Rows:
    if form == "jsonl":
        return _JsonLines()
    if form == "csv":
        return _Csv(columns)
    try:
        return ParquetRows(columns)
    except ConfigurationError as error:
        raise InvalidQuery(*error.args, hint=error.hint) from error


async def _parts(
    request: Request, kind: _Kind, written: _Rows, pieces: Sequence[str]
) -> AsyncIterator[bytes]:
    yield written.begin()
    for piece in pieces:
        yield await ask(request, _read(kind, written, json.loads(piece)), seconds=FILE_S)
    yield await asyncio.to_thread(written.end)


def _read(kind: _Kind, written: _Rows, ids: list[str]) -> Callable[[sqlite3.Connection], bytes]:
    return lambda conn: written.piece(map(as_dict, kind.rows(conn, ids)))


async def _only(part: bytes) -> AsyncIterator[bytes]:
    yield part


def _users(conn: sqlite3.Connection, asked: ListRequest[Any], written: _Rows) -> bytes:
    """Return all users: they are few, and their order is only known when all have been counted."""
    users = map(as_dict, all_users(conn, ordering=asked.ordering))
    return written.begin() + written.piece(users) + written.end()
