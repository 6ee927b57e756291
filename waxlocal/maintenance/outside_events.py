"""Events outside any run that name one all the same: they came before its start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from waxlocal.delivery.requests import OUTSIDE, encoded, new_key
from waxlocal.ids import workflow_id_of
from waxlocal.storage.transaction import any_text

__all__ = ["delete_outside_events", "outside_events_of"]

_NAMING = """
SELECT position, json_extract(data, '$.workflow_id') FROM events
WHERE run_id = '' AND json_valid(data)
"""
_DELETE = (
    "DELETE FROM events WHERE run_id = '' AND position = ?",
    "DELETE FROM outside_events WHERE position = ?",
)
# As runs_delete_delivery says: the id of the newest goes to the next one.
_MOVE_CURSORS = """
UPDATE targets SET events_cursor = (SELECT coalesce(max(id), 0) FROM outside_events)
WHERE events_cursor > (SELECT coalesce(max(id), 0) FROM outside_events)
"""
_WAITING = """
SELECT target_id, stage, part, positions, body FROM requests WHERE run_id = '' AND body IS NOT NULL
"""
_REWRITE = """
UPDATE requests SET positions = ?, body = ?, bytes = ?, idempotency_key = ?
WHERE run_id = '' AND target_id = ? AND stage = ? AND part = ?
"""
_DROP = "DELETE FROM requests WHERE run_id = '' AND target_id = ? AND stage = ? AND part = ?"


def outside_events_of(connection: sqlite3.Connection, run_ids: Collection[str]) -> list[int]:
    """Return the positions of the events outside any run that name one of these runs."""
    named = {workflow_id_of(run_id) for run_id in run_ids}
    with any_text(connection):
        rows = connection.execute(_NAMING).fetchall()
    return [position for position, workflow_id in map(tuple, rows) if workflow_id in named]


def delete_outside_events(connection: sqlite3.Connection, positions: Collection[int]) -> None:
    """Delete events in the caller's transaction, also from requests that wait to be sent."""
    for statement in _DELETE:
        connection.executemany(statement, ((position,) for position in positions))
    connection.execute(_MOVE_CURSORS)
    for target_id, stage, part, carried, body in connection.execute(_WAITING).fetchall():
        kept = [position not in positions for position in json.loads(carried)]
        if not all(kept):
            _take_out(connection, (target_id, stage, part), json.loads(carried), body, kept)


def _take_out(
    connection: sqlite3.Connection,
    request: tuple[int, str, int],
    positions: list[int],
    body: bytes,
    kept: list[bool],
) -> None:
    """Leave only some events in a request; its old key stands for its old body."""
    if not any(kept):
        connection.execute(_DROP, request)
        return
    events = json.loads(body)["events"]
    left = encoded({"events": [one for one, keep in zip(events, kept, strict=True) if keep]})
    carried = encoded([one for one, keep in zip(positions, kept, strict=True) if keep])
    key = new_key(OUTSIDE, request[1], request[2])
    written = left.encode()
    connection.execute(_REWRITE, (carried, written, len(written), key, *request))
