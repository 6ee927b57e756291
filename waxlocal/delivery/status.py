"""How far the upload is: what is pending, what is parked and why, and what was answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from waxlocal.delivery import statements as sql
from waxlocal.delivery.progress import IS_OPEN, IS_PARKED, IS_PENDING, IS_SENDING
from waxlocal.delivery.records import leniently
from waxlocal.storage.schema import has_table

__all__ = [
    "ParkedRun",
    "Receipt",
    "Refusal",
    "TargetStatus",
    "count_unsynced",
    "delivery_status",
    "knows_delivery",
    "last_refusal",
    "list_parked",
    "list_receipts",
    "recent_receipts",
]

# A file of version 1 that nobody has opened for writing since has no tables for this.

# An id that waxlocal gives begins with its time: the first of them is the oldest. Ids that programs
# give, and those of an agent's day, say nothing of it: of these each start is read. Not of all runs
# that wait, which takes ten times as long; where a server was away they are many.
_HAS_TIME = "d.run_id GLOB '0???????-????-7???-????-????????????'"
_MOMENTS_OF_RUNS = f"""
    SELECT r.started_at AS moment FROM runs r
    WHERE r.id = (SELECT min(id) FROM runs WHERE id > t.cursor)
    UNION ALL
    SELECT r.started_at FROM runs r WHERE r.run_id = (
      SELECT d.run_id FROM deliveries d
      WHERE d.target_id = t.target_id AND {IS_PENDING} AND {_HAS_TIME}
      ORDER BY d.run_id LIMIT 1)
    UNION ALL
    SELECT r.started_at FROM deliveries d CROSS JOIN runs r ON r.run_id = d.run_id
    WHERE d.target_id = t.target_id AND {IS_PENDING} AND NOT {_HAS_TIME}
    UNION ALL
    SELECT r.started_at FROM deliveries d CROSS JOIN runs r ON r.run_id = d.run_id
    WHERE d.target_id = t.target_id AND {IS_SENDING}"""  # noqa: S608
# Events outside any run: the next one, and those in requests that were not answered yet.
_MOMENTS_OF_EVENTS = """
    UNION ALL
    SELECT e.recorded_at FROM deliveries d CROSS JOIN events e ON e.run_id = '' AND e.position = (
      SELECT position FROM outside_events WHERE id > t.events_cursor ORDER BY id LIMIT 1)
    WHERE d.run_id = '' AND d.target_id = t.target_id
      AND (d.state = 'pending' OR d.state = 'sending')
    UNION ALL
    SELECT e.recorded_at
    FROM requests q CROSS JOIN json_each(q.positions) place
    CROSS JOIN events e ON e.run_id = '' AND e.position = place.value
    WHERE q.run_id = '' AND q.target_id = t.target_id AND q.state = 'waiting'"""


# How many of the newest runs are looked at for requests, and of the oldest that wait for reasons.
_LOOKED_AT = 1_000


def _targets(moments: str) -> str:
    return f"""
SELECT t.url, {sql.COUNT_PENDING} AS pending,
  (SELECT count(*) FROM deliveries d
   WHERE d.target_id = t.target_id AND {IS_OPEN}) AS open,
  {sql.COUNT_PARKED} AS parked, t.delivered,
  (SELECT min(moment) FROM ({moments})) AS oldest_pending_at,
  t.not_before, t.failures, t.paused_at, t.reason, t.last_attempt_at, t.last_success_at,
  (SELECT reason FROM (
    SELECT reason FROM deliveries d WHERE d.target_id = t.target_id AND {IS_PENDING}
    ORDER BY d.run_id LIMIT {_LOOKED_AT}) WHERE reason IS NOT NULL LIMIT 1) AS pending_reason
