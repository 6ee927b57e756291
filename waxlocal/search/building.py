"""Brings the search index up to date: the daemon, `serve` and `search` do it now and then.

A recorder never writes to the index. Triggers note in the file which runs in it have changed.
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.snapshot import snapshot
from waxlocal.records import RunStatus
from waxlocal.search.index_file import (
    NOTHING,
    Index,
    IndexDamaged,
    index_writer,
    remove_index,
)
from waxlocal.search.reading import Reader
from waxlocal.storage.connection import autocommit, reader
from waxlocal.storage.schema import has_table
from waxlocal.storage.transaction import any_text, begin, commit

__all__ = ["Progress", "bring_up_to_date"]

# Runs that are read together: what they have said is in memory. As many as take so long.
FIRST_IN_PIECE, MOST_IN_PIECE = 10, 200
PIECE_NS = 50_000_000
# Seconds of one transaction; others who want to add wait for their turn.
TRANSACTION_S = 1.0
# Changes that are taken over at once: recorders wait for that.
HAND_OVER = 2_000
# Open runs that are looked at each time, the last recorded.
MOST_OPEN = 5_000
# More documents of runs that have changed or are gone than of others: the index is made anew.
LEAST_STALE = 10_000

_LOOK = """
SELECT stamp, up_to, (SELECT max(id) FROM runs), (SELECT max(seq) FROM search_changes)
FROM search_index
"""
_CHANGES = "SELECT seq, run FROM search_changes ORDER BY seq LIMIT ?"
# Before the runs are read: what changes from now on is noted.
_CLAIM = """
UPDATE search_index SET stamp = :stamp,
  up_to = max(up_to, coalesce((SELECT max(id) FROM runs), up_to)),
  newest = max(newest, coalesce((SELECT max(run_id) FROM runs WHERE id > :up_to), ''))
WHERE stamp = :before
"""
# Somebody else may have gone on meanwhile.
_TAKEN_OVER = """
DELETE FROM search_changes
WHERE seq <= :last AND (SELECT stamp FROM search_index) = :before
"""

_IS_STALE = """
SELECT stale > :least AND stale > (SELECT max(seq) FROM sqlite_sequence) - stale FROM state
"""
_ANEW = (
    "INSERT INTO words (words) VALUES ('delete-all')",
    "DELETE FROM documents",
    "DELETE FROM blocks",
    "DELETE FROM changed",
    "DELETE FROM open_runs",
    "DELETE FROM sqlite_sequence",
    f"UPDATE state SET up_to = {NOTHING}, stale = 0",  # noqa: S608
)
_STAMP = "UPDATE state SET stamp = :stamp, before = :before, noted = :noted"
_NOTE = """
INSERT INTO changed (run) SELECT value FROM json_each(:runs)
WHERE value <= (SELECT up_to FROM state) ON CONFLICT DO NOTHING
"""
_COUNT = "SELECT count(*) FROM changed"
_CHANGED = "SELECT run FROM changed LIMIT ?"
_OPEN = "SELECT run FROM open_runs ORDER BY run DESC LIMIT ?"
_NEXT = "SELECT id FROM runs WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
_STATUS = "SELECT id, status, process_id FROM runs WHERE id IN (SELECT value FROM json_each(?))"
_FORGET = "DELETE FROM documents WHERE run = ?"
_IS_GONE = "UPDATE state SET stale = stale + ?"
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
_IS_OPEN = "INSERT INTO open_runs (run) VALUES (?) ON CONFLICT DO NOTHING"
_IS_CLOSED = "DELETE FROM open_runs WHERE run = ?"
_IS_READ = "DELETE FROM changed WHERE run = ?"
_COME_TO = "UPDATE state SET up_to = ?"


class Progress(NamedTuple):
    """How far the index has come: the ids of its last run and of the last that there is.

    `changed` runs in it are to be read again.
    """

    up_to: int
    newest: int
    changed: int

    @property
    def is_complete(self) -> bool:
        """Whether the index has all that was said."""
        return self.up_to >= self.newest and not self.changed


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

    For about so many seconds. Recorders wait for milliseconds, while it takes over what triggers
    have noted. Safe while others do the same, and when it is killed: the next one goes on. An
    index that is damaged is made anew. Raises `FileLocked` while another one adds to it, and
    `StorageError`.
    """
    try:
        return _bring_up_to_date(path, seconds, clock)
    except IndexDamaged:
        remove_index(path)
        return _bring_up_to_date(path, seconds, clock)


def _bring_up_to_date(path: Path, seconds: float, clock: Clock) -> Progress | None:
    end_ns = clock.monotonic_ns() + seconds * 1e9
    with reader(path) as main, any_text(main):
        if not has_table(main, "search_index"):
            return None
        with index_writer(path) as index:
            newest = _agree(path, main, index)
            builder = _Builder(main, index, newest, clock)
            builder.look_for_ended()
            while not (done := builder.progress()).is_complete and clock.monotonic_ns() < end_ns:
                builder.add(end_ns)
            return done


