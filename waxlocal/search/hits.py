"""What a search has found: runs with a snippet each, and where they stand in their sessions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.run_order import MOST_IN_ORDER, runs_in_order
from waxlocal.queries.sessions import session_titles
from waxlocal.queries.snapshot import snapshot
from waxlocal.queries.texts import message_text, title
from waxlocal.queries.turns import Place
from waxlocal.search.find import FoundRuns, find, has_any
from waxlocal.search.index_file import Index, State
from waxlocal.search.line import Line, loosened
from waxlocal.search.reading import all_rows, contents_of
from waxlocal.search.said import Row, RunRows
from waxlocal.search.snippets import Snippet, snippet_of
from waxlocal.storage.schema import has_table
from waxlocal.storage.transaction import any_text

__all__ = ["MOST_BEHIND", "Hit", "HitRow", "Hits", "by_session", "search"]

# How long a question may take. What it has found by then is shown, and the next page goes on there.
QUESTION_S = 1.0
# How far the runs that are not in the index are counted.
MOST_BEHIND = 1_000

_COUNT = "SELECT run_count FROM sessions WHERE session_id = ?"
_CLAIMED = "SELECT stamp, up_to, (SELECT max(seq) FROM search_changes) FROM search_index"
_BEHIND = f"SELECT count(*) FROM (SELECT 1 FROM runs WHERE id > ? LIMIT {MOST_BEHIND})"  # noqa: S608


@dataclass(frozen=True)
class HitRow:
    """A turn that matches a search, or the run of a sub-agent (`nested`) in it.

    `found_in` is `message`, `answer`, `errors`, `tools` or `prompts`; without a word of the line in
    the snippet it is the beginning of the message. `is_loose`: the words only begin so.
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
    is_loose: bool


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
            is_loose=self.is_loose,
        )


@dataclass(frozen=True)
class Hits:
    """A page of hits, those recorded last first; `below` is where the next page begins, if any.

    `is_cut`: there was no time to fill the page. `behind`: how many of the last runs are not in the
    index yet, counted up to 1,000.
    """

    hits: tuple[Hit, ...]
    below: int | None
    is_cut: bool
    behind: int


def by_session(hits: Iterable[Hit]) -> list[list[Hit]]:
    """Return the hits of each session together, where its first is; a run without one is alone."""
    found: dict[str, list[Hit]] = {}
    for hit in hits:
        found.setdefault(hit.session_id or hit.run_id, []).append(hit)
    return list(found.values())


def search(
    main: sqlite3.Connection,
    index: Index,
    line: Line,
    *,
    limit: int = 20,
    below: int | None = None,
    seconds: float = QUESTION_S,
) -> Hits | None:
    """Return a page of the runs that match a line, each with the words that were searched for.

    Where no run has these words, of those whose words begin so: `loan` finds `loans`. None if the
    index is not that of the file (any more): it will be made anew. Raises `sqlite3.Error`, and
    `StorageError` for one of the index.
    """
    end = time.monotonic() + seconds

    def found_by(one: Line) -> FoundRuns:
        may_go_on = lambda: time.monotonic() < end  # noqa: E731
        return find(main, index, one, limit=limit, below=below, may_go_on=may_go_on)

    with snapshot(main), any_text(main):
        state = index.state()
        if not _belongs(main, state):
            return None
        found, loose = found_by(line), loosened(line)
        is_loose = not found.runs and found.below is None and loose != line
        # To look for all words that begin as a frequent one takes a while.
        if is_loose and has_any(main, index, line):
            line, found = loose, found_by(loose)
        hits, below = _read(main, found, line, end, is_loose=is_loose)
        return Hits(
            hits,
            below,
            is_cut=below is not None and len(hits) < limit,
            behind=main.execute(_BEHIND, (state.up_to,)).fetchone()[0],
        )


def _belongs(main: sqlite3.Connection, state: State) -> bool:
    if not has_table(main, "search_index"):  # of an earlier version
        return False
    return state.belongs_to(*main.execute(_CLAIMED).fetchone())


def _read(
    main: sqlite3.Connection, found: FoundRuns, line: Line, end: float, *, is_loose: bool
) -> tuple[tuple[Hit, ...], int | None]:
    """Read the runs that were found one by one, while there is time: they may be large."""
    reading = _Reading(main, line, is_loose=is_loose)
    hits: list[Hit] = []
    for place, (_, run) in enumerate(found.runs):
        if hits and time.monotonic() > end:
            return tuple(hits), found.runs[place - 1][0]
        hits += [reading.hit(rows) for rows in all_rows(main, [run])]
    return tuple(hits), found.below


class _Reading:
    """Makes hits of the runs of a page."""

    def __init__(self, main: sqlite3.Connection, line: Line, *, is_loose: bool) -> None:
        self._main = main
        self._line = line
        self._is_loose = is_loose
        self._gone = GoneProcesses(main)
        self._places = _Places(main)
        self._titles = _Titles(main)

    def hit(self, rows: RunRows) -> Hit:
        """Return the hit of a run."""
        run = rows.run
        return Hit(
            run_id=run["run_id"],
            session_id=run["session_id"],
            session_title=self._titles.of(run),
            agent_name=run["agent_name"],
            user_id=run["user_id"],
            status=self._gone.shown_status(run["status"], run["process_id"]),
            started_at=run["started_at"],
            place=self._places.of(run),
            snippet=_snippet(self._main, rows, self._line),
            is_loose=self._is_loose,
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
        """Return the title of the session of a run, or that of a run without one."""
        session = run["session_id"]
        if session is None:
            return title(message_text(run["inputs"]))
        if session not in self._known:
            self._known |= session_titles(self._main, [session])
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
