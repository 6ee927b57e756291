"""What a search has found: runs with a snippet each, and where they stand in their sessions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.run_order import MOST_IN_ORDER, runs_in_order
from waxlocal.queries.snapshot import snapshot
from waxlocal.queries.texts import message_text, title
from waxlocal.queries.turns import Place
from waxlocal.search.find import Found, find
from waxlocal.search.index_file import state_of
from waxlocal.search.line import Line, loosened
from waxlocal.search.reading import all_rows, contents_of, lenient
from waxlocal.search.said import Row, RunRows
from waxlocal.search.snippets import Snippet, snippet_of

__all__ = ["Hit", "HitRow", "Hits", "search"]

# How long a question may take. What it has found by then is shown, and the next page goes on there.
QUESTION_S = 1.0

_FIRST = """
SELECT CAST(inputs AS TEXT) FROM runs WHERE session_id = ? ORDER BY started_at, id LIMIT 1
"""
_COUNT = "SELECT run_count FROM sessions WHERE session_id = ?"
_LAST = "SELECT max(id) FROM runs"


@dataclass(frozen=True)
class HitRow:
    """A turn that matches a search, or the run of a sub-agent (`nested`) in it.

    `found_in` is `message`, `answer`, `errors`, `tools` or `prompts`; without a word of the line in
    the snippet it is the beginning of the message.
    """

    run_id: str
    session_id: str | None
    session_title: str
    turn: int | None
    nested: bool | None
    agent_name: str
    user_id: str | None
    status: str
    started_at: str
    found_in: str
    snippet: str


@dataclass(frozen=True)
class Hit:
    """A run that matches. `place` is its turn; None without a session, or in a very long one.

    `session_title` are the first words of the session, or of the run where it belongs to none.
    `is_loose`: its words only begin as those that were searched for.
    """

    run_id: str
    session_id: str | None
    session_title: str
    agent_name: str
    user_id: str | None
    status: str
    started_at: str
    place: Place | None
    snippet: Snippet
    is_loose: bool

    def row(self) -> HitRow:
        """Return it as programs get it."""
        return HitRow(
            run_id=self.run_id,
            session_id=self.session_id,
            session_title=self.session_title,
            turn=self.place and self.place.turn,
            nested=self.place and self.place.nested,
            agent_name=self.agent_name,
            user_id=self.user_id,
            status=self.status,
            started_at=self.started_at,
            found_in=self.snippet.column,
            snippet="".join(text for text, _ in self.snippet.parts),
        )


@dataclass(frozen=True)
class Hits:
    """A page of hits, those recorded last first; `below` is where the next page begins, if any.

    `is_cut`: there was no time to fill the page. `is_whole`: the index had all runs.
    """

    hits: tuple[Hit, ...]
    below: int | None
    is_cut: bool
    is_whole: bool

    @classmethod
    def nothing(cls) -> Hits:
        """Return the page of a line that asks for nothing."""
        return cls((), None, is_cut=False, is_whole=True)


def search(
    main: sqlite3.Connection,
    index: sqlite3.Connection,
    line: Line,
    *,
    limit: int = 20,
    below: int | None = None,
    seconds: float = QUESTION_S,
) -> Hits:
    """Return a page of the runs that match a line, each with the words that were searched for.

    Where no run has these words, of those whose words begin so: `loan` finds `loans`. Raises
    `sqlite3.Error`.
    """
    end = time.monotonic() + seconds

    def found_by(one: Line) -> Found:
        may_go_on = lambda: time.monotonic() < end  # noqa: E731
        return find(main, index, one, limit=limit, below=below, may_go_on=may_go_on)

    with snapshot(main), lenient(main):
        found, loose = found_by(line), loosened(line)
        is_loose = not found.runs and found.below is None and loose != line
        if is_loose:
            line, found = loose, found_by(loose)
        state, (last,) = state_of(index), main.execute(_LAST).fetchone()
        return Hits(
            tuple(_hits(main, found.runs, line, is_loose=is_loose)),
            found.below,
            is_cut=found.below is not None and len(found.runs) < limit,
            is_whole=last is None or (state is not None and state.up_to >= last),
        )


def _hits(
    main: sqlite3.Connection, runs: Sequence[int], line: Line, *, is_loose: bool
) -> Iterator[Hit]:
    by_id = {rows.run["id"]: rows for rows in all_rows(main, runs)}
    found = [by_id[run] for run in runs if run in by_id]
    gone, places, titles = GoneProcesses(main), _Places(main), _Titles(main)
    for rows in found:
        run = rows.run
        yield Hit(
            run_id=run["run_id"],
            session_id=run["session_id"],
            session_title=titles.of(run),
            agent_name=run["agent_name"],
            user_id=run["user_id"],
            status=gone.shown_status(run["status"], run["process_id"]),
            started_at=run["started_at"],
            place=places.of(run),
            snippet=_snippet(main, rows, line),
            is_loose=is_loose,
        )


def _snippet(main: sqlite3.Connection, rows: RunRows, line: Line) -> Snippet:
    """Return where the words stand; the prompts are read only if they are nowhere else."""
    found, has_all = snippet_of(rows, line.terms)
    if not has_all:
        keys = {key for call in rows.calls for key in call["keys"]}
        found, _ = snippet_of(rows, line.terms, contents_of(main, keys))
    return found


class _Titles:
    """The titles of sessions, each read once."""

    def __init__(self, main: sqlite3.Connection) -> None:
        self._main = main
        self._known: dict[str, str] = {}

    def of(self, run: Row) -> str:
        """Return the title of the session of a run."""
        session = run["session_id"]
        if session is None:
            return title(message_text(run["inputs"]))
        if session not in self._known:
            (inputs,) = self._main.execute(_FIRST, (session,)).fetchone()
            self._known[session] = title(message_text(inputs))
        return self._known[session]


class _Places:
    """The turns of runs in their sessions, each session read once."""

    def __init__(self, main: sqlite3.Connection) -> None:
        self._main = main
        self._known: dict[str, dict[str, Place]] = {}

    def of(self, run: Row) -> Place | None:
        """Return the place of a run, None where it has none or a session is too long to tell."""
        session = run["session_id"]
        if session is None:
            return None
        if session not in self._known:
            row = self._main.execute(_COUNT, (session,)).fetchone()
            is_long = row is None or row[0] > MOST_IN_ORDER
            placed = () if is_long else runs_in_order(self._main, session)
            self._known[session] = {one.run_id: one.place for one in placed}
        return self._known[session].get(run["run_id"])
