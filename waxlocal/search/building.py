"""Brings the search index up to date: the daemon, `serve` and `search` do it now and then.

Who records writes nothing here but the numbers of runs that change late (`search_changes`).
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.snapshot import snapshot
from waxlocal.records import RunStatus
from waxlocal.search.index_file import NOTHING, State, index_writer, state_of
from waxlocal.search.reading import Reader, lenient
from waxlocal.storage.connection import autocommit, reader
from waxlocal.storage.schema import has_table
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["Progress", "bring_up_to_date"]

# Runs that are read together.
PIECE = 200
# Nobody else can add to the index for so long.
TRANSACTION_S = 1.0
# Open runs that are looked at each time, the newest.
MOST_OPEN = 5_000

_LOOK = """
SELECT stamp, up_to, (SELECT max(id) FROM runs), (SELECT max(seq) FROM search_changes)
FROM search_index
"""
_CHANGES = "SELECT run FROM search_changes WHERE seq <= ?"
# Before the runs are read: what changes from now on is noted.
_CLAIM = """
UPDATE search_index SET stamp = :stamp,
  up_to = coalesce((SELECT max(id) FROM runs), up_to),
  newest = max(newest, coalesce((SELECT max(run_id) FROM runs WHERE id > :up_to), ''))
"""
_HANDED_ON = "DELETE FROM search_changes WHERE seq <= ?"

_ANEW = (
    "INSERT INTO words (words) VALUES ('delete-all')",
    "DELETE FROM documents",
    "DELETE FROM blocks",
    "DELETE FROM unfinished",
    "DELETE FROM sqlite_sequence",
)
# More documents of runs that have changed or are gone than of others: the index is made anew.
LEAST_STALE = 10_000
_IS_STALE = """
SELECT stale > :least AND stale > (SELECT max(seq) FROM sqlite_sequence) - stale FROM state
"""
_IS_GONE = "UPDATE state SET stale = stale + ?"
_STAMP = "UPDATE state SET stamp = ?, up_to = ?, stale = 0"
_NOTE = """
INSERT INTO unfinished (run, seen) SELECT value, '' FROM json_each(:runs)
WHERE value <= (SELECT up_to FROM state)
ON CONFLICT (run) DO UPDATE SET seen = ''
"""
_UNFINISHED = "SELECT run, seen FROM unfinished ORDER BY seen, run DESC LIMIT ?"
_NEXT = "SELECT id FROM runs WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
_STATUS = "SELECT id, status, process_id FROM runs WHERE id IN (SELECT value FROM json_each(?))"
_FORGET = "DELETE FROM documents WHERE run = ?"
_ADD = "INSERT INTO documents (run) VALUES (?)"
_WIDEN = """
INSERT INTO blocks (block, first, last) VALUES (:doc >> 12, :started_at, :started_at)
ON CONFLICT (block) DO UPDATE SET
  first = min(first, excluded.first), last = max(last, excluded.last)
