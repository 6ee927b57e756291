"""Steps that arrive: of the program, and those that the SDK makes from other records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.ingest.known_runs import Json, KnownRun
from waxlocal.ingest.spans import add_span
from waxlocal.records import STEPS
from waxlocal.storage.record_sql import insert
from waxlocal.wire.steps import columns_of_step, is_pseudo_step, shape_of_step
from waxlocal.wire.values import as_text

__all__ = ["add_steps"]

_ADD = insert(STEPS, on_conflict="DO NOTHING")
_AT = "SELECT step_name, output FROM steps WHERE run_id = ? AND position = ?"
_SPAN_AT = """
SELECT started_at, kind, attributes FROM spans WHERE run_id = ? AND position = ? AND name = ?
"""
_TAKE_SPAN = "DELETE FROM spans WHERE run_id = ? AND position = ?"


def add_steps(
    connection: sqlite3.Connection, run: KnownRun, steps: Iterable[Any], now_ns: int
) -> int:
    """Add steps to a run; return how many were sent, including those that the SDK made."""
    count = 0
    # A record without a number follows the previous one of the same request.
    last: int | None = None
    for given in steps:
        step = given if isinstance(given, dict) else {"step_name": as_text(given)}
        last = _add(connection, run, step, last, now_ns)
        count += 1
    return count


def _add(
    connection: sqlite3.Connection, run: KnownRun, step: Json, last: int | None, now_ns: int
) -> int | None:
    """Add one step; return its position, None if it gets no position of its own."""
    place = run.position_of(step.get("position"))
    if is_pseudo_step(step):
        shape = shape_of_step(step)
        if shape is not None and run.is_open:
            return add_span(
                connection, run, shape, place, at=utc_text(now_ns), after=last, announced=True
            )
        return last
    return _add_own(connection, run, step, place, now_ns)


def _add_own(
    connection: sqlite3.Connection, run: KnownRun, step: Json, place: int | None, now_ns: int
) -> int:
    given = columns_of_step(step)
    name, output = given["step_name"], given["output"]
    at, kind, attributes = utc_text(now_ns), given["kind"], None
    if place is not None:
        for known_name, known_output in _rows(connection, _AT, run.run_id, place):
            if (known_name, known_output) == (name, output):
                return place  # it was sent before
            place = None
            break
    if place is None:
        place = run.next_free(connection)
    for found in _rows(connection, _SPAN_AT, run.run_id, place, name):
        at, kind, attributes = found
        connection.execute(_TAKE_SPAN, (run.run_id, place))
    attributes = given["attributes"] or attributes
    row = given | {
        "run_id": run.run_id,
        "position": place,
        "recorded_at": at,
        "kind": kind,
        "attributes": attributes,
    }
    connection.execute(_ADD, row)
    return place


def _rows(connection: sqlite3.Connection, sql: str, *values: object) -> list[Any]:
    return [tuple(row) for row in connection.execute(sql, values).fetchall()]
