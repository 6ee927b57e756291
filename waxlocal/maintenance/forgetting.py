"""Deletes runs with all that belongs to them, so that no byte of it is left in the file.

In pieces of some milliseconds, for which recorders wait. First the names are barred
(`storage.forgotten`); each run is barred in the transaction that deletes it. So a kill at any point
leaves a sound file, in which the same call goes on. Last come the bytes: contents that no call has
any more, the search index, free pages, the log.

What a trigger of the schema removes with a run is not repeated here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.delivery.requests import key_of_run
from waxlocal.errors import ForeignDatabase
from waxlocal.maintenance.chosen_runs import (
    Choice,
    ChosenRun,
    chosen_runs,
    is_still_open,
    tombstones,
)
from waxlocal.maintenance.contents import remove_unused
from waxlocal.maintenance.outside_events import delete_outside_events, outside_events_of
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.records import RECORD_TABLES
from waxlocal.search.index_file import index_path, remove_index
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import autocommit, checkpointer, reader
from waxlocal.storage.forgotten import Forgotten
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import file_id, file_size
from waxlocal.storage.record_sql import workflow_of
from waxlocal.storage.retry import is_busy
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["SMALL_BYTES", "Forgetting", "forget"]

# How long a piece may take, about.
PIECE_NS = 10_000_000
# Rows of a run that one statement deletes.
ROWS_AT_ONCE = 50
# A file of up to this size is written anew within some 0.1 s. Recorders wait meanwhile.
SMALL_BYTES = 16 * 1024 * 1024
# How long to try to cut the log, and to remove the index: whoever reads an older state, or makes
# the index, ends within this, or stays.
TRIES, REST_S = 100, 0.05

_IS_HERE = "SELECT status, process_id FROM runs WHERE id = :id AND run_id = :run_id"
_DELETE_SOME = {
    table: f"""
DELETE FROM {table.name} WHERE run_id = :run_id AND position IN (
  SELECT position FROM {table.name} WHERE run_id = :run_id LIMIT {ROWS_AT_ONCE})
"""  # noqa: S608
    for table in RECORD_TABLES
}
_BELOW = f"""
SELECT id, run_id, session_id FROM runs
WHERE parent_workflow_id = {workflow_of(":run_id")} AND run_id <> :run_id
"""  # noqa: S608
_HAS_RUNS = "SELECT 1 FROM sessions WHERE session_id = :session_id"
_DELETE_RUN = "DELETE FROM runs WHERE id = :id AND run_id = :run_id"
# Until the last piece of a long run has gone, no upload may take what is left of it for a run.
_HIDE = (
    "DELETE FROM requests WHERE run_id = :run_id",
    """
INSERT INTO deliveries (run_id, target_id, state)
SELECT :run_id, target_id, 'delivered' FROM targets
WHERE true ON CONFLICT (run_id, target_id) DO UPDATE SET state = 'delivered', receipts = NULL
""",
)
_OF_RUN = (
    "DELETE FROM received WHERE idempotency_key >= :key || ':' AND idempotency_key < :key || ';'",
    "DELETE FROM side_moves WHERE run_id = :run_id",
    # Not true any more, and made anew when the totals are next added up.
    "DELETE FROM block_durations WHERE block = :id >> 12",
    "DELETE FROM model_sums WHERE block = :id >> 12 AND calls = 0",
    "DELETE FROM hour_sums WHERE block = :id >> 12 AND calls = 0",
)
# The totals of a session that has changed are not asked for: it is in changed_sessions.
_OF_SESSION = (
    "DELETE FROM session_sums WHERE session_id = :session_id",
    "DELETE FROM session_facts WHERE session_id = :session_id",
    "DELETE FROM user_sums WHERE session_id = :session_id",
    """
DELETE FROM changed_sessions WHERE session_id = :session_id
  AND NOT EXISTS (SELECT 1 FROM sessions WHERE session_id = :session_id)
""",
    # As the triggers write them, in the order of arrival.
    """
UPDATE sessions SET agents = (SELECT json_group_array(agent_name) FROM (
  SELECT agent_name FROM runs WHERE session_id = :session_id GROUP BY agent_name ORDER BY min(id)))
WHERE session_id = :session_id AND length(agents) <= 4000
""",
)
# Ids of sessions and runs that only say how far somebody has come.
_MARKS = (
    "UPDATE summary SET look_from = '', call_run = NULL, call_position = NULL",
    """
UPDATE counted_sessions SET up_to =
  coalesce((SELECT max(session_id) FROM sessions WHERE session_id <= up_to), '')
