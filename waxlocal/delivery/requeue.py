"""Makes parked runs pending again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from waxlocal.delivery import statements as sql
from waxlocal.delivery.progress import IS_PARKED
from waxlocal.delivery.records import leniently
from waxlocal.delivery.requests import new_key

__all__ = ["requeue"]

# Each half by its own partial index.
_PARKED_RUNS = f"""
SELECT run_id, target_id FROM (
  SELECT d.run_id, d.target_id
  FROM targets t JOIN deliveries d ON d.target_id = t.target_id AND {IS_PARKED}
  UNION
  SELECT q.run_id, q.target_id FROM requests q JOIN deliveries USING (run_id, target_id)
  WHERE q.state = 'parked' AND q.stage <> 'bulk')
WHERE ? IS NULL OR run_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608
_REFUSED = """
SELECT stage, part, status FROM requests WHERE run_id = ? AND target_id = ? AND state = 'parked'
"""
# The server refused the old key and stored nothing under it; a server that remembers its answers
# would give the same again. So the same bytes go under a new key.
_AGAIN = """
INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state, positions, states,
  body, bytes)
SELECT run_id, target_id, stage, :free, :key, 'waiting', positions, states, body, bytes
FROM requests
WHERE run_id = :run_id AND target_id = :target AND stage = :stage AND part = :part
"""
_REMOTE = "SELECT remote_run_id FROM deliveries WHERE run_id = ? AND target_id = ?"
_REPLACE = """
UPDATE requests SET state = 'replaced', body = NULL
WHERE run_id = ? AND target_id = ? AND stage = ? AND part = ?
"""
_MAKE_PENDING = """
UPDATE deliveries SET state = 'pending', failures = 0, not_before = NULL, reason = NULL
WHERE run_id = ? AND target_id = ?
"""


def requeue(connection: sqlite3.Connection, run_ids: Sequence[str] | None = None) -> int:
    """Make parked runs pending again, all of them without ids; return how many.

    What the server had accepted of them stays accepted; only where another waxlocal no longer knew
    the run (404) does the run begin anew. A run whose id has a NUL character or is not UTF-8 stays
    parked: the upload could not read it. Within a transaction of the caller's.
    """
    # SQLite's JSON functions end a text at NUL: such an id would stand for another run.
    wanted = None if run_ids is None else json.dumps([one for one in run_ids if "\0" not in one])
    parked = leniently(
        connection, lambda: connection.execute(_PARKED_RUNS, (wanted, wanted)).fetchall()
    )
    pending = 0
    for run_id, target_id in parked:
        remote = connection.execute(_REMOTE, (run_id, target_id)).fetchone()
        if "\0" in run_id or remote is None:  # an id that is not UTF-8: no statement finds it
            continue
        _again(connection, run_id, target_id, remote[0])
        pending += connection.execute(_MAKE_PENDING, (run_id, target_id)).rowcount
    return pending


def _again(
    connection: sqlite3.Connection, run_id: str, target_id: int, remote_run_id: str | None
) -> None:
    refused = connection.execute(_REFUSED, (run_id, target_id)).fetchall()
    unknown = (status == 404 and stage not in ("start", "bulk") for stage, _, status in refused)
    # Any other server may have what it had accepted of the run before it said so.
    if run_id == remote_run_id and any(unknown):
        for statement in (sql.REPLACE_ALL, sql.BEGIN_ANEW):
            connection.execute(statement, {"run_id": run_id, "target": target_id})
        return
    for stage, part, _status in refused:
        if stage == "start" and remote_run_id not in (None, run_id):
            continue  # it began with cut values: a second start would make a second run
        if stage != "bulk":
            of = {"run_id": run_id, "target": target_id, "stage": stage, "part": part}
            (free,) = connection.execute(sql.NEXT_PART, of).fetchone()
            key = new_key(run_id, stage, free)
            connection.execute(_AGAIN, {**of, "free": free, "key": key})
        connection.execute(_REPLACE, (run_id, target_id, stage, part))
