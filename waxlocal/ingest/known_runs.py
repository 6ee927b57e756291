"""A run of this file, found for the records of it that arrive."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any, NamedTuple

from waxlocal.clock import stored_ns
from waxlocal.errors import NotFound
from waxlocal.ids import run_id_of
from waxlocal.ingest.positions import FIRST, next_free, numbered
from waxlocal.records import RunStatus
from waxlocal.wire.paths import RUN_START

__all__ = ["Json", "KnownRun", "find_run", "run_of_workflow"]

Json = dict[str, Any]

_FIND = """
SELECT r.run_id, r.status,
  iif(typeof(r.started_at) = 'text', r.started_at, '') AS started_at,
  r.completed_at, r.duration, r.trace_id,
  coalesce(r.revision, 0) AS revision,
  coalesce(p.waxlocal, '') <> '' AS of_uploader,
  r.process_id IS NOT NULL AS has_process
FROM runs r LEFT JOIN processes p ON p.process_id = r.process_id
WHERE r.run_id = ?
"""
_STARTED_AT = 2
# Each request about a run asks for the same time.
_started_ns = lru_cache(maxsize=256)(stored_ns)
# The version of the UUIDs that identify an agent's day; other runs have another one.
_DAILY_VERSION = "8"


class KnownRun(NamedTuple):
    """A run of this file, with what its arriving records need.

    `of_uploader`: whether waxlocal recorded it elsewhere, and its uploader sends it; `has_process`:
    whether it is known where the run comes from.
    """

    run_id: str
    status: str
    started_at: str
    completed_at: str | None
    duration: float | None
    trace_id: str
    revision: int
    of_uploader: int
    has_process: int
    started_ns: int | None  # since 1970; None if the start is not a valid time

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self.status == RunStatus.RUNNING

    @property
    def awaits_numbers(self) -> bool:
        """Whether records with a number may still arrive; those of a daily run have none."""
        return self.is_open and self.run_id[14:15] != _DAILY_VERSION

    def position_of(self, number: object) -> int | None:
        """Return the position of the record with this number of the sender, or None."""
        return numbered(number) if self.awaits_numbers else None

    def next_free(self, connection: sqlite3.Connection) -> int:
        """Return the position after the last record of the run."""
        return next_free(connection, self.run_id, first=FIRST if self.awaits_numbers else 1)


def find_run(connection: sqlite3.Connection, run_id: str) -> KnownRun:
    """Return a run; raises `NotFound`."""
    for row in connection.execute(_FIND, (run_id,)).fetchall():
        return KnownRun._make((*row, _started_ns(row[_STARTED_AT])))
    raise NotFound(f"no run {run_id!r}", hint=f"start it first: POST {RUN_START}")


def run_of_workflow(connection: sqlite3.Connection, workflow_id: object) -> KnownRun | None:
    """Return the run that has this workflow id, or None."""
    run_id = run_id_of(workflow_id)
    if run_id is None:
        return None
    try:
        return find_run(connection, run_id)
    except NotFound:
        return None