FROM targets t ORDER BY t.target_id
"""  # noqa: S608


_TARGETS = _targets(_MOMENTS_OF_RUNS + _MOMENTS_OF_EVENTS)
# A file of version 2 has no events outside any run.
_TARGETS_OF_RUNS = _targets(_MOMENTS_OF_RUNS)
_UNSYNCED = "SELECT count(*) FROM runs WHERE id > (SELECT coalesce(max(cursor), 0) FROM targets)"
_RUNS = "SELECT count(*) FROM runs"
# A run of which no request could be made has none. One that no batch can carry is on its way, by
# single requests, unless an older waxlocal has parked it.
_PARKED_REQUESTS = f"""
SELECT parked.run_id, r.session_id, coalesce(r.agent_name, '') AS agent_name, r.started_at,
  t.url, parked.stage, parked.part, parked.status,
  coalesce(parked.reason, '') AS reason, parked.records, parked.bytes, parked.attempts,
  parked.last_attempt_at
FROM (
  SELECT run_id, target_id, stage, part, status, reason, json_array_length(positions) AS records,
    bytes, attempts, last_attempt_at
  FROM requests q WHERE state = 'parked' AND (stage <> 'bulk' OR EXISTS (
    SELECT 1 FROM deliveries d
    WHERE d.run_id = q.run_id AND d.target_id = q.target_id AND d.state = 'parked'))
  UNION ALL
  SELECT d.run_id, d.target_id, '', 0, NULL, d.reason, 0, 0, 0, NULL
  FROM targets t JOIN deliveries d ON d.target_id = t.target_id AND {IS_PARKED}
  WHERE NOT EXISTS (
    SELECT 1 FROM requests q
    WHERE q.run_id = d.run_id AND q.target_id = d.target_id AND q.state = 'parked')
) parked JOIN targets t USING (target_id) LEFT JOIN runs r USING (run_id)
ORDER BY parked.target_id, parked.run_id, parked.stage, parked.part LIMIT ? OFFSET ?
"""  # noqa: S608
_LAST_REFUSAL = f"""
SELECT q.status, coalesce(q.reason, '') FROM requests q JOIN targets t USING (target_id)
WHERE {sql.IS_AT} AND q.state = 'parked' ORDER BY q.last_attempt_at DESC LIMIT 1
"""  # noqa: S608
_RECEIPTS = """
SELECT q.run_id, t.url, q.stage, q.part, q.idempotency_key, q.state,
  json_array_length(q.positions) AS records, q.bytes, q.attempts, q.status, q.reason,
  q.first_attempt_at, q.last_attempt_at
