"""Makes a sound file of what can be read of a damaged one, and keeps the damaged one beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import FileLocked, FileMissing, NotADatabase
from waxlocal.ids import trace_id_of
from waxlocal.maintenance.salvage import Place, RowReader
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import (
    exclusive,
    open_writer,
    reader,
    storage_error,
    without_log,
)
from waxlocal.storage.log_file import log_path, log_size
from waxlocal.storage.paths import beside, file_size, real_path
from waxlocal.storage.record_sql import ELSEWHERE_AGENT, ELSEWHERE_METADATA

__all__ = ["Recovered", "recover"]

# In this order, for triggers keep the totals of sessions as runs and calls come.
_RECORDED = ("processes", "contents", "model_prices", "runs", *(one.name for one in RECORD_TABLES))
# What says how far the upload is: after the records, which would all be new to it.
_OF_DELIVERY = ("outside_events", "targets", "deliveries", "requests", "received")
_OTHERS = ("side_files", "side_moves", "dropped_contents", "changed_contents")
# Filled by triggers, and copied as they are.
_ANEW = ("outside_events", "dropped_contents", "changed_contents")
_BY_RUN = {*(one.name for one in RECORD_TABLES), "deliveries", "requests"}
_ALL_RECORDS = " UNION ALL ".join(
    f"SELECT run_id, {one.moment} AS recorded_at FROM {one.name}"  # noqa: S608
    for one in RECORD_TABLES
)
_COLUMNS = "SELECT name, pk FROM pragma_table_info(?) ORDER BY cid"
_WITHOUT_RUN = f"""
SELECT run_id, min(recorded_at) FROM ({_ALL_RECORDS})
WHERE run_id <> '' AND run_id NOT IN (SELECT run_id FROM runs) GROUP BY run_id
"""  # noqa: S608
_BEGIN = """
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status, started_at,
  metadata) VALUES (?, ?, 'default', ?, 'autonomous', 'interrupted', ?, ?)
"""
_STOP = "stop the programs that have it open, also waxlocal's server and daemon: fuser FILE"
_MAGIC = b"SQLite format 3\0"


class Recovered(NamedTuple):
    """What a recovery came to.

    `rows`: how many of each kind the new file has; `unread`: at how many places something could not
    be read; `kept`: the damaged file, None where the file was sound and nothing was done. `log`:
    only the log was damaged, or another file's: the file is as it was without it.
    """

    rows: dict[str, int]
    unread: int
    kept: Path | None
    log: bool = False


def recover(path: Path, *, clock: Clock = SYSTEM_CLOCK) -> Recovered:
    """Put a file that can be read in the place of a damaged one, which stays beside it.

    Needs room for two copies of the file. Nobody may have the file open. Raises `FileLocked` if
    somebody has, `NotADatabase` where its beginning is lost, and `StorageError`.
    """
    if not file_size(path) and log_size(path):  # SQLite deletes the log of an empty file
        return Recovered({}, 1, _copied(path, clock))
    if _is_sound(path):
        return Recovered({}, 0, None)
    _need_beginning(path)
    kept = _copied(path, clock)
    if log_path(kept).exists() and _is_sound_without_log(kept):
        with _nobody_else(path, kept):
            shutil.copyfile(kept, new := beside(path, ".recovering"))
            _replace(new, path)
        return Recovered({}, 0, kept, log=True)
    with _nobody_else(path, kept) as damaged:
        new = beside(path, ".recovering")
        try:
            rows, unread = _saved(damaged, new)
            _replace(new, path)
        finally:
            new.unlink(missing_ok=True)
    return Recovered(rows, unread, kept)


def _is_sound(path: Path) -> bool:
    try:
        with reader(path) as connection:
            return _passes(connection)
    except FileMissing:  # empty: whoever records next begins it
        return True
    except NotADatabase:
        return False


def _passes(connection: sqlite3.Connection) -> bool:
    with suppress(sqlite3.DatabaseError):
        return [tuple(row) for row in connection.execute("PRAGMA quick_check(1)")] == [("ok",)]
    return False


def _is_sound_without_log(path: Path) -> bool:
    """Return whether a file is sound as far as its last checkpoint; its log is not looked at."""
    with without_log(path) as connection:
        return _passes(connection)


def _need_beginning(path: Path) -> None:
    """Raise `NotADatabase` where the file does not begin as SQLite's do: then nothing is read."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return
    hint = "keep it elsewhere, and recording begins anew: mv FILE FILE.damaged"
    raise NotADatabase(f"{path} has lost its beginning; nothing can be read of it", hint=hint)


