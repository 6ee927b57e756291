"""Takes the records of a side file into the main file.

A side file (`storage.side_file`) has a log of its changes, which may still be growing. The log is
followed in short transactions on the main file. Each of them stores how far it came, so a kill at
any point loses nothing and takes in nothing twice. The side file is removed when all of it is taken
in and no connection has it open.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from waxlocal import decode
from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.encode import dumps
from waxlocal.errors import FileMissing, NewerSchema, StorageError
from waxlocal.prices.lookup import NOTE_MODEL, Prices
from waxlocal.records import LLM_CALLS, PROCESSES, RECORD_TABLES, RUNS, SPANS, TABLES, Phase, Table
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import (
    autocommit,
    checkpointer,
    reader,
)
from waxlocal.storage.record_sql import ELSEWHERE_METADATA, LAST_POSITION, OR_TAKE_OVER, insert
from waxlocal.storage.retry import while_busy
from waxlocal.storage.side_file import all_side_files, remove, side_files

__all__ = ["SideFile", "take_in", "take_in_all", "waiting"]

# The most changes in one transaction, and the most seconds: recorders wait during it.
CHANGES_AT_ONCE = 500
PIECE_S = 0.02

Row = dict[str, Any]

_IDENTITY = "SELECT file_id FROM side_file"
_LOG = """
SELECT seq, table_name, run_id, position, added, changes FROM side_changes
WHERE seq > ? ORDER BY seq LIMIT ?
"""
_WAITING = "SELECT count(*) FROM side_changes WHERE seq > ?"
_TAKEN_TO = "SELECT taken_to FROM side_files WHERE file_id = ?"
_NOTE_TAKEN = """
INSERT INTO side_files (file_id, taken_to) VALUES (?, ?)
ON CONFLICT (file_id) DO UPDATE SET taken_to = excluded.taken_to
"""
_MOVED_TO = """
SELECT moved_to FROM side_moves
WHERE file_id = ? AND table_name = ? AND run_id = ? AND side_position = ?
"""
_NOTE_MOVE = """
INSERT INTO side_moves (file_id, table_name, run_id, side_position, moved_to)
VALUES (?, ?, ?, ?, ?)
"""
_FORGET = ("DELETE FROM side_files WHERE file_id = ?", "DELETE FROM side_moves WHERE file_id = ?")
# A position is used once among all tables of records.
_TAKERS = " UNION ALL ".join(
    f"SELECT 1 FROM {table.name} WHERE run_id = :run_id AND position = :position"  # noqa: S608
    for table in RECORD_TABLES
)
_IS_TAKEN = f"SELECT EXISTS ({_TAKERS})"
_RUN = "SELECT status, metadata, tags, result FROM runs WHERE run_id = ?"
_TABLES = {table.name: table for table in TABLES}
# JSON objects that only grow: a recorder whose side file does not have the run does not know their
# present members.
_GROWING = ("metadata", "tags")


class SideFile(NamedTuple):
    """A side file with changes that are not in the main file; `changes` is None if unreadable."""

    path: Path
    version: int
    changes: int | None


class _Unusable(StorageError):
    """A side file that no waxlocal has left like this."""


def take_in(main: sqlite3.Connection, path: Path, seconds: float = math.inf) -> bool:
    """Take in the side files of a file, for about this long; return whether all is taken in.

    `main` is a writing connection to the file, in autocommit mode. A side file that cannot be read
    stays, and so does one with something in it that no waxlocal has written, which is logged once.
    Raises `sqlite3.Error` of the main file, also if that is busy.
    """
    deadline = time.monotonic() + seconds
    with closing(checkpointer(path)) as log:
        # Also of this version: the main file may have replaced one that needed a later version.
        came_in = [_take_in(main, side, deadline, log) for _version, side in side_files(path)]
    return all(came_in)


def take_in_all(path: Path, seconds: float = math.inf) -> bool:
    """Do the same for a command, on its own connection; return whether anything was taken in.

    Takes microseconds if there is no side file. Does nothing if this version may not write to the
    file; `waiting` then tells what is not in it. Raises nothing.
    """
    if not side_files(path) or not path.exists():
        return False
    with suppress(StorageError), autocommit(path) as main:
        before = main.total_changes
        take_in(main, path, seconds)
        return main.total_changes > before
    return False


def waiting(path: Path) -> list[SideFile]:
    """Return the side files with records that are not in the main file."""
    found = [
        SideFile(side, version, _changes_waiting(path, side))
        for version, side in all_side_files(path)
    ]
    return [side for side in found if side.changes != 0]


def _changes_waiting(path: Path, side: Path) -> int | None:
    try:
        with reader(side) as opened, reader(path) as main:
            taken = _taken_to(main, _identity(opened))
            return int(opened.execute(_WAITING, (taken,)).fetchone()[0])
    except FileMissing:  # nothing in it yet, or taken in meanwhile
        return None if side.exists() and not path.exists() else 0
    except StorageError:
        return None


def _identity(side: sqlite3.Connection) -> str:
    """Return the id of a side file. Raises `_Unusable`."""
    row = side.execute(_IDENTITY).fetchone()
    if row is None:
        raise _Unusable("its table side_file is empty")
    return str(row[0])


def _taken_to(main: sqlite3.Connection, identity: str) -> int:
    row = main.execute(_TAKEN_TO, (identity,)).fetchone()
    return int(row[0]) if row else 0


def _take_in(main: sqlite3.Connection, side: Path, deadline: float, log: Checkpointer) -> bool:
    """Follow the log of one side file to its end, or to the deadline."""
    try:
        with reader(side) as opened:
            identity = _identity(opened)
        while changes := _read(side, taken := _taken_to(main, identity)):
            _begin(main, deadline)
            _take_piece(main, identity, taken, changes)
            log.look()
            if time.monotonic() >= deadline:
                return False
        if not remove(side, taken):
            return False
    except FileMissing:
        return True
    except NewerSchema:  # sealed: all of it was taken in, but it was not removed yet
        return _removed(side)
    except _Unusable as error:
        _tell_once(side, error)
        return False
    except (StorageError, OSError) as error:  # of the side file; perhaps it is open elsewhere
        if raised_by_handler(error):
            raise
        return False
    for statement in _FORGET:
        main.execute(statement, (identity,))
    return True


def _removed(side: Path) -> bool:
    try:
        return remove(side)
    except (StorageError, OSError) as error:
        if raised_by_handler(error):
            raise
        return False


_told: set[Path] = set()


def _tell_once(side: Path, error: _Unusable) -> None:
    if side not in _told:
        _told.add(side)
        logging.getLogger("waxlocal").warning(
            "%s cannot be taken in: %s; it is left as it is", side, error
        )


# -- reading the side file ------------------------------------------------------------------------


class _Change(NamedTuple):
    """One change: the row as it is now, or some new values of a row that only the main file has."""

    seq: int
    table: Table
    run_id: str
    position: int
    added: bool
    whole: bool
    values: Row


def _read(side: Path, taken: int) -> list[_Change]:
    """Return the next changes, as many as go into one transaction."""
    with reader(side) as opened:
        log = opened.execute(_LOG, (taken, CHANGES_AT_ONCE)).fetchall()
        return [_change(opened, *entry) for entry in log]


def _change(
    side: sqlite3.Connection,
    seq: int,
    name: str,
    run_id: str,
    position: int,
    added: int,
    changes: str | None,
) -> _Change:
    table = _TABLES.get(name)
    if table is None:
        raise _Unusable(f"change {seq} is of a table {name!r}")
    values = _row(side, table, run_id, position) if changes is None else _news_of(seq, changes)
    # The names go into SQL.
    if not _KEPT[table.name].issuperset(values):
        raise _Unusable(f"change {seq} is of a column that {name} does not have")
    return _Change(seq, table, run_id, position, bool(added), changes is None, values)


def _news_of(seq: int, changes: str) -> Row:
    try:
        values = decode.loads(changes)
    except ValueError as error:
        raise _Unusable(f"change {seq} is not valid JSON") from error
    if not isinstance(values, dict):
        raise _Unusable(f"change {seq} is not a JSON object")
    return values


def _row(side: sqlite3.Connection, table: Table, run_id: str, position: int) -> Row:
    """Return the travelling columns of a row, as far as the older file has them."""
    key = {"process_id": position, "run_id": run_id, "position": position}
    where = " AND ".join(f"{name} = :{name}" for name in table.key)
    row = side.execute(f"SELECT * FROM {table.name} WHERE {where}", key).fetchone()  # noqa: S608
    if row is None:
        return {}
    return {name: row[name] for name in row.keys() if name in _KEPT[table.name]}  # noqa: SIM118


# The columns to take in: not those that follow from others or from the order of arrival.
_KEPT = {
    table.name: {column.name for column in table.columns if not column.local}
    | {*table.key, *({"process_id"} if table is RUNS else ())}
    for table in TABLES
}


# -- writing the main file ------------------------------------------------------------------------


def _begin(main: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock, trying again if the connection itself does not wait."""
    # Without a deadline it is the connection of a command, which waits for seconds by itself.
    until = -math.inf if math.isinf(deadline) else deadline
    while_busy(lambda: main.execute("BEGIN IMMEDIATE"), until)