"""
_NAMES = ("message", "answer", "prompts", "tools", "errors", "facets")
_INDEX = f"""
INSERT INTO words (rowid, {", ".join(_NAMES)}) VALUES (?{", ?" * len(_NAMES)})
"""  # noqa: S608
_IS_OPEN = "INSERT OR REPLACE INTO unfinished (run, seen) VALUES (?, ?)"
_IS_DONE = "DELETE FROM unfinished WHERE run = ?"
_COME_TO = "UPDATE state SET up_to = ?"


class Progress(NamedTuple):
    """How far the index has come: the ids of its last run, and of the last that there is."""

    up_to: int
    newest: int

    @property
    def is_complete(self) -> bool:
        """Whether the index has all runs that there were."""
        return self.up_to >= self.newest


class _Look(NamedTuple):
    """What the file says of its index: which it is, and how far it may have come."""

    stamp: str
    up_to: int
    newest: int | None
    last_change: int | None


def bring_up_to_date(
    path: Path, seconds: float = math.inf, clock: Clock = SYSTEM_CLOCK
) -> Progress | None:
    """Add to the index what has come since; return how far it is, None if the file has none yet.

    For about so many seconds. No recorder waits for it. Safe while others do the same, and when it
    is killed: the next one goes on. Raises `StorageError`.
    """
    end_ns = clock.monotonic_ns() + seconds * 1e9
    with reader(path) as main:
        if not has_table(main, "search_index"):
            return None
        with index_writer(path) as index, lenient(main):
            newest = _agree(path, main, index)
            builder = _Builder(main, index, newest, clock)
            builder.look_again()
            while not builder.is_complete() and clock.monotonic_ns() < end_ns:
                builder.add(end_ns)
            return Progress(builder.up_to, newest)


def _agree(path: Path, main: sqlite3.Connection, index: sqlite3.Connection) -> int:
    """Let the file and its index know of each other; return the id of the newest run."""
    look, state = _Look(*main.execute(_LOOK).fetchone()), state_of(index)
    if not _belong(state, look) or index.execute(_IS_STALE, {"least": LEAST_STALE}).fetchone()[0]:
        look = look._replace(stamp=_begin_anew(index), up_to=NOTHING)
        _claim(path, look)
    elif look.newest is not None and look.newest > look.up_to:
        _claim(path, look)
    if look.last_change is not None:
        changed = [row[0] for row in main.execute(_CHANGES, (look.last_change,)).fetchall()]
        # First here, then no longer there: who is killed between the two does it twice.
        with _transaction(index):
            index.execute(_NOTE, {"runs": json.dumps(changed)})
        with autocommit(path) as writing:
            writing.execute(_HANDED_ON, (look.last_change,))
    return NOTHING if look.newest is None else look.newest


def _belong(state: State | None, look: _Look) -> bool:
    """Return whether an index is that of the file, as far as either has come."""
    return state is not None and state.stamp == look.stamp != "" and state.up_to <= look.up_to


def _begin_anew(index: sqlite3.Connection) -> str:
    stamp = secrets.token_hex(8)
    with _transaction(index):
        for statement in _ANEW:
            index.execute(statement)
        index.execute(_STAMP, (stamp, NOTHING))
    return stamp


def _claim(path: Path, look: _Look) -> None:
    with autocommit(path) as writing:
        writing.execute(_CLAIM, {"stamp": look.stamp, "up_to": look.up_to})


@contextmanager
def _transaction(index: sqlite3.Connection) -> Iterator[None]:
    begin(index)
    try:
        yield
        commit(index)
    finally:
        roll_back(index)


class _Builder:
    """Adds runs to the index, which the file has been told before."""

    def __init__(
        self, main: sqlite3.Connection, index: sqlite3.Connection, newest: int, clock: Clock
    ) -> None:
        self._main = main
        self._index = index
        self._newest = newest
        self._clock = clock
        self._reader = Reader(main)
        self.up_to = NOTHING
        self._come_to()

    def is_complete(self) -> bool:
        """Return whether all runs are in the index."""
        return self.up_to >= self._newest

    def look_again(self) -> None:
        """Read the runs anew that have changed, and those that were open and are no longer."""
        with _transaction(self._index):
            seen = dict(self._index.execute(_UNFINISHED, (MOST_OPEN,)).fetchall())
            with snapshot(self._main):
                now = self._statuses(seen)
                again = sorted(run for run, status in seen.items() if now.get(run) != status)
                for some in _pieces(again):
                    self._put(some)
            # Whoever deleted a run has deleted it here, too.
            for run in seen.keys() - now.keys():
                self._forget(run)
                self._index.execute(_IS_DONE, (run,))

    def add(self, end_ns: float) -> None:
        """Add the next runs: until all are there, or the time is over, or others may want to."""
        end_ns = min(end_ns, self._clock.monotonic_ns() + TRANSACTION_S * 1e9)
        with _transaction(self._index):
            self._come_to()  # another process may have added some
            while not self.is_complete():
                given = (self.up_to, self._newest, PIECE)
                with snapshot(self._main):
                    runs = [row[0] for row in self._main.execute(_NEXT, given).fetchall()]
                    self._put(runs)
                self.up_to = runs[-1] if len(runs) == PIECE else self._newest
                if self._clock.monotonic_ns() >= end_ns:
                    break
            self._index.execute(_COME_TO, (self.up_to,))

    def _come_to(self) -> None:
        state = state_of(self._index)
        self.up_to = NOTHING if state is None else state.up_to

    def _statuses(self, seen: dict[int, str]) -> dict[int, str]:
        gone = GoneProcesses(self._main)
        rows = self._main.execute(_STATUS, (json.dumps(list(seen)),)).fetchall()
        gone.look_up(row["process_id"] for row in rows)
        return {row["id"]: gone.shown_status(row["status"], row["process_id"]) for row in rows}

    def _put(self, runs: Sequence[int]) -> None:
        for document in self._reader.documents(runs):
            self._forget(document.run)
            doc = self._index.execute(_ADD, (document.run,)).lastrowid
            self._index.execute(_WIDEN, {"doc": doc, "started_at": document.started_at})
            words = (document.columns.get(name, "") for name in _NAMES)
            self._index.execute(_INDEX, (doc, *words))
            if document.stored == RunStatus.RUNNING:
                self._index.execute(_IS_OPEN, (document.run, document.shown))
            else:
                self._index.execute(_IS_DONE, (document.run,))

    def _forget(self, run: int) -> None:
        if count := self._index.execute(_FORGET, (run,)).rowcount:
            self._index.execute(_IS_GONE, (count,))


def _pieces(runs: Sequence[int]) -> Iterator[Sequence[int]]:
    return (runs[start : start + PIECE] for start in range(0, len(runs), PIECE))
