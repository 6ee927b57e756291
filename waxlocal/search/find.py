"""Finds runs by a line: first in the index, then by what only the file knows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from waxlocal.queries.turns import turn_columns
from waxlocal.search.facets import EVERY, facet
from waxlocal.search.index_file import Index
from waxlocal.search.line import Line, Term

__all__ = ["FoundRuns", "find", "has_any"]

# Documents that are looked at together, where the file has to be asked about each.
LOOKED_AT = 500
# Where so few sessions have the figures that are asked for, the index is asked for these sessions.
# Where more have, some of any thousand runs are theirs.
FEW_SESSIONS = 200

_MATCHING = """
SELECT d.doc, d.run FROM words JOIN documents d ON d.doc = words.rowid
WHERE words MATCH :match AND words.rowid < :below AND words.rowid >= :least
ORDER BY words.rowid DESC LIMIT :limit
"""
_ALL = """
SELECT doc, run FROM documents WHERE doc < :below AND doc >= :least ORDER BY doc DESC LIMIT :limit
"""
_LEAST = "SELECT min(block) << 12 FROM blocks WHERE last >= ?"
_MOST = "SELECT (max(block) + 1) << 12 FROM blocks WHERE first < ?"
_HIGHEST = 1 << 62
_SESSIONS = "SELECT s.session_id FROM sessions s WHERE {conditions} LIMIT :few"
_RUNS = """
SELECT r.id FROM runs r {sessions}
WHERE r.id IN (SELECT value FROM json_each(:runs)) AND {conditions}
"""
_JOIN = "JOIN sessions s ON s.session_id = r.session_id"
# What of a line becomes SQL.
_COMPARED = {how: how for how in ("<", "<=", ">", ">=", "=", "<>")}


@dataclass(frozen=True)
class FoundRuns:
    """The documents and ids of runs that match, latest in the index first.

    `below` is the document below which the next ones are, None if there are none.
    """

    runs: tuple[tuple[int, int], ...]
    below: int | None


def find(
    main: sqlite3.Connection,
    index: Index,
    line: Line,
    *,
    limit: int,
    below: int | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> FoundRuns:
    """Return the next runs that match a line, at most `limit`; fewer if it may not go on."""
    return _Search(main, index, line).page(limit, below, may_go_on)


def has_any(main: sqlite3.Connection, index: Index, line: Line) -> bool:
    """Return whether any run could match a line if it asked for other words."""
    return bool(_Search(main, index, replace(line, terms=())).page(1, None, lambda: False).runs)


class _Search:
    """A line on its way to runs."""

    def __init__(self, main: sqlite3.Connection, index: Index, line: Line) -> None:
        self._main = main
        self._index = index
        self._figures, self._values = _figures(main, line)
        self._period = _period(line, self._values)
        self._match = _match(line, self._few_sessions())
        self._least, self._most = self._bounds(line)

    def page(self, limit: int, below: int | None, may_go_on: Callable[[], bool]) -> FoundRuns:
        """Return the next runs below a document, at most `limit`; looks at some in any case."""
        runs: list[tuple[int, int]] = []
        at = self._most if below is None else min(below, self._most)
        size = LOOKED_AT if self._figures or self._period else limit + 1
        is_over = at <= self._least
        while not is_over:
            documents = self._documents(at, size)
            having = self._having(documents)
            for doc, run in documents:
                if run in having:
                    if len(runs) == limit:
                        return FoundRuns(tuple(runs), at)
                    runs.append((doc, run))
                at = doc
            if len(documents) < size:
                return FoundRuns(tuple(runs), None)
            is_over = not may_go_on()
        return FoundRuns(tuple(runs), at if at > self._least else None)

    def _documents(self, below: int, size: int) -> Sequence[tuple[int, int]]:
        given = {"match": self._match, "below": below, "least": self._least, "limit": size}
        return self._index.ask(_MATCHING if self._match else _ALL, given)

    def _having(self, documents: Sequence[tuple[int, int]]) -> set[int]:
        """Return those of the runs that have the figures and are of the period."""
        runs = [run for _, run in documents]
        conditions = [*self._figures, *self._period]
        if not conditions:
            return set(runs)
        joined = _JOIN if self._figures else ""
        sql = _RUNS.format(sessions=joined, conditions=" AND ".join(conditions))
        given = {**self._values, "runs": json.dumps(runs)}
        return {row[0] for row in self._main.execute(sql, given).fetchall()}

    def _few_sessions(self) -> list[str] | None:
        """Return the sessions that have the figures, if these are few."""
        if not self._figures:
            return None
        sql = _SESSIONS.format(conditions=" AND ".join(self._figures))
        given = {**self._values, "few": FEW_SESSIONS + 1}
        found = [row[0] for row in self._main.execute(sql, given).fetchall()]
        return found if len(found) <= FEW_SESSIONS else None

    def _bounds(self, line: Line) -> tuple[int, int]:
        """Return the documents among which those of the period are: from, and below."""
        least: int | None = 0
        most: int | None = _HIGHEST
        if line.after:
            ((least,),) = self._index.ask(_LEAST, (line.after,))
        if line.before:
            ((most,),) = self._index.ask(_MOST, (line.before,))
        return _HIGHEST if least is None else least, 0 if most is None else most


def _match(line: Line, sessions: Sequence[str] | None) -> str:
    """Return the line as a question to FTS5; empty if it asks for nothing that the index has.

    https://sqlite.org/fts5.html#full_text_query_syntax: each word is a string, so that nothing in
    it is syntax. `sessions`: only their runs.
    """
    wanted = [*_phrases(line.terms), *map(_facet, line.facets)]
    if sessions is not None:
        theirs = [facet("session", str(one)) for one in sessions] or ["nowhere"]
        wanted.append(f"({' OR '.join(map(_facet, theirs))})")
    unwanted = [*_phrases(line.no_terms), *map(_facet, line.no_facets)]
    if unwanted:
        wanted = wanted or [_facet(EVERY)]
        return f"({' AND '.join(wanted)}) NOT ({' OR '.join(unwanted)})"
    return " AND ".join(wanted)


def _facet(word: str) -> str:
    return f'facets : "{word}"'


def _phrases(terms: Sequence[Term]) -> Iterator[str]:
    for term in terms:
        words = " + ".join(f'"{word}"' for word in term.words)
        yield f"- facets : ({words}{' *' if term.is_prefix else ''})"


def _figures(main: sqlite3.Connection, line: Line) -> tuple[list[str], dict[str, object]]:
    """Return the conditions on a session `s`, and their values."""
    if not line.figures:
        return [], {}
    turns = turn_columns(main)
    columns = {"cost": turns.cost, "turns": turns.count}
    conditions = [
        f"{columns[one.name]} {_COMPARED[one.how]} :figure{number}"
        for number, one in enumerate(line.figures)
    ]
    return conditions, {f"figure{number}": one.number for number, one in enumerate(line.figures)}


def _period(line: Line, values: dict[str, object]) -> list[str]:
    """Return the conditions on the start of a run `r`; adds their values."""
    conditions = {"after": "r.started_at >= :after", "before": "r.started_at < :before"}
    given = {name: time for name in conditions if (time := getattr(line, name)) is not None}
    values.update(given)
    return [conditions[name] for name in given]