""",
    "UPDATE search_index SET stamp = ''",
)


@dataclass
class Forgetting:
    """What was deleted, and what was not.

    `open_runs` stay, for their programs still record into them. `log_is_empty`: the log was cut;
    if not, somebody reads an older state. `compacted`: the file was written anew, so that nothing
    of earlier states of deleted rows is in free space either.
    """

    runs: int = 0
    open_runs: int = 0
    outside_events: int = 0
    log_is_empty: bool = False
    compacted: bool = False


def forget(
    path: Path,
    choice: Choice,
    *,
    compact: bool = False,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> Forgetting:
    """Delete the runs of a choice, and bar them from coming back; return what was done.

    What waits beside the file is taken in first. `compact` writes a file anew that is not small:
    recorders wait for that. Safe while others record, and when it is killed: the next call goes
    on. Raises `StorageError`.
    """
    take_in_all(path)
    before = utc_text(clock.time_ns())
    with autocommit(path, secure=True) as connection, closing(checkpointer(path)) as log:
        with _piece(connection) as forgotten:
            token = forgotten.begin(list(tombstones(connection, choice)), before)
        with reader(path) as reading:
            chosen = chosen_runs(reading, choice)
            outside = outside_events_of(reading, {run.run_id for run in chosen if not run.is_open})
        # These first: once their run is gone, nobody knows whose they were.
        for start in range(0, len(outside), ROWS_AT_ONCE):
            with _piece(connection):
                delete_outside_events(connection, outside[start : start + ROWS_AT_ONCE])
        done = _Deleting(connection, log, clock).delete(chosen)
        done.outside_events = len(outside)
    remove_unused(path, secure=True)
    _clear(path, done, token, compact=compact, sleep=sleep)
    return done


@contextmanager
def _piece(connection: sqlite3.Connection) -> Iterator[Forgotten]:
    """Commit what the block does, or undo it if it raises; gives the tombstones."""
    try:
        begin(connection)
        yield Forgotten(connection)
        commit(connection)
    finally:
        roll_back(connection)


class _Deleting:
    """Deletes runs on a connection, some in each transaction."""

    def __init__(self, connection: sqlite3.Connection, log: Checkpointer, clock: Clock) -> None:
        self._connection = connection
        self._log = log
        self._clock = clock
        self._done = Forgetting()
        self._left_open: set[str] = set()

    def delete(self, runs: Sequence[ChosenRun]) -> Forgetting:
        """Delete these runs but those that are still open."""
        left = [run for run in reversed(runs) if not run.is_open]
        self._left_open = {run.run_id for run in runs if run.is_open}
        while left:
            with _piece(self._connection) as forgotten:
                self._delete_some(left, forgotten)
            self._log.look()
        self._done.open_runs = len(self._left_open)
        return self._done

    def _delete_some(self, left: list[ChosenRun], forgotten: Forgotten) -> None:
        """Delete the last of the runs in a list, and take them out of it, for so long."""
        until_ns = self._clock.monotonic_ns() + PIECE_NS
        gone = GoneProcesses(self._connection)
        sessions: set[str] = set()
        while left:
            run = left[-1]
            here = self._connection.execute(_IS_HERE, run._asdict()).fetchone()
            below: list[ChosenRun] = []
            if here is not None and is_still_open(gone, *here):
                self._left_open.add(run.run_id)
            elif here is not None:
                below = self._below(run)
                if not self._delete_one(run, forgotten, until_ns):
                    break
            left[-1:] = below
            sessions |= {run.session_id} if run.session_id is not None else set()
            if self._clock.monotonic_ns() >= until_ns:
                break
        for session_id in sessions:
            named: dict[str, object] = {"session_id": session_id}
            _execute(self._connection, _OF_SESSION, named)
            if self._connection.execute(_HAS_RUNS, named).fetchone():
                forgotten.note_part(session_id, utc_text(self._clock.time_ns()))

    def _below(self, run: ChosenRun) -> list[ChosenRun]:
        """Return the runs below one that have arrived since the runs were chosen.

        From the transaction on that deletes it, no more can arrive from elsewhere.
        """
        rows = self._connection.execute(_BELOW, run._asdict()).fetchall()
        return [
            ChosenRun(id_, run_id, session_id, is_open=False)
            for id_, run_id, session_id in rows
            if run_id not in self._left_open
        ]

    def _delete_one(self, run: ChosenRun, forgotten: Forgotten, until_ns: int) -> bool:
        """Delete a run; return False if only a part of its records was deleted by the time."""
        named = {**run._asdict(), "key": key_of_run(run.run_id)}
        for statement in _DELETE_SOME.values():
            while self._connection.execute(statement, named).rowcount == ROWS_AT_ONCE:
                if self._clock.monotonic_ns() >= until_ns:
                    _execute(self._connection, _HIDE, named)
                    return False
        _execute(self._connection, (_DELETE_RUN, *_OF_RUN), named)
        forgotten.add_run(run.run_id, utc_text(self._clock.time_ns()))
        self._done.runs += 1
        return True


def _execute(
    connection: sqlite3.Connection, statements: Iterable[str], named: dict[str, object]
) -> None:
    for statement in statements:
        connection.execute(statement, named)


# -- bytes -----------------------------------------------------------------------------------------


def _clear(
    path: Path, done: Forgetting, token: int, *, compact: bool, sleep: Callable[[float], None]
) -> None:
    """Remove the bytes of what was deleted from all files; note it where all of them are gone."""
    with autocommit(path, secure=True) as connection, closing(checkpointer(path)) as log:
        with _piece(connection):
            _execute(connection, _MARKS, {})
        _remove_index(path, sleep)
        if compact or file_size(path) + log_size(path) <= SMALL_BYTES:
            connection.execute("VACUUM")
            done.compacted = True
        done.log_is_empty = _emptied(log, sleep)
        if done.log_is_empty:
            with _piece(connection) as forgotten:
                forgotten.finish(token)


def _remove_index(path: Path, sleep: Callable[[float], None]) -> None:
    """Remove the search index; waits while it is being made, for then nobody sees what it is.

    A file of another program by that name is left alone: it has nothing of ours.
    """
    index = index_path(path)
    for left in reversed(range(TRIES)):
        if file_id(index) is None:
            return
        try:
            remove_index(path)
            return
        except ForeignDatabase:
            if file_size(index) and not log_size(index):
                return
            if not left:
                raise
        sleep(REST_S)


def _emptied(log: Checkpointer, sleep: Callable[[float], None]) -> bool:
    for _ in range(TRIES):
        if _is_empty(log):
            return True
        sleep(REST_S)
    return False


def _is_empty(log: Checkpointer) -> bool:
    try:
        return log.empty()
    except sqlite3.Error as error:
        if not is_busy(error):
            raise
        return False  # another program is copying the log
