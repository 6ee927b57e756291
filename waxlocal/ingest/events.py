"""Events that arrive: of the program, partial outputs of streams, memory, governance."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.ingest.known_runs import Json, KnownRun, run_of_workflow
from waxlocal.records import EVENTS, LARGEST_INTEGER
from waxlocal.storage.record_sql import insert
from waxlocal.wire.events import data_of_event
from waxlocal.wire.memory import data_of_memory
from waxlocal.wire.outside_events import OutsideEvent, outside_event
from waxlocal.wire.values import as_count, as_object, as_text

__all__ = [
    "add_event",
    "add_events",
    "add_memory",
    "add_partial",
    "change_event",
    "has_event",
    "last_event",
    "note",
]

# The recorder cuts partial output at the same length.
MAX_PARTIAL_CHARS = 20_000

_DEFAULTS = EVENTS.defaults
_ADD = insert(EVENTS)
# Outside any run, the position is the time in nanoseconds, or the next free number.
_ADD_OUTSIDE = """
INSERT INTO events (run_id, position, recorded_at, event, data)
SELECT '', max(?, coalesce(max(position) + 1, 0)), ?, ?, ? FROM events WHERE run_id = ''
"""
_OUTSIDE_AT = """
SELECT recorded_at, event, data FROM events WHERE run_id = '' AND position = ?
"""
_OF_NAME = """
SELECT position, data FROM events WHERE run_id = ? AND event = ? ORDER BY position DESC
"""
_CHANGE = "UPDATE events SET recorded_at = ?, data = ? WHERE run_id = ? AND position = ?"
_DROP_SPAN = """
DELETE FROM spans WHERE run_id = ? AND name = ? AND kind = 'memory'
  AND json_extract(attributes, '$."waxell.memory.operation"') = 'write'
  AND json_extract(attributes, '$."waxell.memory.tier"') = ?
"""


def note(
    connection: sqlite3.Connection, run: KnownRun | None, event: str, data: Json, now_ns: int
) -> None:
    """Add an event to a run, or outside any run."""
    if run is not None:
        add_event(connection, run, event, data, now_ns)
    else:
        connection.execute(_ADD_OUTSIDE, (now_ns, utc_text(now_ns), event, dumps(data)))


def add_event(
    connection: sqlite3.Connection,
    run: KnownRun,
    event: str,
    data: Json,
    now_ns: int,
    *,
    again: bool = True,
) -> None:
    """Add an event to a run; `again`: even if the run has the same event already."""
    shown = dumps(data)
    if not again and any(shown == known for _, known in _of_name(connection, run.run_id, event)):
        return
    position = run.next_free(connection)
    row = {
        **_DEFAULTS,
        "run_id": run.run_id,
        "position": position,
        "recorded_at": utc_text(now_ns),
        "event": event,
        "data": shown,
    }
    connection.execute(_ADD, row)


def change_event(
    connection: sqlite3.Connection, run: KnownRun, position: int, data: Json, now_ns: int
) -> None:
    """Replace the data of an event."""
    connection.execute(_CHANGE, (utc_text(now_ns), dumps(data), run.run_id, position))


def last_event(connection: sqlite3.Connection, run_id: str, event: str) -> tuple[int, Json] | None:
    """Return position and data of a run's last event of that name, or None."""
    for position, data in _of_name(connection, run_id, event)[:1]:
        return position, as_object(json.loads(data or "{}"))
    return None


def has_event(connection: sqlite3.Connection, run_id: str, event: str, **fields: object) -> bool:
    """Return whether a run has an event of that name whose data has these values."""
    found = (json.loads(data or "{}") for _, data in _of_name(connection, run_id, event))
    return any(
        all(data.get(name) == value for name, value in fields.items())
        for data in found
        if isinstance(data, dict)
    )


def _of_name(connection: sqlite3.Connection, run_id: str, event: str) -> list[Any]:
    return connection.execute(_OF_NAME, (run_id, event)).fetchall()


def add_events(connection: sqlite3.Connection, events: Iterable[Any], now_ns: int) -> int:
    """Add events, each to the run whose workflow id it names, else outside any run."""
    count = 0
    for event in events:
        if not isinstance(event, dict):
            continue
        count += 1
        if (outside := outside_event(event)) is not None:
            _add_outside(connection, outside)
            continue
        run = run_of_workflow(connection, event.get("workflow_id"))
        name, data = data_of_event(event, known=run is not None)
        note(connection, run, name, data, now_ns)
    return count


def _add_outside(connection: sqlite3.Connection, event: OutsideEvent) -> None:
    """Add an event of another waxlocal once, at its position or at the next free one."""
    for position in range(event.position, LARGEST_INTEGER):
        here = connection.execute(_OUTSIDE_AT, (position,)).fetchone()
        if here is None:
            row = {**_DEFAULTS, **event._asdict(), "run_id": "", "position": position}
            connection.execute(_ADD, row)
            return
        if tuple(here) == event[1:]:
            return


def add_memory(
    connection: sqlite3.Connection, run: KnownRun, tier: str, body: Json, now_ns: int
) -> Json:
    """Add a memory write to a run; `tier`: episodic or semantic."""
    data = data_of_memory(tier, body)
    add_event(connection, run, f"memory_{tier}", data, now_ns)
    # The SDK sends a span for it, too. One that arrives later is not stored.
    span = (run.run_id, f"memory.write:{as_text(data['slot_name'])}", tier)
    connection.execute(_DROP_SPAN, span)
    return {"slot_name": data["slot_name"], "scope_key": data["scope_key"]}


def add_partial(connection: sqlite3.Connection, run: KnownRun, body: Json, now_ns: int) -> None:
    """Store the partial output of a stream: one event for each stream, with its last state.

    The SDK sends it from several threads, out of order and even after the end of the run. Output
    that is shorter than the stored one is older, and is dropped.
    """
    text = as_text(body.get("partial"))[:MAX_PARTIAL_CHARS]
    data = {
        "chunk_count": body.get("chunk_count"),
        "model": as_text(body.get("model")),
        "done": bool(body.get("done")),
        "partial": text,
    }
    last = last_event(connection, run.run_id, "partial_output")
    if last is None:
        add_event(connection, run, "partial_output", data, now_ns)
        return
    position, before = last
    known = as_text(before.get("partial"))
    if text.startswith(known) and not before.get("done"):
        if text != known or _chunks(data) >= _chunks(before) or data["done"]:
            change_event(connection, run, position, data, now_ns)
    elif not known.startswith(text):  # another stream of the same run
        add_event(connection, run, "partial_output", data, now_ns)


def _chunks(data: Json) -> int:
    return as_count(data.get("chunk_count"))
