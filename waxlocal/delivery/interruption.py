"""Writes down that a run was interrupted, where the process that ran it could not."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, stored_ns, utc_text
from waxlocal.delivery.connection import DeliveryConnection
from waxlocal.delivery.progress import IS_OPEN
from waxlocal.delivery.records import leniently
from waxlocal.ids import workflow_id_of
from waxlocal.process import Life, ProcessIdentity, life_of
from waxlocal.records import KILLED, RECORD_TABLES
from waxlocal.settings.config import unseen_after
from waxlocal.storage.connection import reader
from waxlocal.storage.record_sql import INTERRUPT_RUN
from waxlocal.storage.schema import has_table

__all__ = ["interrupt_gone"]

# `runs` has no index on the status: open runs are found by their rows in `deliveries`; or, whether
# or not there is an upload, by their sessions, and those without one by the totals, which list them
# as far as they have come.
_OF_UPLOAD = f"""
  SELECT d.run_id FROM targets t
  JOIN deliveries d ON d.target_id = t.target_id AND {IS_OPEN}"""  # noqa: S608
_OF_FILE = """
  SELECT o.run_id FROM sessions s JOIN runs o ON o.session_id = s.session_id
  WHERE s.open_runs > 0 AND o.status = 'running'
  UNION ALL SELECT o.run_id FROM outside_runs JOIN runs o USING (id)
  UNION ALL
  SELECT run_id FROM runs WHERE id > (SELECT up_to FROM summary) AND status = 'running'"""
# A file of an earlier version has no totals.
_OF_OLD_FILE = "SELECT run_id FROM runs WHERE status = 'running'"
_WITH_OPEN_RUNS = """
SELECT process_id, host, boot_id, pid_namespace, pid, started FROM processes
WHERE process_id IN (
  SELECT r.process_id FROM runs r WHERE r.status = 'running' AND r.run_id IN ({which}))
"""
_OPEN_RUNS = """
SELECT r.run_id, r.started_at, r.parent_workflow_id, r.process_id FROM runs r
WHERE r.status = 'running' AND r.run_id IN ({which})
ORDER BY r.id DESC  -- a run comes after the one that called it, also where a clock was set back
"""
_MOMENTS = " UNION ALL ".join(
    f"SELECT {table.moment} AS moment FROM {table.name} WHERE run_id = :run_id"  # noqa: S608
    for table in RECORD_TABLES
)
# And when the runs inside it began and ended.
_MOMENTS += """
UNION ALL SELECT started_at FROM runs WHERE parent_workflow_id = :workflow_id
UNION ALL SELECT completed_at FROM runs WHERE parent_workflow_id = :workflow_id"""
# Of the runs that came last: a process that begins runs lives, whatever its open ones wait for.
_BEGUN_SINCE = """
SELECT DISTINCT process_id FROM (
  SELECT process_id, started_at FROM runs ORDER BY id DESC LIMIT 1000)
