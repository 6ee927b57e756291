"""Where a record lies in its run, when its number is not known yet.

The original SDK numbers a run's LLM calls, steps and spans together, from 1, but says the number
of a call only with the span that follows at the end, and scores, events and messages of users have
none. So while a run is open, what bears the number n lies at (n + 1) millions, and what bears none
behind the last that came, in order of arrival. When the run has ended, its records are numbered
1, 2, 3, ... as the recorder does it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from waxlocal.records import RECORD_TABLES, SCORES, SPANS
from waxlocal.storage.record_sql import LAST_POSITION

__all__ = ["FIRST", "STRIDE", "is_sent", "is_settled", "next_free", "numbered", "settle"]

# Between two numbers of the SDK there is room for a million records that have none.
STRIDE = 1_000_000
# Behind the run itself, which is number 0.
FIRST = STRIDE + 1
_LARGEST_NUMBER = 2**62 // STRIDE

_ALL_IN_ORDER = "\nUNION ALL ".join(
    f"SELECT position, {number} AS part FROM {table.name} WHERE run_id = :run_id"  # noqa: S608
    for number, table in enumerate(RECORD_TABLES)
)
_ALL_IN_ORDER += "\nORDER BY position, part"
_MOVE = [
    f"UPDATE {table.name} SET position = ? WHERE run_id = ? AND position = ?"  # noqa: S608
    for table in RECORD_TABLES
]
_SPANS, _SCORES = RECORD_TABLES.index(SPANS), RECORD_TABLES.index(SCORES)
_INSIDE = """
SELECT position, parent_position FROM spans WHERE run_id = ? AND parent_position IS NOT NULL
"""
_SET_PARENT = "UPDATE spans SET parent_position = ? WHERE run_id = ? AND position = ?"
# What was sent on is known there by its position.
_IS_SENT = """
SELECT EXISTS (SELECT 1 FROM requests WHERE run_id = :run_id)
  OR EXISTS (SELECT 1 FROM deliveries WHERE run_id = :run_id AND state <> 'open')
"""


class _Place(NamedTuple):
    part: int
    position: int


def numbered(number: object) -> int | None:
    """Return where a record with this number of the SDK lies; None if it has none."""
    if type(number) is not int or not 0 < number < _LARGEST_NUMBER:
        return None
    return (number + 1) * STRIDE


def is_settled(position: int) -> bool:
    """Return whether a record of an open run lies where its number puts it."""
    return position % STRIDE == 0


def next_free(connection: sqlite3.Connection, run_id: str, *, first: int) -> int:
    """Return a position behind all records of a run; `first` if there is none."""
    (last,) = connection.execute(LAST_POSITION, {"run_id": run_id}).fetchone()
    return first if last is None else int(last) + 1


def is_sent(connection: sqlite3.Connection, run_id: str) -> bool:
    """Return whether records of the run are on their way to another server, or there."""
    return bool(connection.execute(_IS_SENT, {"run_id": run_id}).fetchone()[0])


def settle(connection: sqlite3.Connection, run_id: str) -> None:
    """Number the records of a run that has ended, all tables together, from 1.

    Nothing is done to a run whose records were sent on already.
    """
    rows = connection.execute(_ALL_IN_ORDER, {"run_id": run_id}).fetchall()
    places = [_Place(row[1], row[0]) for row in rows]
    # As long as numbers lie below all places, none of them is taken.
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
        # The SDK's: it sends scores at the end, beside the rest and in no order with it.
        places = sorted(places, key=lambda place: place.part == _SCORES)
    return {place: n for n, place in enumerate(places, 1)}


def _move(connection: sqlite3.Connection, run_id: str, moves: dict[_Place, int]) -> None:
    of_table: list[list[tuple[int, str, int]]] = [[] for _ in RECORD_TABLES]
    for place, new in moves.items():
        of_table[place.part].append((new, run_id, place.position))
    for statement, rows in zip(_MOVE, of_table, strict=True):
        if rows:
            connection.executemany(statement, rows)