def _agree(path: Path, main: sqlite3.Connection, index: Index) -> int:
    """Let the file and its index know of each other; return the id of the newest run.

    First the index takes over what has changed, then it is no longer noted in the file: who is
    killed between the two does it twice.
    """
    newest, more = NOTHING, True
    while more:
        with index.transaction():  # nobody else comes in between
            state, look = index.state(), _Look(*main.execute(_LOOK).fetchone())
            newest = NOTHING if look.newest is None else look.newest
            is_stale = index.ask(_IS_STALE, {"least": LEAST_STALE})[0][0]
            if is_stale or not state.belongs_to(look.stamp, look.up_to, look.last_change):
                for statement in _ANEW:
                    index.do(statement)
            elif look.stamp == state.stamp and newest <= look.up_to and look.last_change is None:
                return newest
            changes = main.execute(_CHANGES, (HAND_OVER,)).fetchall()
            stamp = secrets.token_hex(8)
            index.do(_NOTE, {"runs": json.dumps([run for _, run in changes])})
            last = changes[-1][0] if changes else 0
            index.do(_STAMP, {"stamp": stamp, "before": look.stamp, "noted": last})
        given = {"stamp": stamp, "before": look.stamp, "up_to": look.up_to, "last": last}
        with autocommit(path) as writing:
            begin(writing)
            writing.execute(_TAKEN_OVER, given)
            writing.execute(_CLAIM, given)
            commit(writing)
        more = len(changes) == HAND_OVER
    return newest


class _Builder:
    """Adds runs to the index, which the file has been told before."""

    def __init__(self, main: sqlite3.Connection, index: Index, newest: int, clock: Clock) -> None:
        self._main = main
        self._index = index
        self._newest = newest
        self._clock = clock
        self._reader = Reader(main)
        self._most = FIRST_IN_PIECE

    def progress(self) -> Progress:
        """Return how far the index has come."""
        ((changed,),) = self._index.ask(_COUNT)
        return Progress(self._index.state().up_to, self._newest, changed)

    def look_for_ended(self) -> None:
        """Note the runs that were open and whose process is gone; of others a trigger tells."""
        open_runs = [run for (run,) in self._index.ask(_OPEN, (MOST_OPEN,))]
        gone = GoneProcesses(self._main)
        rows = self._main.execute(_STATUS, (json.dumps(open_runs),)).fetchall()
        gone.look_up(row["process_id"] for row in rows)
        still = {
            row["id"]
            for row in rows
            if gone.shown_status(row["status"], row["process_id"]) == RunStatus.RUNNING
        }
        if ended := [run for run in open_runs if run not in still]:
            with self._index.transaction():
                self._index.do(_NOTE, {"runs": json.dumps(ended)})

    def add(self, end_ns: float) -> None:
        """Add the next runs: until all are there, or the time is over, or others may want to."""
        end_ns = min(end_ns, self._clock.monotonic_ns() + TRANSACTION_S * 1e9)
        with self._index.transaction():
            more, now_ns = True, self._clock.monotonic_ns()
            while more:
                begun_ns = now_ns
                more = self._add_piece()
                now_ns = self._clock.monotonic_ns()
                fit = self._most * PIECE_NS // max(now_ns - begun_ns, 1)
                self._most = max(1, min(fit, 2 * self._most, MOST_IN_PIECE))
                more = more and now_ns < end_ns

    def _add_piece(self) -> bool:
        """Read the next runs, those that have changed first; return whether there may be more."""
        with snapshot(self._main):
            if changed := [run for (run,) in self._index.ask(_CHANGED, (self._most,))]:
                self._put(changed)
                return True
            given = (self._index.state().up_to, self._newest, self._most)
            runs = [row[0] for row in self._main.execute(_NEXT, given).fetchall()]
            self._put(runs)
            is_last = len(runs) < self._most
            self._index.do(_COME_TO, (self._newest if is_last else runs[-1],))
            return not is_last

    def _put(self, runs: Sequence[int]) -> None:
        """Index runs as they are now; one that is gone is forgotten."""
        for run in runs:
            if count := self._index.do(_FORGET, (run,)).rowcount:
                self._index.do(_IS_GONE, (count,))
            self._index.do(_IS_READ, (run,))
            self._index.do(_IS_CLOSED, (run,))
        for document in self._reader.documents(runs):
            doc = self._index.do(_ADD, (document.run,)).lastrowid
            self._index.do(_WIDEN, {"doc": doc, "started_at": document.started_at})
            words = (document.columns.get(name, "") for name in _NAMES)
            self._index.do(_INDEX, (doc, *words))
            if document.shown == RunStatus.RUNNING:
                self._index.do(_IS_OPEN, (document.run,))
