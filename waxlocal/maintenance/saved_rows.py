"""Copies the rows that can be read of a damaged file into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from waxlocal.delivery.statements import ADMIT, MOVE_CURSOR
from waxlocal.ids import trace_id_of
from waxlocal.maintenance.salvage import Place, RowReader
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import open_writer
from waxlocal.storage.record_sql import ELSEWHERE_AGENT, ELSEWHERE_METADATA
from waxlocal.storage.storage_errors import storage_error

__all__ = ["SavedRows", "save_rows"]

# In this order, for triggers keep the totals of sessions as runs and calls come.
_RECORDED = (
    "forgetting",
    "forgotten",
    "processes",
    "contents",
    "model_prices",
    "runs",
    *(one.name for one in RECORD_TABLES),
)
# After the records: the triggers on them would make each run pending again.
_OF_DELIVERY = ("outside_events", "targets", "deliveries", "requests", "received")
_OTHERS = ("side_files", "side_moves", "dropped_contents", "changed_contents")
# The triggers have filled these; the damaged file's rows take their place.
_FILLED_BY_TRIGGERS = ("outside_events", "dropped_contents", "changed_contents")
_BY_RUN = {*(one.name for one in RECORD_TABLES), "deliveries", "requests"}
_COLUMNS = "SELECT name, pk, type FROM pragma_table_info(?) ORDER BY cid"
_ALL_RECORDS = " UNION ALL ".join(
    f"SELECT run_id, {one.moment} AS recorded_at FROM {one.name}"  # noqa: S608
    for one in RECORD_TABLES
)
_WITHOUT_RUN = f"""
SELECT run_id, min(recorded_at) FROM ({_ALL_RECORDS})
WHERE run_id <> '' AND run_id NOT IN (SELECT run_id FROM runs) GROUP BY run_id
"""  # noqa: S608
_BEGIN = """
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status, started_at,
  metadata) VALUES (?, ?, 'default', ?, 'autonomous', 'interrupted', ?, ?)
"""
# Runs that have lost their delivery are pending again, and begin anew.
_LOOK_AGAIN = (
    """DELETE FROM requests WHERE run_id <> '' AND (run_id, target_id) NOT IN (
      SELECT run_id, target_id FROM deliveries)""",
    """UPDATE targets
    SET events_cursor = min(events_cursor, (SELECT coalesce(max(id), 0) FROM outside_events))""",
)
_LOOKED_AT = "SELECT target_id, min(cursor, ?) FROM targets"
# What a value raises that damage has made, never a full disk.
_OF_VALUES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, ValueError,
              OverflowError)  # fmt: skip


class SavedRows(NamedTuple):
    """How many rows of each table were saved, and how many were not.

    `unread`: at how many places something could not be read; `refused`: rows that were read, and
    that the new file does not take: a value that no file of ours can have, or a key a second time.
    """

    rows: dict[str, int]
    unread: int
    refused: int


def save_rows(damaged: sqlite3.Connection, new: Path) -> SavedRows:
    """Save what can be read of a file in a new one.

    Text that is not UTF-8 is saved with replacement characters. Raises `StorageError`.
    """
    damaged.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        with closing(open_writer(new)) as target:
            return _Saving(damaged, target).save()
    except sqlite3.Error as error:
        raise storage_error(error, new) from error


class _Saving:
    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        self._source = source
        self._target = target
        self._read = RowReader(source)
        self._refused = 0

    def save(self) -> SavedRows:
        rows: dict[str, int] = {}
        run_ids: list[str] = []
        for table in (*_RECORDED, *_OF_DELIVERY, *_OTHERS):
            place = self._place(table)
            if place is None:
                self._read.unread += 1
            else:
                rows[table] = self._take(place, run_ids if table in _BY_RUN else ())
            if table == "runs":
                found = self._target.execute("SELECT run_id FROM runs")
                run_ids = sorted(run_id for (run_id,) in found)
        self._begin_lost()
        for statement in _LOOK_AGAIN:
            self._target.execute(statement)
        self._admit_all()
        return SavedRows(rows, self._read.unread, self._refused)

    def _admit_all(self) -> None:
        """Have the runs that an upload had looked at waiting again where their delivery is lost.

        Runs that get the ids of lost ones later must not be taken for those.
        """
        (last,) = self._target.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()
        targets = self._target.execute(_LOOKED_AT, (last,)).fetchall()
        self._target.execute("BEGIN IMMEDIATE")
        for target_id, looked_at in targets:
            self._target.execute(ADMIT, {"target": target_id, "cursor": 0, "last": looked_at})
            self._target.execute(MOVE_CURSOR, (looked_at, target_id))
        self._target.execute("COMMIT")

    def _place(self, table: str) -> Place | None:
        """Return where a table is read: the columns that both files have, and its key."""
        there = {name for name, *_ in self._target.execute(_COLUMNS, (table,))}
        try:
            found = self._source.execute(_COLUMNS, (table,)).fetchall()
        except sqlite3.DatabaseError:  # the pages that say where the tables are
            return None
        here = [column for column in found if column[0] in there]
        key = sorted((place, name, kind) for name, place, kind in here if place)
        if not key:
            return None
        is_numbered = [kind for _, _, kind in key] == ["INTEGER"]
        return Place(table, [name for name, *_ in here], [name for _, name, _ in key], is_numbered)

    def _take(self, place: Place, bounds: Sequence[str]) -> int:
        """Copy the rows of a table that can be read; return how many the new file has."""
        if place.table in _FILLED_BY_TRIGGERS:
            self._target.execute(f"DELETE FROM {place.table}")  # noqa: S608
        names, marks = ", ".join(place.columns), ", ".join("?" * len(place.columns))
        insert = f"INSERT OR IGNORE INTO {place.table} ({names}) VALUES ({marks})"  # noqa: S608
        saved = 0
        for page in self._read.rows(place, bounds):
            self._target.execute("BEGIN IMMEDIATE")
            saved += sum(self._add(insert, row) for row in page)
            self._target.execute("COMMIT")
        return saved

    def _add(self, insert: str, row: tuple[object, ...]) -> int:
        try:
            added = self._target.execute(insert, row).rowcount
        except _OF_VALUES:
            added = 0
        self._refused += not added
        return added

    def _begin_lost(self) -> None:
        """Give records whose run could not be read a run, as those have that began elsewhere."""
        for run_id, began in self._target.execute(_WITHOUT_RUN).fetchall():
            values = (run_id, ELSEWHERE_AGENT, trace_id_of(run_id), began, ELSEWHERE_METADATA)
            self._target.execute(_BEGIN, values)