FROM {requests} q JOIN targets t USING (target_id)
WHERE q.run_id IN ({runs})
ORDER BY {order}t.target_id, q.run_id, q.first_attempt_at, q.stage, q.part
LIMIT :limit
"""
_RECEIPTS_OF_RUN = _RECEIPTS.format(requests="known_requests", runs=":run_id", order="")
_RECEIPTS_IN_OLD_FILE = _RECEIPTS.format(requests="requests", runs=":run_id", order="")
# No index on times, which every upload would have to keep: the last of the ids that begin with a
# time are the newest of those. Of ids that programs give the order is that of their arrival; where
# so many runs wait that none of the last has a request, the last of all ids stand for them.
_NEWEST = f"""
  SELECT run_id FROM (
    SELECT DISTINCT run_id FROM requests WHERE run_id < '1' ORDER BY run_id DESC LIMIT :limit)
  UNION ALL
  SELECT run_id FROM (SELECT DISTINCT run_id FROM requests ORDER BY run_id DESC LIMIT :limit)
  UNION ALL
  SELECT run_id FROM (
    SELECT run_id FROM (SELECT id, run_id FROM runs ORDER BY id DESC LIMIT {_LOOKED_AT}) AS newest
    WHERE EXISTS (SELECT 1 FROM requests sent WHERE sent.run_id = newest.run_id)
    ORDER BY id DESC LIMIT :limit)
  UNION ALL SELECT ''"""  # noqa: S608
_RECENT = _RECEIPTS.format(
    requests="requests", runs=_NEWEST, order="coalesce(q.last_attempt_at, '') DESC, "
)


@dataclass(frozen=True)
class TargetStatus:
    """The upload to one server; `pending` counts the runs not looked at yet, too.

    `open` are runs that still go on, `parked` runs that the server refused. Events outside any run
    count together as one run. `reason`: why nothing goes; `pending_reason`: why one of the oldest
    pending runs has failed, while others may go. Times are UTC text.
    """

    url: str
    pending: int
    open: int
    parked: int
    delivered: int
    oldest_pending_at: str | None
    not_before: str | None
    failures: int
    paused_at: str | None
    reason: str | None
    last_attempt_at: str | None
    last_success_at: str | None
    pending_reason: str | None


@dataclass(frozen=True)
class ParkedRun:
    """A request that the server refused for good, with the run that it belongs to.

    Events outside any run have an empty `run_id` and `agent_name`, and no `started_at`.
    `stage` is empty where it was the run as a whole: no request of its own was made.
    """

    run_id: str
    session_id: str | None
    agent_name: str
    started_at: str | None
    url: str
    stage: str
    part: int
    status: int | None
    reason: str
    records: int
    bytes: int
    attempts: int
    last_attempt_at: str | None


class Refusal(NamedTuple):
    """The answer for which a request was parked: its status, if it had one, and the reason."""

    status: int | None
    reason: str


@dataclass(frozen=True)
class Receipt:
    """A request and what became of it; `state` is waiting, delivered, parked or replaced.

    Of a run that was delivered some time ago it is not known under which keys its requests went,
    how large they were, how often they were sent, and what was answered; `last_attempt_at` is when
    the run was delivered.
    """

    run_id: str
    url: str
    stage: str
    part: int
    idempotency_key: str | None
    state: str
    records: int
    bytes: int | None
    attempts: int | None
    status: int | None
    reason: str | None
    first_attempt_at: str | None
    last_attempt_at: str | None


def delivery_status(connection: sqlite3.Connection) -> tuple[TargetStatus, ...]:
    """Return the state of each server that runs were ever delivered to."""
    if not knows_delivery(connection):
        return ()
    knows_events = knows_delivery(connection, "outside_events")
    asked = _TARGETS if knows_events else _TARGETS_OF_RUNS
    return tuple(TargetStatus(*row) for row in connection.execute(asked).fetchall())


def count_unsynced(connection: sqlite3.Connection) -> int:
    """Return how many runs no upload has looked at yet."""
    counted = _UNSYNCED if knows_delivery(connection) else _RUNS
    return int(connection.execute(counted).fetchone()[0])


def list_parked(
    connection: sqlite3.Connection, limit: int = 100, offset: int = 0
) -> list[ParkedRun]:
    """Return what servers refused, the oldest runs first.

    Text that is not UTF-8 is read with replacement characters.
    """
    if not knows_delivery(connection):
        return []
    rows = leniently(
        connection, lambda: connection.execute(_PARKED_REQUESTS, (limit, offset)).fetchall()
    )
    return [ParkedRun(*row) for row in rows]


def last_refusal(connection: sqlite3.Connection, url: str) -> Refusal | None:
    """Return the answer to the request that this server refused last; None if there is none."""
    named = {"url": url}
    row = leniently(connection, lambda: connection.execute(_LAST_REFUSAL, named).fetchone())
    return None if row is None else Refusal(*row)


def list_receipts(connection: sqlite3.Connection, run_id: str) -> list[Receipt]:
    """Return every request of a run, in the order they were first sent."""
    if not knows_delivery(connection):
        return []
    is_old = not knows_delivery(connection, "known_requests")
    asked = _RECEIPTS_IN_OLD_FILE if is_old else _RECEIPTS_OF_RUN
    return _receipts(connection, asked, {"run_id": run_id, "limit": -1})


def recent_receipts(connection: sqlite3.Connection, limit: int = 20) -> list[Receipt]:
    """Return requests of the newest runs and of events outside any run, the last attempts first.

    Text that is not UTF-8 is read with replacement characters.
    """
    if not knows_delivery(connection):
        return []
    return _receipts(connection, _RECENT, {"limit": limit})


def _receipts(
    connection: sqlite3.Connection, query: str, named: Mapping[str, object]
) -> list[Receipt]:
    rows = leniently(connection, lambda: connection.execute(query, named).fetchall())
    return [Receipt(*row) for row in rows]


def knows_delivery(connection: sqlite3.Connection, table: str = "targets") -> bool:
    """Return whether the file has a table of the upload; one of an older version may have none."""
    return has_table(connection, table)