WHERE started_at >= ?
"""
_LAST_FIRST = f"SELECT moment FROM ({_MOMENTS}) ORDER BY moment DESC"  # noqa: S608
_ERROR, _ = KILLED


class _OpenRun(NamedTuple):
    run_id: str
    started_at: str
    parent_workflow_id: str | None


def interrupt_gone(
    path: Path,
    stop: threading.Event | None = None,
    *,
    all_runs: bool = False,
    unseen_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now_ns: Callable[[], int] = SYSTEM_CLOCK.time_ns,
) -> int:
    """Mark the open runs of processes that have ended as interrupted; return how many.

    A process that cannot be seen from here, in another container for example, counts as ended after
    `unseen_s` seconds without a new run and without a record in its open ones (None: as
    `settings.unseen_after` says; 0: never). If it should live after all, what it records, and the
    end of the run, take the place of this one.

    Their end is the time of their last record, or of what is known last of the runs inside them; or
    their start where none has a valid time. A process that was killed cannot write this; until
    somebody does, readers only show it so. Of the runs that an upload has looked at, or of
    `all_runs`, which takes a look at each session. In several transactions, until `stop` is set;
    others may write in between. Raises `StorageError`.
    """
    with reader(path) as connection:
        of_file = _OF_FILE if has_table(connection, "outside_runs") else _OF_OLD_FILE
        which = of_file if all_runs else _OF_UPLOAD
        seconds = unseen_after() if unseen_s is None else unseen_s
        # Nobody was last heard of before 1970.
        silent_since = max(now_ns() - int(seconds * 1e9), 0) if seconds else 0
        left_open = leniently(connection, lambda: _left_open(connection, which, silent_since))
    if not left_open:
        return 0
    with _Interruption(path, sleep) as interruption:
        return interruption.of(left_open, stop)


def _left_open(connection: sqlite3.Connection, which: str, silent_since: int) -> list[_OpenRun]:
    owners = connection.execute(_WITH_OPEN_RUNS.format(which=which)).fetchall()
    lives = {row[0]: life_of(ProcessIdentity(*row[1:])) for row in owners}
    unseen = {one for one, life in lives.items() if life == Life.UNKNOWN}
    if unseen:
        begun = connection.execute(_BEGUN_SINCE, (utc_text(silent_since),)).fetchall()
        unseen.difference_update(process_id for (process_id,) in begun)
    gone = {one for one, life in lives.items() if life == Life.GONE}
    if not gone | unseen:
        return []
    found = connection.execute(_OPEN_RUNS.format(which=which)).fetchall()
    for *row, process_id in found:
        if process_id in unseen and not _is_silent(connection, _OpenRun(*row), silent_since):
            unseen.discard(process_id)  # one run that goes on shows that the process does
    return [_OpenRun(*row) for *row, process_id in found if process_id in gone | unseen]


def _is_silent(connection: sqlite3.Connection, run: _OpenRun, since: int) -> bool:
    """Return whether a run began, and has its last record, before that time."""
    last = stored_ns(run.started_at) or 0
    return last < since and (_last_moment(connection, run.run_id) or last) < since


def _last_moment(connection: sqlite3.Connection, run_id: str) -> int | None:
    """Return the last valid time of a run's records."""
    values = {"run_id": run_id, "workflow_id": workflow_id_of(run_id)}
    with closing(connection.execute(_LAST_FIRST, values)) as cells:
        found = (stored_ns(cell) for (cell,) in cells)
        return next((moment for moment in found if moment is not None), None)


class _Interruption(DeliveryConnection):
    """Writes the end of runs; those inside others come before them."""

    def __init__(self, path: Path, sleep: Callable[[float], None]) -> None:
        super().__init__(path, sleep)
        # Of the runs that were ended here, the last end inside each other one, by workflow id.
        self._inside: dict[str | None, int] = {}

    def of(self, runs: Sequence[_OpenRun], stop: threading.Event | None) -> int:
        return self._in_pieces(runs, self._interrupt, stop)

    def _interrupt(self, runs: Sequence[_OpenRun]) -> int:
        # Before the file is locked: a run may have any number of records.
        ends = [self._end(run) for run in runs]
        with self.together():
            return self._many(INTERRUPT_RUN.sql, ends)

    def _end(self, run: _OpenRun) -> tuple[object, ...]:
        """Return the end of a run as `INTERRUPT_RUN` takes it.

        The run and its records may be rows that somebody else wrote, with anything for a time.
        """
        with self._errors():
            connection = self._connection
            last = leniently(connection, lambda: _last_moment(connection, run.run_id))
        started = stored_ns(run.started_at)
        inside = self._inside.get(workflow_id_of(run.run_id))
        if inside is not None:
            last = max(last or 0, inside)
        self._note(run.parent_workflow_id, last if last is not None else started)
        if last is None:
            return (run.started_at, 0.0, _ERROR, run.run_id)
        if started is None:
            return (utc_text(last), None, _ERROR, run.run_id)
        ended = max(started, last)  # the wall clock may have been put back
        return (utc_text(ended), (ended - started) / 1e9, _ERROR, run.run_id)

    def _note(self, outer: str | None, moment: int | None) -> None:
        if moment is not None:
            self._inside[outer] = max(self._inside.get(outer, 0), moment)
