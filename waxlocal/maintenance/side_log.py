"""The log of a side file: the changes that were made in it, in order.

A change of a row that the side file has is followed by the row itself, in its present state. One of
a row that only the main file has holds the new values.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from waxlocal import decode
from waxlocal.errors import StorageError
from waxlocal.records import LLM_CALLS, RUNS, TABLES, Table
from waxlocal.storage.connection import reader
from waxlocal.storage.contents import KEYED, expand

__all__ = ["Change", "Row", "Unusable", "changes_after", "identity_of", "read_changes"]

Row = dict[str, Any]

_IDENTITY = "SELECT file_id FROM side_file"
_LOG = """
SELECT seq, table_name, run_id, position, added, changes FROM side_changes
WHERE seq > ? ORDER BY seq LIMIT ?
"""
_WAITING = "SELECT count(*) FROM side_changes WHERE seq > ?"
_TABLES = {table.name: table for table in TABLES}
# The columns to take in: not those that follow from others or from the order of arrival.
_KEPT = {
    table.name: {column.name for column in table.columns if not column.local}
    | {*table.key, *({"process_id"} if table is RUNS else ())}
    for table in TABLES
}


class Unusable(StorageError):
    """A side file that no waxlocal has left like this."""


def identity_of(side: sqlite3.Connection) -> str:
    """Return the id of a side file. Raises `Unusable`."""
    row = side.execute(_IDENTITY).fetchone()
    if row is None:
        raise Unusable("its table side_file is empty")
    return str(row[0])


def changes_after(side: sqlite3.Connection, taken: int) -> int:
    """Return how many changes a side file has after this one."""
    return int(side.execute(_WAITING, (taken,)).fetchone()[0])


class Change(NamedTuple):
    """One change: the row as it is now, or some new values of a row that only the main file has."""

    seq: int
    table: Table
    run_id: str
    position: int
    added: bool
    whole: bool
    values: Row


def read_changes(side: Path, taken: int, most: int) -> list[Change]:
    """Return the changes after this one, in order, at most so many.

    Raises `Unusable` for one that no waxlocal has left like this, and `StorageError`.
    """
    with reader(side) as opened:
        log = opened.execute(_LOG, (taken, most)).fetchall()
        return [_change(opened, *entry) for entry in log]


def _change(
    side: sqlite3.Connection,
    seq: int,
    name: str,
    run_id: str,
    position: int,
    added: int,
    changes: str | None,
) -> Change:
    table = _TABLES.get(name)
    if table is None:
        raise Unusable(f"change {seq} is of a table {name!r}")
    values = _row(side, table, run_id, position) if changes is None else _news_of(seq, changes)
    if table is LLM_CALLS:
        expand(side, [values])
    # The names go into SQL.
    if not _KEPT[table.name].issuperset(values):
        raise Unusable(f"change {seq} is of a column that {name} does not have")
    return Change(seq, table, run_id, position, bool(added), changes is None, values)


def _news_of(seq: int, changes: str) -> Row:
    try:
        values = decode.loads(changes)
    except ValueError as error:
        raise Unusable(f"change {seq} is not valid JSON") from error
    if not isinstance(values, dict):
        raise Unusable(f"change {seq} is not a JSON object")
    return values


def _row(side: sqlite3.Connection, table: Table, run_id: str, position: int) -> Row:
    """Return the travelling columns of a row, as far as the older file has them."""
    key = {"process_id": position, "run_id": run_id, "position": position}
    where = " AND ".join(f"{name} = :{name}" for name in table.key)
    row = side.execute(f"SELECT * FROM {table.name} WHERE {where}", key).fetchone()  # noqa: S608
    if row is None:
        return {}
    kept = _KEPT[table.name] | (set(KEYED.values()) if table is LLM_CALLS else set())
    return {name: row[name] for name in row.keys() if name in kept}  # noqa: SIM118 - of the row
