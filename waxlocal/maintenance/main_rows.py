"""The rows of the main file, as the changes of a side file are taken into them.

A row is known by its run and its position. A record whose position was taken in the main file gets
a new one, which is noted, for later changes of the side file go by the old one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from waxlocal.clock import SYSTEM_CLOCK, Clock, monotonic, utc_text
from waxlocal.encode import dumps
from waxlocal.maintenance.side_log import Change, Row
from waxlocal.prices.lookup import NOTE_MODEL, PRICED_BY, Prices
from waxlocal.records import (
    LLM_CALLS,
    NOT_FINAL_STATUSES,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    SPANS,
    CostSource,
    Phase,
    RunStatus,
    Table,
)
from waxlocal.storage.contents import put
from waxlocal.storage.forgotten import Forgotten
from waxlocal.storage.record_sql import ELSEWHERE_METADATA, LAST_POSITION, OR_TAKE_OVER, insert

__all__ = ["MainRows", "forget", "taken_to"]

# The most seconds in one transaction: recorders wait during it.
PIECE_S = 0.02

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
_RUN = "SELECT status, metadata, tags, result, inputs FROM runs WHERE run_id = ?"
# JSON objects that only grow: a recorder whose side file does not have the run does not know their
# present members.
_GROWING = ("metadata", "tags")


def taken_to(main: sqlite3.Connection, identity: str) -> int:
    """Return the last change of a side file that is in the main file; 0 for none."""
    row = main.execute(_TAKEN_TO, (identity,)).fetchone()
    return int(row[0]) if row else 0


def forget(main: sqlite3.Connection, identity: str) -> None:
    """Forget how far a side file was taken in: it is gone."""
    for statement in _FORGET:
        main.execute(statement, (identity,))


class MainRows:
    """The rows of the main file in one transaction, which the caller begins and commits."""

    def __init__(
        self, main: sqlite3.Connection, identity: str, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._main = main
        self._identity = identity
        self._at = utc_text(clock.time_ns())
        self._prices = Prices()
        self._prices.load(main)
        self._forgotten = Forgotten(main)

    def take(self, changes: Iterable[Change]) -> None:
        """Take in the first of these changes, for about `PIECE_S`, and note how far that was."""
        until = monotonic() + PIECE_S
        done: set[tuple[str, str, int]] = set()
        for change in changes:
            row = (change.table.name, change.run_id, change.position)
            # A whole row was read in its present state, including later changes.
            if not change.whole or row not in done:
                self._take(change)
            if change.whole:
                done.add(row)
            if monotonic() > until:
                break
        self._main.execute(_NOTE_TAKEN, (self._identity, change.seq))

    def _take(self, change: Change) -> None:
        if not change.values:  # the row was deleted from the side file
            return
        if change.table is PROCESSES:
            self._insert(change.table, change.values)
        elif self._is_forgotten(change):
            return
        elif change.table is RUNS:
            self._run(change)
        elif change.added:
            self._add_record(change)
        else:
            self._change_record(change)

    def _is_forgotten(self, change: Change) -> bool:
        """Return whether it belongs to a run that was deleted on purpose and is not here again."""
        if not self._forgotten or self._main.execute(_RUN, (change.run_id,)).fetchone():
            return False
        if change.table is RUNS and change.whole:
            return self._forgotten.take(change.values)
        return self._forgotten.has_run(change.run_id)

    def _run(self, change: Change) -> None:
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

    def _add_record(self, change: Change) -> None:
        table, values = change.table, change.values
        if table is LLM_CALLS:
            (values,) = put(self._main, table, [self._priced(values)])
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

    def _change_record(self, change: Change) -> None:
        position = self._moved_to(change.table, change.run_id, change.position)
        key = {"run_id": change.run_id, "position": position}
        (values,) = put(self._main, change.table, [change.values])
        keyless = {name: value for name, value in values.items() if name not in key}
        # The position of the parent was set when the record was added.
        keyless.pop("parent_position", None)
        self._update(change.table, keyless, key)

    def _moved_to(self, table: Table, run_id: str, position: int) -> int:
        key = (self._identity, table.name, run_id, position)
        row = self._main.execute(_MOVED_TO, key).fetchone()
        return int(row[0]) if row else position

    def _priced(self, call: Row) -> Row:
        """Give a call its cost, which its recorder did not know: prices are in the main file."""
        if call["cost"] is not None or not call.get("usage_known", 1):
            return call
        cost = self._prices.cost(*(call[name] for name in PRICED_BY))
        if cost is not None:
            return {**call, "cost": cost, "cost_source": CostSource.PRICE}
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


def _news(known: tuple[Any, ...], run: Row) -> Row:
    """Return what a run in the main file gets from the same run in a side file."""
    status, *objects, result, inputs = known
    news: Row = {}
    if run.get("status") not in (None, RunStatus.RUNNING, status) and status in NOT_FINAL_STATUSES:
        news = {name: run.get(name) for name in RUNS.names_of(Phase.END)}
    for name, here in zip(_GROWING, objects, strict=True):
        if (grown := _grown(here, run.get(name))) != here:
            news[name] = grown
    # What a run was asked, a captured one may say only at its end.
    for name, here in (("result", result), ("inputs", inputs)):
        if run.get(name) not in (None, here):
            news[name] = run[name]
    return news


def _grown(here: str | None, there: str | None) -> str | None:
    """Return a JSON object with the members of both; where they differ, those of the side file."""
    if here is None or there is None or here == there:
        return here if there is None else there
    try:
        return dumps({**json.loads(here), **json.loads(there)})
    except (TypeError, ValueError):  # another program wrote it, or it is not an object
        return there
