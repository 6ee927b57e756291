"""Writes down that a run was interrupted, where the process that ran it could not."""

from __future__ import annotations

from pathlib import Path

from waxlocal.clock import utc_ns
from waxlocal.delivery.progress import DeliveryState, waits_as
from waxlocal.process import ProcessIdentity, is_gone
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import reader, writer
from waxlocal.storage.record_sql import INTERRUPT_RUN

__all__ = ["interrupt_gone"]

# Open runs are found by their rows in `deliveries`: `runs` has no index on the status.
_OPEN = waits_as(DeliveryState.OPEN)
_WITH_OPEN_RUNS = f"""
SELECT process_id, host, boot_id, pid_namespace, pid, started FROM processes
WHERE process_id IN (
  SELECT r.process_id FROM targets t
  JOIN deliveries d ON d.target_id = t.target_id AND {_OPEN}
  JOIN runs r ON r.run_id = d.run_id WHERE r.status = 'running')
"""  # noqa: S608
_LAST_RECORDS = ", ".join(
    f"coalesce((SELECT max({table.moment}) FROM {table.name} WHERE run_id = r.run_id), '')"  # noqa: S608
    for table in RECORD_TABLES
)
_OPEN_RUNS = f"""
SELECT r.run_id, r.started_at, max(r.started_at, {_LAST_RECORDS})
FROM runs r WHERE r.status = 'running' AND r.process_id = ? AND r.run_id IN (
  SELECT d.run_id FROM targets t
  JOIN deliveries d ON d.target_id = t.target_id AND {_OPEN})
"""  # noqa: S608
_ERROR = "process ended before run completion"


def interrupt_gone(path: Path) -> int:
    """Mark the open runs of processes that have ended as interrupted; return how many.

    Their end is the time of their last record. A process that was killed cannot write this; until
    somebody does, readers only show it so. Of the runs that an upload has looked at. Raises
    `StorageError`.
    """
    with reader(path) as connection:
        gone = [
            row[0]
            for row in connection.execute(_WITH_OPEN_RUNS).fetchall()
            if is_gone(ProcessIdentity(*row[1:]))
        ]
    if not gone:
        return 0
    interrupted = 0
    with writer(path, create=False) as connection:
        for process_id in gone:
            for run_id, started_at, last_at in connection.execute(
                _OPEN_RUNS, (process_id,)
            ).fetchall():
                seconds = max(utc_ns(last_at) - utc_ns(started_at), 0) / 1e9
                values = (last_at, seconds, _ERROR, run_id)
                interrupted += connection.execute(INTERRUPT_RUN.sql, values).rowcount
    return interrupted
