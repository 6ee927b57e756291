"""What would go next to a server, read without a change to the file.

`target` is its number in the file, None where nothing was ever sent to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from waxlocal.delivery import statements as sql
from waxlocal.delivery.records import leniently, text_or_none
from waxlocal.delivery.requests import Part, read_part
from waxlocal.delivery.status import knows_delivery

__all__ = ["KnownRun", "known_parts", "known_run", "waiting_events", "waiting_runs"]

_WAITING = """
SELECT id, CAST(run_id AS BLOB) FROM runs
WHERE id > :last AND status <> 'running' AND NOT EXISTS (
  SELECT 1 FROM deliveries d
  WHERE d.run_id = runs.run_id AND d.target_id = :target
    AND (d.state = 'delivered' OR d.state = 'parked'))
ORDER BY id LIMIT 100
"""
_ALL = """
SELECT id, CAST(run_id AS BLOB) FROM runs
WHERE id > :last AND status <> 'running' AND :target IS NULL ORDER BY id LIMIT 100
"""
_PARTS = """
SELECT q.stage, q.part, q.idempotency_key, q.state, q.positions, coalesce(q.attempts, 1), q.body,
  {states}
FROM {requests} q WHERE q.run_id = ? AND q.target_id = ?
ORDER BY q.stage, q.part
"""
_PARTS_OF_RUN = _PARTS.format(requests="known_requests", states="q.states")
# In a file of an earlier version a request has no states, and is always a row.
_PARTS_IN_OLD_FILE = _PARTS.format(requests="requests", states="NULL")
# A delivery may be known of a run that the file no longer has, and the other way round.
_KNOWN = """
SELECT r.status, d.state, d.remote_run_id, d.remote_workflow_id
FROM (SELECT :run_id AS run_id) one LEFT JOIN runs r USING (run_id)
LEFT JOIN deliveries d ON d.run_id = one.run_id AND d.target_id = :target
"""
_KNOWN_HERE = "SELECT max(status), NULL, NULL, NULL FROM runs WHERE run_id = :run_id"
_EVENTS = f"""{sql.OUTSIDE_EVENTS}
WHERE o.id > coalesce((SELECT events_cursor FROM targets WHERE target_id = ?), 0) ORDER BY o.id
"""  # noqa: S608


class KnownRun(NamedTuple):
    """The status of a run here, and how far its delivery is; None what the file does not have."""

    status: str | None
    delivery: str | None
    remote_run_id: str | None
    remote_workflow_id: str | None


def waiting_events(connection: sqlite3.Connection, target: int | None) -> list[dict[str, Any]]:
    """Return the events outside any run that no request to a server carries yet.

    Text that is not UTF-8 is read with replacement characters.
    """
    if not knows_delivery(connection, "outside_events"):
        return []
    rows = leniently(connection, lambda: connection.execute(_EVENTS, (target,)).fetchall())
    return [dict(zip(sql.NAMES_OF_EVENTS, row, strict=True)) for row in rows]


def waiting_runs(connection: sqlite3.Connection, target: int | None) -> Iterator[str]:
    """Give the ids of the ended runs that a server has not got, in the order they came.

    Without ids that are not UTF-8 or have a NUL character: the upload parks those runs.
    """
    wanted = _WAITING if knows_delivery(connection) else _ALL
    last = 0
    while page := connection.execute(wanted, {"last": last, "target": target}).fetchall():
        ids = (text_or_none(raw) for _, raw in page)
        yield from (one for one in ids if one is not None and "\0" not in one)
        last = page[-1][0]


def known_parts(connection: sqlite3.Connection, run_id: str, target: int | None) -> list[Part]:
    """Return the requests that were made for a run already."""
    if not knows_delivery(connection):
        return []
    is_old = not knows_delivery(connection, "known_requests")
    query = _PARTS_IN_OLD_FILE if is_old else _PARTS_OF_RUN
    return [read_part(*row) for row in connection.execute(query, (run_id, target)).fetchall()]


def known_run(connection: sqlite3.Connection, run_id: str, target: int | None) -> KnownRun:
    """Return what the file knows of a run and of its delivery to a server."""
    query = _KNOWN if knows_delivery(connection) else _KNOWN_HERE
    return KnownRun(*connection.execute(query, {"run_id": run_id, "target": target}).fetchone())
