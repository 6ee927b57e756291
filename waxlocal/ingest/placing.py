"""Stores records that arrive with their position: each once, at that position if it is free.

A record that is in the file already stays as it is, unless the new state is newer: a greater
`revision`, or the end of a span that was open. If another record has the position (recorded here,
or sent by another device), the new one gets another position. That is the same one each time it
arrives, so it is found there and not stored again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from waxlocal.records import (
    EVENTS,
    LARGEST_INTEGER,
    LLM_CALLS,
    RECORD_TABLES,
    SCORES,
    SPANS,
    STEPS,
    Phase,
    RecordStatus,
    Table,
)
from waxlocal.storage.contents import expand, put
from waxlocal.storage.record_sql import insert
from waxlocal.wire.columns import Refused
from waxlocal.wire.states import FILLED
from waxlocal.wire.values import Json

__all__ = ["place"]

# The distance between the positions that one record may get. No run has so many records, and
# positions that are times in nanoseconds are far above.
STRIDE = 2**40
# From one stride to as many, a position is that of a record that another file has moved. Positions
# that are times are above: a moved one of those is not known as such.
_MOST_MOVED = 64 * STRIDE

# No change of a record changes these columns. If they differ, it is another record.
_NAMES = {
    LLM_CALLS: ("recorded_at", "model"),
    STEPS: ("recorded_at", "step_name"),
    SPANS: ("started_at", "name", "kind"),
    SCORES: ("recorded_at", "name"),
    EVENTS: ("recorded_at", "event"),
}
# Two states of the same revision agree in these columns; others may still be filled in.
_IDENTITY = {
    LLM_CALLS: ("recorded_at", "model", "tokens_in", "tokens_out"),
    STEPS: ("recorded_at", "step_name"),
    SPANS: ("started_at", "name", "kind"),
    SCORES: tuple(name for name in SCORES.recorded if name not in SCORES.key),
    EVENTS: ("recorded_at", "event", "data"),
}
# Columns of a span that was open when it first arrived; its end may also complete its start.
_OF_SPAN_END = (*SPANS.names_of(Phase.END), "attributes", "input")

_ADD = {table: insert(table, table.names, on_conflict="DO NOTHING") for table in RECORD_TABLES}
_REMOVE = {
    table: f"DELETE FROM {table.name} WHERE run_id = :run_id AND position = :position"  # noqa: S608
    for table in RECORD_TABLES
}
_TAKEN = {
    table: f"""
SELECT position FROM {table.name}
WHERE run_id = :run_id AND position BETWEEN :first AND :last
"""  # noqa: S608
    for table in RECORD_TABLES
}
_AT = {
    table: f"""
SELECT {", ".join(table.names)} FROM {table.name}
WHERE run_id = :run_id AND position = :position
"""  # noqa: S608
    for table in RECORD_TABLES
}


def place(connection: sqlite3.Connection, table: Table, run_id: str, rows: Iterable[Json]) -> None:
    """Store records of a run that are not in the file yet; rows have all columns that travel."""
    named = [{**row, "run_id": run_id} for row in rows]
    if not named:
        return
    taken = _taken(connection, table, run_id, named)
    free: list[Json] = []
    again: list[Json] = []
    for row in named:
        is_free = row["position"] not in taken and not STRIDE <= row["position"] < _MOST_MOVED
        (free if is_free else again).append(row)
        taken.add(row["position"])
    if free:
        connection.executemany(_ADD[table], put(connection, table, free))
    for row in again:
        _place_one(connection, table, row)


def _taken(
    connection: sqlite3.Connection, table: Table, run_id: str, rows: Sequence[Json]
) -> set[int]:
    positions = [row["position"] for row in rows]
    values = {"run_id": run_id, "first": min(positions), "last": max(positions)}
    return {row[0] for row in connection.execute(_TAKEN[table], values).fetchall()}


def _place_one(connection: sqlite3.Connection, table: Table, row: Json) -> None:
    """Store a record whose position is taken, by itself or by another record, or was moved.

    One that was moved elsewhere may be here in its first place, if it has come by another way, too.
    """
    own = row["position"]
    first = own % STRIDE if own < _MOST_MOVED else own
    for position in range(first, LARGEST_INTEGER, STRIDE):
        values = {"run_id": row["run_id"], "position": position}
        here = connection.execute(_AT[table], values).fetchone()
        if here is None and position < own:
            continue
        if here is None:
            _add(connection, table, row | {"position": position})
            return
        there = dict(zip(table.names, tuple(here), strict=True))
        if table is LLM_CALLS:
            expand(connection, [there])
        # In front of its own place only the same content is the record itself: two calls may have
        # one name and time.
        if not _same(there, row, _IDENTITY[table] if position < own else _NAMES[table]):
            continue
        newer = (row["revision"] or 0) - (there["revision"] or 0)
        if newer > 0:
            _replace(connection, table, there, row)
        if newer:
            return
        if _same(there, row, _IDENTITY[table]):
            _complete(connection, table, there, row)
            return
    raise Refused(f"{table.name}: no place behind position {row['position']}")


def _same(there: Json, row: Json, names: Iterable[str]) -> bool:
    return all(there[name] == row[name] for name in names)


def _complete(connection: sqlite3.Connection, table: Table, there: Json, row: Json) -> None:
    """Fill what a record lacked when it first arrived."""
    changed: Json = {}
    if table is LLM_CALLS:
        for name, also in FILLED.items():
            if there[name] is None and row[name] is not None:
                changed |= {one: row[one] for one in (name, *also)}
    elif table is SPANS and there["status"] == RecordStatus.RUNNING != row["status"]:
        changed = {name: row[name] for name in _OF_SPAN_END}
    if changed:
        _replace(connection, table, there, changed)


def _replace(connection: sqlite3.Connection, table: Table, there: Json, changed: Json) -> None:
    """Replace a row by another one.

    Not with an UPDATE: the triggers would treat it as a change made in this file.
    """
    row = there | changed | {"run_id": there["run_id"], "position": there["position"]}
    connection.execute(_REMOVE[table], row)
    _add(connection, table, row)


def _add(connection: sqlite3.Connection, table: Table, row: Json) -> None:
    (stored,) = put(connection, table, [row])
    connection.execute(_ADD[table], stored)