# What binding or storing a value raises that no recorder has written, never a busy or full file.
_OF_VALUES = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError),
    *(TypeError, ValueError, OverflowError, AttributeError, KeyError, RecursionError),
)


def _take_piece(
    main: sqlite3.Connection, identity: str, taken: int, changes: Iterable[_Change]
) -> None:
    """Take in changes and commit, before recorders have to wait for too long."""
    try:
        if _taken_to(main, identity) == taken:  # otherwise another process was faster
            _Taking(main, identity).take(changes)
        main.execute("COMMIT")
    except _OF_VALUES as error:
        if raised_by_handler(error):
            raise
        raise _Unusable(f"a value in it fits nowhere ({error})") from error
    finally:
        if main.in_transaction:
            main.execute("ROLLBACK")


class _Taking:
    """One transaction on the main file."""

    def __init__(
        self, main: sqlite3.Connection, identity: str, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._main = main
        self._identity = identity
        self._at = utc_text(clock.time_ns())
        self._prices = Prices()
        self._prices.load(main)

    def take(self, changes: Iterable[_Change]) -> None:
        until = time.monotonic() + PIECE_S
        done: set[tuple[str, str, int]] = set()
        for change in changes:
            row = (change.table.name, change.run_id, change.position)
            # A whole row was read in its present state, including later changes.
            if not change.whole or row not in done:
                self._take(change)
            if change.whole:
                done.add(row)
            if time.monotonic() > until:
                break
        self._main.execute(_NOTE_TAKEN, (self._identity, change.seq))

    def _take(self, change: _Change) -> None:
        if not change.values:  # the row was deleted from the side file
            return
        if change.table is PROCESSES:
            self._insert(change.table, change.values)
        elif change.table is RUNS:
            self._run(change)
        elif change.added:
            self._add_record(change)
        else:
            self._change_record(change)

    def _run(self, change: _Change) -> None:
        known = self._main.execute(_RUN, (change.run_id,)).fetchone()
        values = change.values
        if values.get("metadata") == ELSEWHERE_METADATA:  # no news of a run that is here
            values = {**values, "metadata": None}
        if known is not None and change.whole:
            self._main.execute(insert(RUNS, values, on_conflict=OR_TAKE_OVER), values)
            known = self._main.execute(_RUN, (change.run_id,)).fetchone()
        if known is not None:
            self._update(RUNS, _news(tuple(known), values), {"run_id": change.run_id})
        elif change.whole:
            self._insert(RUNS, change.values)

    def _add_record(self, change: _Change) -> None:
        table, values = change.table, change.values
        if table is LLM_CALLS:
            values = self._priced(values)
        if table is SPANS and values.get("parent_position") is not None:
            parent = self._moved_to(SPANS, change.run_id, values["parent_position"])
            values = {**values, "parent_position": parent}
        if not self._is_taken(change.run_id, change.position):
            self._insert(table, values)
            return
        if self._is_here(table, values):
            return
        # Another record has this position: the run began or continues in the main file.
        (last,) = self._main.execute(LAST_POSITION, {"run_id": change.run_id}).fetchone()
        self._insert(table, {**values, "position": last + 1})
        move = (self._identity, table.name, change.run_id, change.position, last + 1)
        self._main.execute(_NOTE_MOVE, move)

    def _change_record(self, change: _Change) -> None:
        position = self._moved_to(change.table, change.run_id, change.position)
        key = {"run_id": change.run_id, "position": position}
        keyless = {name: value for name, value in change.values.items() if name not in key}
        # The position of the parent was set when the record was added.
        keyless.pop("parent_position", None)
        self._update(change.table, keyless, key)

    def _moved_to(self, table: Table, run_id: str, position: int) -> int:
        key = (self._identity, table.name, run_id, position)
        row = self._main.execute(_MOVED_TO, key).fetchone()
        return int(row[0]) if row else position

    def _priced(self, call: Row) -> Row:
        """Give a call its cost, which its recorder did not know: prices are in the main file."""
        if call["cost"] is not None:
            return call
        tokens = [call[name] for name in _TOKENS]
        cost = self._prices.cost(call["model"], call["provider"], *tokens)
        if cost is not None:
            return {**call, "cost": cost, "cost_source": "price"}
        if self._prices.unseen(call["model"], call["provider"]):
            self._main.execute(NOTE_MODEL, (call["model"], call["provider"], self._at))
        return call

    # Names of tables and columns are those of `records`.

    def _insert(self, table: Table, values: Row) -> bool:
        sql = insert(table, values, on_conflict="DO NOTHING")
        return self._main.execute(sql, values).rowcount == 1

    def _update(self, table: Table, values: Row, key: Row) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        if given:
            sets = ", ".join(f"{name} = ?" for name in given)
            where = " AND ".join(f"{name} = ?" for name in key)
            # A row was read with its later changes, which may come again in the next transaction:
            # an UPDATE that changes nothing would give it a revision, and deliver it once more.
            news = " OR ".join(f"{name} IS NOT ?" for name in given)
            sql = f"UPDATE {table.name} SET {sets} WHERE {where} AND ({news})"  # noqa: S608
            self._main.execute(sql, (*given.values(), *key.values(), *given.values()))

    def _is_taken(self, run_id: str, position: int) -> bool:
        key = {"run_id": run_id, "position": position}
        return bool(self._main.execute(_IS_TAKEN, key).fetchone()[0])

    def _is_here(self, table: Table, values: Row) -> bool:
        where = " AND ".join(f"{name} IS ?" for name in values)
        sql = f"SELECT 1 FROM {table.name} WHERE {where}"  # noqa: S608
        return self._main.execute(sql, tuple(values.values())).fetchone() is not None


_TOKENS = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens")


def _news(known: tuple[Any, ...], run: Row) -> Row:
    """Return what a run in the main file gets from the same run in a side file."""
    status, *objects, result = known
    news: Row = {}
    # If another process wrote `interrupted` as the end, that was only a guess.
    if run.get("status") not in (None, "running", status) and status in ("running", "interrupted"):
        news = {name: run.get(name) for name in RUNS.names_of(Phase.END)}
    for name, here in zip(_GROWING, objects, strict=True):
        if (grown := _grown(here, run.get(name))) != here:
            news[name] = grown
    if run.get("result") not in (None, result):
        news["result"] = run["result"]
    return news


def _grown(here: str | None, there: str | None) -> str | None:
    """Return a JSON object with the members of both; where they differ, those of the side file."""
    if here is None or there is None or here == there:
        return here if there is None else there
    try:
        return dumps({**json.loads(here), **json.loads(there)})
    except (TypeError, ValueError):  # another program wrote it, or it is not an object
        return there
