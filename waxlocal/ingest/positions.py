"""The position of a record in its run while its number is not known.

The original SDK numbers a run's LLM calls, steps and spans together, from 1. But it sends the
number of a call only with its span, at the end, and scores, events and user messages have none. So
while a run is open, a record with the number n has the position (n + 1) * 1,000,000, and one
without a number follows the last that arrived. When the run has ended, its records are numbered
1, 2, 3, ... as the recorder does it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from waxlocal.records import RECORD_TABLES, SCORES, SPANS
from waxlocal.storage.record_sql import LAST_POSITION, NEXT_REVISION

__all__ = ["FIRST", "STRIDE", "is_sent", "is_settled", "next_free", "numbered", "settle"]

# Between two numbers of the SDK there is room for a million records without a number.
STRIDE = 1_000_000
# After the run itself, which is number 0.
FIRST = STRIDE + 1
_LARGEST_NUMBER = 2**62 // STRIDE

_ALL_IN_ORDER = "\nUNION ALL ".join(
    f"SELECT position, {number} AS part FROM {table.name} WHERE run_id = :run_id"  # noqa: S608
    for number, table in enumerate(RECORD_TABLES)
)
_ALL_IN_ORDER += "\nORDER BY position, part"
_MOVE = [
    f"UPDATE {table.name} SET position = ?, revision = {NEXT_REVISION} "  # noqa: S608
    "WHERE run_id = ? AND position = ?"
    for table in RECORD_TABLES
]
_SPANS, _SCORES = RECORD_TABLES.index(SPANS), RECORD_TABLES.index(SCORES)
_INSIDE = """
SELECT position, parent_position FROM spans WHERE run_id = ? AND parent_position IS NOT NULL
"""
_SET_PARENT = "UPDATE spans SET parent_position = ? WHERE run_id = ? AND position = ?"
# Another server knows a record by its position.
_IS_SENT = """
SELECT EXISTS (SELECT 1 FROM requests WHERE run_id = :run_id)
  OR EXISTS (SELECT 1 FROM deliveries WHERE run_id = :run_id AND state <> 'open')
"""


class _Place(NamedTuple):
    part: int
    position: int


def numbered(number: object) -> int | None:
    """Return the position of a record with this number of the SDK; None without a number."""
    if type(number) is not int or not 0 < number < _LARGEST_NUMBER:
        return None
    return (number + 1) * STRIDE


def is_settled(position: int) -> bool:
    """Return whether this position, in an open run, comes from a number."""
    return position % STRIDE == 0


def next_free(connection: sqlite3.Connection, run_id: str, *, first: int) -> int:
    """Return the position after the last record of a run; `first` if it has no records."""
    (last,) = connection.execute(LAST_POSITION, {"run_id": run_id}).fetchone()
    return first if last is None else int(last) + 1


def is_sent(connection: sqlite3.Connection, run_id: str) -> bool:
    """Return whether records of the run were sent on to another server, or are about to be."""
    return bool(connection.execute(_IS_SENT, {"run_id": run_id}).fetchone()[0])


def settle(connection: sqlite3.Connection, run_id: str) -> None:
    """Number the records of a run that has ended, all tables together, from 1.

    A run whose records were sent on already stays as it is.
    """
    rows = connection.execute(_ALL_IN_ORDER, {"run_id": run_id}).fetchall()
    places = [_Place(row[1], row[0]) for row in rows]
    # All new numbers are below the old positions, so none of them is taken.
    if not places or not len(places) < STRIDE <= places[0].position or is_sent(connection, run_id):
        return
    moves = _in_order(places)
    inside = connection.execute(_INSIDE, (run_id,)).fetchall()
    _move(connection, run_id, moves)
    for position, parent in inside:
        new_parent = moves.get(_Place(_SPANS, parent))
        child = moves[_Place(_SPANS, position)]
        connection.execute(_SET_PARENT, (new_parent, run_id, child))


def _in_order(places: list[_Place]) -> dict[_Place, int]:
    if any(is_settled(place.position) for place in places):
        # A run of the SDK: it sends scores at the end, without an order among the other records.
        places = sorted(places, key=lambda place: place.part == _SCORES)
    return {place: n for n, place in enumerate(places, 1)}


def _move(connection: sqlite3.Connection, run_id: str, moves: dict[_Place, int]) -> None:
    of_table: list[list[tuple[int, str, int]]] = [[] for _ in RECORD_TABLES]
    for place, new in moves.items():
        of_table[place.part].append((new, run_id, place.position))
    for statement, rows in zip(_MOVE, of_table, strict=True):
        if rows:
            connection.executemany(statement, rows)
