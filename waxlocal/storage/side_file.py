"""The side file: takes the records while the main file is damaged or needs a later waxlocal.

A later version may upgrade the main file to a schema that this one must not write. Then this
version records into a file beside it, `waxlocal.db.side-3`. It has this version's schema, so it can
be read like any other, and a log of its changes. A version that may write to the main file follows
that log (`maintenance.side_files`). Where something else has that name, the side file has another
one: `waxlocal.db.side-3.1`, up to `.3`.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from waxlocal.encode import dumps
from waxlocal.errors import (
    FileLocked,
    FileReadOnly,
    FileUnusable,
    ForeignDatabase,
    NewerSchema,
    StorageError,
)
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage.connection import exclusive, open_writer
from waxlocal.storage.paths import beside, file_id, make_private, real_path
from waxlocal.storage.record_sql import Update
from waxlocal.storage.retry import is_busy
from waxlocal.storage.schema import VERSION, file_version
from waxlocal.storage.shipped import shipped_text
from waxlocal.storage.storage_errors import storage_error

__all__ = ["SEALED", "all_side_files", "open_side_file", "remove", "side_files", "side_path"]

SUFFIX = ".side-"
# The first version that records beside a file.
FIRST = 3
# What a side file names as its `min_writer` when it has been taken in and is about to be removed.
SEALED = (1 << 31) - 1
# A side file that is removed just when a recorder opens it: the next one is a new file.
TRIES = 5
# How many names a side file may have. Few, for each is looked for whenever the file is opened.
NAMES = 4

_NOTE_CHANGES = """
INSERT INTO side_changes (table_name, run_id, position, added, changes) VALUES (?, ?, ?, 0, ?)
"""
_LAST = "SELECT coalesce(max(seq), 0) FROM side_changes"
_HAS_LOG = "SELECT EXISTS (SELECT 1 FROM side_file), EXISTS (SELECT 1 FROM side_changes)"
_SEAL = "UPDATE schema_version SET min_writer = ?, min_reader = ?"


def _connection_type(updates: Mapping[str, Update]) -> type[sqlite3.Connection]:
    """Return a type of connection that notes new values of rows that only the main file has."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
            super().execute(sql, parameters)
            if self.rowcount == 0 and (update := updates.get(sql)) is not None:
                values = update.values(parameters)
                key = (update.table, values.pop("run_id"), values.pop("position", None))
                super().execute(_NOTE_CHANGES, (*key, dumps(values)))
            return self

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
            cursor: Cursor = self.cursor()  # not every Python's own `execute` asks the line above
            return cursor.execute(sql, parameters)

    return Connection


def side_path(path: Path, version: int = VERSION) -> Path:
    """Return the path of the side file of that schema version, where nothing else has its name."""
    return beside(path, f"{SUFFIX}{version}")


def _side_paths(path: Path, version: int = VERSION) -> list[Path]:
    """Return every path that a side file of that schema version may have, in order of choice."""
    first = side_path(path, version)
    return [first, *(Path(f"{first}.{number}") for number in range(1, NAMES))]


def side_files(path: Path) -> list[tuple[int, Path]]:
    """Return the side files that this version can read, with their versions, oldest first."""
    return [
        (version, side)
        for version in range(FIRST, VERSION + 1)
        for side in _side_paths(path, version)
        if file_id(side) is not None  # `exists` raises for a name that is too long
    ]


def all_side_files(path: Path) -> list[tuple[int, Path]]:
    """Return all side files, also of later versions; lists the directory."""
    real = real_path(path)
    name = re.compile(re.escape(real.name + SUFFIX) + r"(\d{1,9})(\.\d)?")
    with Suppress(OSError):
        found = [(name.fullmatch(side.name), side) for side in real.parent.iterdir()]
        return sorted((int(match[1]), side) for match, side in found if match)
    return []


def open_side_file(
    path: Path,
    updates: Mapping[str, Update],
    *,
    durability: str = "normal",
    open_: Callable[..., sqlite3.Connection] = open_writer,
) -> tuple[sqlite3.Connection, Path]:
    """Open the side file of this version for writing, creating it as needed; also return its path.

    Otherwise like `open_writer`. The file is not removed while the connection is open. What is not
    a side file, or may not be written, is left alone: the next name is tried. `updates` maps the
    SQL of each `UPDATE` that will be executed to its meaning: if only the main file has the row,
    the change is noted instead. Raises `StorageError` and `OSError`.
    """
    factory = _connection_type(updates)
    refused: StorageError | None = None
    for side in _side_paths(path):
        try:
            return _open(path, side, factory, durability, open_), side
        except (FileUnusable, FileReadOnly) as error:  # noqa: PERF203
            refused = refused or error
    raise refused or FileLocked(f"{path} has no side file")


def _open(
    path: Path,
    side: Path,
    factory: type[sqlite3.Connection],
    durability: str,
    open_: Callable[..., sqlite3.Connection],
) -> sqlite3.Connection:
    for _ in range(TRIES):
        make_private(side, like=path)
        before = file_id(side)
        try:
            opened = open_(side, durability=durability, factory=factory, more_schema=_schema_text())
        except StorageError as error:
            # Removed a moment ago, or about to be.
            if file_id(side) and not (isinstance(error, NewerSchema) and remove(side)):
                raise
            continue
        # From here on SQLite holds a lock that keeps `exclusive` out; but the file may have been
        # removed between its opening and that lock.
        if before is not None and file_id(side) == before:
            return _with_log(opened, side)
        opened.close()
    raise FileLocked(f"{side} is being taken in by another process")


def _with_log(opened: sqlite3.Connection, side: Path) -> sqlite3.Connection:
    """Return the connection if its file has what is followed when it is taken in; else close it."""
    try:
        ((has_id, _),) = opened.execute(_HAS_LOG).fetchall()
    except sqlite3.Error as error:
        opened.close()
        if is_busy(error) or raised_by_handler(error):
            raise storage_error(error, side) from error
        has_id = False
    if not has_id:
        opened.close()
        raise ForeignDatabase(f"{side}: not a side file of waxlocal")
    return opened


def _schema_text() -> str:
    return shipped_text("storage/side_file.sql")


def remove(side: Path, taken: int | None = None) -> bool:
    """Remove a side file that was taken in up to the change `taken`; return whether it is gone.

    It stays if it has more changes, or while another connection has it open. Without `taken`, it is
    removed only if it was sealed before. Raises `StorageError` and `OSError`.
    """
    if file_id(side) is None:
        return True
    with exclusive(side) as connection:
        sealed = file_version(connection).min_writer == SEALED
        if not sealed and (taken is None or _last(connection) > taken):
            return False
        # A recorder may have opened the file already, and wait for our lock: when it gets it, the
        # file is one that nobody will look into. It finds the seal before it writes anything.
        connection.execute(_SEAL, (SEALED, SEALED))
        if sys.platform != "win32":
            _unlink(side)
    if sys.platform == "win32":  # an open file cannot be removed there, whoever has it open
        _unlink(side)
    return True


def _unlink(side: Path) -> None:
    # Read-only connections leave this one behind, and in exclusive locking mode SQLite uses none.
    beside(side, "-shm").unlink(missing_ok=True)
    real_path(side).unlink(missing_ok=True)


def _last(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute(_LAST).fetchone()
    return int(last)
