"""What would go next, read without a change to the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from waxlocal.delivery import statements as sql
from waxlocal.delivery.records import leniently, text_or_none
from waxlocal.delivery.requests import Part, read_part
from waxlocal.delivery.status import knows_delivery

__all__ = ["known_parts", "remote_ids", "states", "waiting_events", "waiting_runs"]

_WAITING = """
SELECT id, CAST(run_id AS BLOB) FROM runs
WHERE id > :last AND status <> 'running' AND NOT EXISTS (
  SELECT 1 FROM deliveries d JOIN targets t USING (target_id)
  WHERE d.run_id = runs.run_id AND t.url = :url AND (d.state = 'delivered' OR d.state = 'parked'))
ORDER BY id LIMIT 100
"""
_ALL = """
SELECT id, CAST(run_id AS BLOB) FROM runs
WHERE id > :last AND status <> 'running' AND :url <> '' ORDER BY id LIMIT 100
"""
# In a file of an earlier version a request has no states.
_HAS_STATES = "SELECT count(*) FROM pragma_table_info('requests') WHERE name = 'states'"
_PARTS = """
SELECT q.stage, q.part, q.idempotency_key, q.state, q.positions, q.attempts, q.body, {states}
FROM requests q JOIN targets t USING (target_id) WHERE q.run_id = ? AND t.url = ?
ORDER BY q.stage, q.part
"""
_REMOTE = """
SELECT d.remote_run_id, d.remote_workflow_id FROM deliveries d JOIN targets t USING (target_id)
WHERE d.run_id = ? AND t.url = ?
"""
_STATUS = "SELECT status FROM runs WHERE run_id = ?"
_STATE = """
SELECT d.state FROM deliveries d JOIN targets t USING (target_id) WHERE d.run_id = ? AND t.url = ?
"""
_EVENTS = f"""{sql.OUTSIDE_EVENTS}
WHERE o.id > coalesce((SELECT events_cursor FROM targets WHERE url = ?), 0) ORDER BY o.id
"""  # noqa: S608


def waiting_events(connection: sqlite3.Connection, url: str) -> list[dict[str, Any]]:
    """Return the events outside any run that no request to a server carries yet.

    Text that is not UTF-8 is read with replacement characters.
    """
    if not knows_delivery(connection, "outside_events"):
        return []
    rows = leniently(connection, lambda: connection.execute(_EVENTS, (url,)).fetchall())
    return [dict(zip(sql.NAMES_OF_EVENTS, row, strict=True)) for row in rows]


def waiting_runs(connection: sqlite3.Connection, url: str) -> Iterator[str]:
    """Give the ids of the ended runs that a server has not got, in the order they came.

    Without ids that are not UTF-8 or have a NUL character: the upload parks those runs.
    """
    wanted = _WAITING if knows_delivery(connection) else _ALL
    last = 0
    while page := connection.execute(wanted, {"last": last, "url": url}).fetchall():
        ids = (text_or_none(raw) for _, raw in page)
        yield from (one for one in ids if one is not None and "\0" not in one)
        last = page[-1][0]


def known_parts(connection: sqlite3.Connection, run_id: str, url: str) -> list[Part]:
    """Return the requests that were made for a run already."""
    if not knows_delivery(connection):
        return []
    has_states = connection.execute(_HAS_STATES).fetchone()[0]
    query = _PARTS.format(states="q.states" if has_states else "NULL")
    return [read_part(*row) for row in connection.execute(query, (run_id, url)).fetchall()]


def remote_ids(
    connection: sqlite3.Connection, run_id: str, url: str
) -> tuple[str | None, str | None]:
    """Return the run id and the workflow id that the server gave a run, None where it has not."""
    if not knows_delivery(connection):
        return None, None
    row = connection.execute(_REMOTE, (run_id, url)).fetchone()
    return (row[0], row[1]) if row else (None, None)


def states(connection: sqlite3.Connection, run_id: str, url: str) -> tuple[str | None, str | None]:
    """Return the status of a run in the file, and the state of its delivery; None without one."""
    run = connection.execute(_STATUS, (run_id,)).fetchone()
    known = knows_delivery(connection)
    delivery = connection.execute(_STATE, (run_id, url)).fetchone() if known else None
    return run and run[0], delivery and delivery[0]