def _copied(path: Path, clock: Clock) -> Path:
    """Copy a file and its log as they are; return where the copy is."""
    moment = datetime.fromtimestamp(clock.time_ns() / 1e9).astimezone()
    kept = beside(path, f".damaged-{moment:%Y%m%d-%H%M%S}")
    try:
        _copy(real_path(path), kept)
        if file_size(log_path(path)):
            _copy(log_path(path), log_path(kept))
    except OSError as error:  # no room for it
        for made in (kept, log_path(kept)):
            made.unlink(missing_ok=True)
        raise storage_error(error, path) from error
    return kept


def _copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target)
    with target.open("rb+") as copied:
        os.fsync(copied.fileno())


@contextmanager
def _nobody_else(path: Path, kept: Path) -> Iterator[sqlite3.Connection]:
    """Keep all others out of a damaged file, so that another may take its place; give it open.

    Where the damage is such that nobody can open it, nobody has to be kept out, and its copy is
    given without its log.
    """
    with ExitStack() as stack:
        try:
            held = stack.enter_context(exclusive(path))
        except NotADatabase:
            held = stack.enter_context(without_log(kept))
        except FileLocked as error:
            raise FileLocked(str(error), hint=_STOP) from error
        yield held


def _replace(new: Path, path: Path) -> None:
    """Put a file in the place of a damaged one, and its log and index away."""
    for ending in ("-wal", "-shm"):
        beside(path, ending).unlink(missing_ok=True)
    new.replace(real_path(path))


# -- the rows --------------------------------------------------------------------------------------


def _saved(damaged: sqlite3.Connection, new: Path) -> tuple[dict[str, int], int]:
    """Save what can be read of a file in a new one; return the number of rows, and of failures."""
    damaged.text_factory = lambda raw: raw.decode("utf-8", "replace")
    read = RowReader(damaged)
    rows: dict[str, int] = {}
    run_ids: list[str] = []
    with closing(open_writer(new)) as target:
        for table in (*_RECORDED, *_OF_DELIVERY, *_OTHERS):
            place = _place(damaged, target, table)
            if place is None:
                read.unread += 1
            else:
                rows[table] = _take(read, target, place, run_ids if table in _BY_RUN else ())
            if table == "runs":
                run_ids = sorted(one for (one,) in target.execute("SELECT run_id FROM runs"))
        _begin_lost(target)
    return rows, read.unread


def _begin_lost(target: sqlite3.Connection) -> None:
    """Give records whose run could not be read a run, as those have that began elsewhere."""
    for run_id, began in target.execute(_WITHOUT_RUN).fetchall():
        values = (run_id, ELSEWHERE_AGENT, trace_id_of(run_id), began, ELSEWHERE_METADATA)
        target.execute(_BEGIN, values)


def _place(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> Place | None:
    """Return where a table is read: the columns that both files have, and its key."""
    there = dict(target.execute(_COLUMNS, (table,)).fetchall())
    try:
        here = dict(source.execute(_COLUMNS, (table,)).fetchall())
    except sqlite3.DatabaseError:  # the pages that say where the tables are
        return None
    columns = [name for name in here if name in there]
    key = sorted((name for name in columns if here[name]), key=here.__getitem__)
    return Place(table, columns, key) if columns and key else None


def _take(read: RowReader, target: sqlite3.Connection, place: Place, bounds: Sequence[str]) -> int:
    """Copy the rows of a table that can be read; return how many the new file has."""
    names, marks = ", ".join(place.columns), ", ".join("?" * len(place.columns))
    insert = f"INSERT OR IGNORE INTO {place.table} ({names}) VALUES ({marks})"  # noqa: S608
    if place.table in _ANEW:
        target.execute(f"DELETE FROM {place.table}")  # noqa: S608
    for page in read.rows(place, bounds):
        target.execute("BEGIN IMMEDIATE")
        for row in page:
            with suppress(sqlite3.Error, ValueError):  # a value that damage has made
                target.execute(insert, row)
        target.execute("COMMIT")
    (count,) = target.execute(f"SELECT count(*) FROM {place.table}").fetchone()  # noqa: S608
    return int(count)
