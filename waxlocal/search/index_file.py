"""The search index: a file beside the main one, which anybody may delete.

In a file of its own, so that no recorder waits while it is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import FileDamaged, FileMissing, ForeignDatabase, NotADatabase, StorageError
from waxlocal.storage.connection import opened_beside
from waxlocal.storage.paths import beside
from waxlocal.storage.shipped import shipped_text
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import begin, commit, roll_back

__all__ = ["NOTHING", "State", "index_path", "index_reader", "index_writer", "state_of"]

ENDING = ".search"
# Of the schema, and of what counts as a word: an index of another version is made anew.
VERSION = 1
# In the header of the file, https://sqlite.org/fileformat.html#application_id: "waxs".
APPLICATION_ID = 0x77617873
_ID_AT = slice(68, 72)
# Before the first run.
NOTHING = -(1 << 63) + 1

_STATE = "SELECT stamp, up_to FROM state WHERE version = ?"
_BEGIN = "INSERT INTO state (id, version, stamp, up_to, stale) VALUES (1, ?, '', ?, 0)"


class State(NamedTuple):
    """Which index it is, and the id of the last run in it; see the table `state`."""

    stamp: str
    up_to: int


def index_path(path: Path) -> Path:
    """Return the path of the index of a file; it need not exist."""
    return beside(path, ENDING)


@contextmanager
def index_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the index of a file for reading; raises `StorageError`, also where there is none."""
    index = index_path(path)
    if not index.exists():
        raise FileMissing(f"{index} does not exist", hint="waxlocal search makes it")
    with opened_beside(index, path, writing=False) as connection:
        yield connection


@contextmanager
def index_writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the index of a file for writing; one that is damaged, or of another version, is emptied.

    Raises `StorageError`, also where this SQLite has no FTS5.
    """
    index = index_path(path)
    try:
        if not _is_sound(index, path):
            _remove(index)
    except OSError as error:
        raise storage_error(error, index) from error
    with opened_beside(index, path, writing=True) as connection:
        _prepare(connection)
        yield connection


def state_of(index: sqlite3.Connection) -> State | None:
    """Return what the index has; None if it is not one of this version."""
    with suppress(sqlite3.OperationalError):  # no such table
        row = index.execute(_STATE, (VERSION,)).fetchone()
        return State(*row) if row else None
    return None


def _remove(index: Path) -> None:
    """Remove what was an index; raises `ForeignDatabase` for anything else."""
    if not _is_ours(index):
        raise ForeignDatabase(
            f"{index} is no search index of waxlocal", hint="give it another name, or remove it"
        )
    for ending in ("-wal", "-shm", ""):
        beside(index, ending).unlink(missing_ok=True)


def _is_ours(index: Path) -> bool:
    # Not by SQLite, which reads the schema first. It drops SQLite's locks: nobody can use them.
    with index.open("rb") as file:
        return file.read(_ID_AT.stop)[_ID_AT] == APPLICATION_ID.to_bytes(4, "big")


def _is_sound(index: Path, like: Path) -> bool:
    if not index.exists():
        return True
    try:
        with opened_beside(index, like, writing=False) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            return not pages or state_of(connection) is not None
    except (FileDamaged, NotADatabase):
        return False


def _prepare(connection: sqlite3.Connection) -> None:
    if state_of(connection) is not None:
        return
    try:
        begin(connection)
        if state_of(connection) is None:
            for statement in _statements(shipped_text("search/index.sql")):
                connection.execute(statement)
            connection.execute(_BEGIN, (VERSION, NOTHING))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        commit(connection)
    except sqlite3.OperationalError as error:
        if "no such module" in str(error):
            raise StorageError(
                "this Python's SQLite has no full-text search (FTS5)",
                hint="use a Python whose SQLite has it, as those of python.org and of uv",
            ) from error
        raise
    finally:
        roll_back(connection)


def _statements(script: str) -> Iterator[str]:
    # Not `executescript`, which would commit.
    statement = ""
    for line in script.splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
