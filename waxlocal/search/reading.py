"""Reads runs for the index, some hundred at a time, and makes a document of each.

A call sends the whole history of its conversation, and a run may get it as its input. That is in
the index once: where it was said. What an earlier run of the session had is left out of this one.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.texts import decoded
from waxlocal.search.facets import EVERY, facet, model_names
from waxlocal.search.said import Piece, Row, RunRows, pieces, tool_names
from waxlocal.search.words import words_of
from waxlocal.storage.contents import read_keys

__all__ = ["Document", "Reader", "all_rows", "contents_of"]


def _texts(*names: str) -> str:
    return ", ".join(f"CAST({name} AS TEXT) AS {name}" for name in names)


# Another program may have stored bytes or numbers where a text belongs.
_OF_RUNS = _texts(
    *("session_id", "agent_name", "user_id", "status", "started_at", "tags", "inputs", "result"),
    *("error", "error_type"),
)
_OF_CALLS = _texts(
    *("model", "error_type", "error_message", "prompt_preview", "response_preview", "response"),
    *("details", "messages", "message_keys"),
)
_RUNS = f"""
SELECT id, run_id, process_id, {_OF_RUNS}
FROM runs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608
_IDS = "(SELECT run_id FROM runs WHERE id IN (SELECT value FROM json_each(?)))"
_CALLS = f"""
SELECT run_id, position, {_OF_CALLS}
FROM llm_calls WHERE run_id IN {_IDS} ORDER BY run_id, position
"""  # noqa: S608
_SPANS = f"""
SELECT run_id, position, {_texts("name", "kind", "error", "input", "output")}
FROM spans WHERE run_id IN {_IDS} ORDER BY run_id, position
"""  # noqa: S608
_STEPS = f"""
SELECT run_id, position, {_texts("step_name", "output")}
FROM steps WHERE run_id IN {_IDS} ORDER BY run_id, position
"""  # noqa: S608
_EVENTS = f"""
SELECT run_id, position, {_texts("event", "data")}
FROM events WHERE run_id IN {_IDS} ORDER BY run_id, position
"""  # noqa: S608
_CONTENTS = """
SELECT key, CAST(content AS TEXT) AS content FROM contents
WHERE key IN (SELECT value FROM json_each(?))
"""
_EARLIER = """
SELECT id FROM runs WHERE session_id = :session_id AND started_at <= :started_at
  AND id < :id ORDER BY started_at DESC LIMIT 3
"""
# Conversations whose last words are remembered.
MOST_KNOWN = 256
# Between two pieces, so that no phrase begins in one and ends in the other.
BETWEEN = " \N{PILCROW SIGN} "


class Document(NamedTuple):
    """A run as the index has it. `shown` is its status as a reader sees it."""

    run: int
    started_at: str
    shown: str
    columns: Mapping[str, str]


class Reader:
    """Makes documents of runs; of one connection. Keeps in mind what conversations have said."""

    def __init__(self, main: sqlite3.Connection) -> None:
        self._main = main
        self._known: OrderedDict[str, set[object]] = OrderedDict()

    def documents(self, runs: Sequence[int]) -> Iterator[Document]:
        """Give the documents of these runs, in order of their ids; none for one that is gone."""
        gone = GoneProcesses(self._main)
        for rows in all_rows(self._main, runs):
            run = rows.run
            shown = gone.shown_status(run["status"], run["process_id"])
            columns = self._columns(rows, shown)
            yield Document(run["id"], run["started_at"], shown, columns)

    def _columns(self, rows: RunRows, status: str) -> dict[str, str]:
        known = self._known_before(rows.run)
        told: dict[str, list[str]] = {}
        for piece in _wanted(pieces(rows, self._new_contents(rows, known)), known):
            told.setdefault(piece.column, []).append(" ".join(words_of(piece.text)))
        columns = {name: BETWEEN.join(filter(None, texts)) for name, texts in told.items()}
        return {**columns, "facets": " ".join(sorted(_facets(rows, status)))}

    def _new_contents(self, rows: RunRows, known: set[object]) -> dict[str, str]:
        """Return the messages that were not sent in an earlier run, and remember them."""
        keys = {key for call in rows.calls for key in call["keys"]} - known
        known |= keys
        return contents_of(self._main, keys)

    def _known_before(self, run: Row) -> set[object]:
        if run["session_id"] is None:
            return set()
        key = run["session_id"]
        known = self._known.pop(key, None)
        if known is None:
            known = self._said_before(run)
        self._known[key] = known
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    def _said_before(self, run: Row) -> set[object]:
        earlier = [row[0] for row in self._main.execute(_EARLIER, run).fetchall()]
        known: set[object] = set()
        for rows in all_rows(self._main, earlier):
            # Any of its messages may come again within another structure: by its key, and as text.
            new = self._new_contents(rows, known)
            known.update(hash(piece.text) for piece in pieces(rows, new))
        return known


def _wanted(all_of_them: Iterable[Piece], known: set[object]) -> Iterator[Piece]:
    for piece in all_of_them:
        mark = hash(piece.text)
        if piece.own or mark not in known:
            yield piece
        known.add(mark)


def _facets(rows: RunRows, status: str) -> set[str]:
    run = rows.run
    named = (
        ("user", run["user_id"]), ("agent", run["agent_name"]), ("session", run["session_id"]),
        ("status", status), ("error", run["error_type"]),
    )  # fmt: skip
    found = {EVERY, *(facet(name, str(value)) for name, value in named if value is not None)}
    for call in rows.calls:
        if call["error_type"]:
            found.add(facet("error", call["error_type"]))
        found.update(facet("model", name) for name in model_names(str(call["model"])))
    found.update(facet("tool", str(name)) for name in tool_names(rows))
    tags = decoded(run["tags"])
    for key, value in tags.items() if isinstance(tags, dict) else ():
        said = value if isinstance(value, str) else json.dumps(value)
        found |= {facet("tag", key), facet("tag", f"{key}={said}")}
    return found


def all_rows(main: sqlite3.Connection, runs: Sequence[int]) -> list[RunRows]:
    """Return these runs with their records that have words, in order of the runs' ids."""
    given = (json.dumps(list(runs)),)
    found = {run["run_id"]: RunRows(run) for run in _rows(main, _RUNS, given)}
    for call in _rows(main, _CALLS, given):
        found[call["run_id"]].calls.append({**call, "keys": read_keys(call["message_keys"])})
    for span in _rows(main, _SPANS, given):
        found[span["run_id"]].spans.append(span)
    for step in _rows(main, _STEPS, given):
        found[step["run_id"]].steps.append(step)
    for event in _rows(main, _EVENTS, given):
        found[event["run_id"]].events.append(event)
    return list(found.values())


def contents_of(main: sqlite3.Connection, keys: Iterable[str]) -> dict[str, str]:
    """Return the messages with these keys."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    return {row["key"]: row["content"] for row in _rows(main, _CONTENTS, (json.dumps(wanted),))}


def _rows(main: sqlite3.Connection, sql: str, given: tuple[Any, ...]) -> Iterator[Row]:
    cursor = main.cursor()
    cursor.row_factory = None  # tuples, whatever the connection makes
    found = cursor.execute(sql, given)
    names = [column[0] for column in found.description]
    for row in found.fetchall():
        yield dict(zip(names, row, strict=True))
