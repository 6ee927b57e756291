"""The search index: a file beside the main one, which anybody may delete.

In a file of its own, so that no recorder waits while it is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from waxlocal.errors import FileDamaged, FileMissing, FileUnusable, ForeignDatabase, StorageError
from waxlocal.storage.connection import opened_beside
from waxlocal.storage.paths import beside
from waxlocal.storage.schema import statements
from waxlocal.storage.shipped import shipped_text
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import roll_back

__all__ = [
    "NOTHING",
    "Index",
    "IndexDamaged",
    "State",
    "index_path",
    "index_reader",
    "index_writer",
    "remove_index",
]

ENDING = ".search"
# Of the schema, and of what counts as a word: an index of another version is made anew.
VERSION = 1
# In the header of the file, https://sqlite.org/fileformat.html#application_id: "waxs".
APPLICATION_ID = 0x77617873
_ID_AT = slice(68, 72)
# Before the first run.
NOTHING = -(1 << 63) + 1

_WHAT = """
SELECT (SELECT count(*) FROM sqlite_schema), application_id FROM pragma_application_id
"""
_STATE = "SELECT stamp, before, noted, up_to FROM state WHERE version = ?"
_BEGIN = """
INSERT INTO state (id, version, stamp, before, noted, up_to, stale)
VALUES (1, ?, '', '', 0, ?, 0)
"""
_NO_FTS5 = "no such module"
# What FTS5 says where its own tables are damaged.
_DAMAGED = ("vtable constructor failed", "malformed", "corrupt")

Given = Sequence[object] | Mapping[str, object]


class IndexDamaged(FileDamaged):
    """The index is damaged, or of another version: it has to be made anew."""

    default_hint = "waxlocal search makes it anew"


class State(NamedTuple):
    """Which index it is, and the id of the last run in it; see the table `state`."""

    stamp: str
    before: str
    noted: int
    up_to: int

    def belongs_to(self, stamp: str, up_to: int, last_change: int | None) -> bool:
        """Return whether it is the index of a file with this in `search_index`, `search_changes`.

        Not if the one or the other was put back. Where somebody was killed before the file had
        heard of the last stamp, it still notes what the index has taken over.
        """
        knows = stamp == self.stamp or (stamp == self.before and (last_change or 0) >= self.noted)
        return bool(stamp) and knows and self.up_to <= up_to


class Index:
    """An open index; for one thread at a time. Its errors name its file, whatever it is read for.

    Raises `IndexDamaged` and `StorageError`.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def ask(self, sql: str, given: Given = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.do(sql, given).fetchall()

    def do(self, sql: str, given: Given = ()) -> sqlite3.Cursor:
        """Execute a statement."""
        try:
            return self._connection.execute(sql, given)
        except sqlite3.Error as error:
            raise _index_error(error, self.path) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, or undo it; raises `FileLocked` while others write."""
        self.do("BEGIN IMMEDIATE")
        try:
            yield
            self.do("COMMIT")
        finally:
            roll_back(self._connection)

    def state(self) -> State:
        """Return what the index has."""
        rows = self.ask(_STATE, (VERSION,))
        if not rows:
            raise IndexDamaged(f"{self.path} is of another version")
        return State(*rows[0])


def index_path(path: Path) -> Path:
    """Return the path of the index of a file; it need not exist."""
    return beside(path, ENDING)


@contextmanager
def index_reader(path: Path) -> Iterator[Index]:
    """Open the index of a file for reading, in one state of it.

    Raises `FileMissing` where there is none yet, `IndexDamaged` and `StorageError`.
    """
    index = index_path(path)
    with _opened(index, path, writing=False) as connection:
        found = Index(connection, index)
        found.do("BEGIN")
        if _is_empty(found):
            raise FileMissing(f"{index} is being made")
        yield found


@contextmanager
def index_writer(path: Path) -> Iterator[Index]:
    """Open the index of a file for writing; it is made as needed.

    Raises `ForeignDatabase` where something else has its name, `IndexDamaged`, and `StorageError`,
    also where this SQLite has no FTS5.
    """
    index = index_path(path)
    with _opened(index, path, writing=True) as connection:
        found = Index(connection, index)
        with found.transaction():
            if _is_empty(found):
                _make(found)
        found.state()
        yield found


def remove_index(path: Path) -> None:
    """Remove the index of a file; raises `ForeignDatabase` for what is none, and `StorageError`."""
    index = index_path(path)
    try:
        if not _is_ours(index):
            raise _foreign(index)
        for ending in ("-wal", "-shm", ""):
            beside(index, ending).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, index) from error


@contextmanager
def _opened(index: Path, like: Path, *, writing: bool) -> Iterator[sqlite3.Connection]:
    if index.is_symlink():  # to somebody else's file
        raise _foreign(index)
    with ExitStack() as open_:
        try:
            connection = open_.enter_context(opened_beside(index, like, writing=writing))
        except FileDamaged as error:
            raise IndexDamaged(str(error)) from error
        except FileUnusable as error:
            raise _damaged(index) if _is_ours(index) else _foreign(index) from error
        yield connection


def _is_empty(index: Index) -> bool:
    """Return whether it is still to be made, or was when its maker was killed."""
    ((tables, number),) = index.ask(_WHAT)
    if tables and number != APPLICATION_ID:
        raise _foreign(index.path)
    return not tables


def _is_ours(index: Path) -> bool:
    if not index.is_file():  # nobody may be writing into a pipe
        return False
    # Not by SQLite, which reads the schema first. It drops SQLite's locks: of a damaged index.
    with index.open("rb") as file:
        return file.read(_ID_AT.stop)[_ID_AT] == APPLICATION_ID.to_bytes(4, "big")


def _damaged(index: Path) -> StorageError:
    return IndexDamaged(f"{index} is damaged")


def _foreign(index: Path) -> StorageError:
    error = ForeignDatabase(
        f"{index} is no search index of waxlocal",
        hint=f"give {index.name} another name, or remove it",
    )
    error.name_file(str(index))
    return error


def _index_error(error: sqlite3.Error, index: Path) -> StorageError:
    said = str(error)
    if _NO_FTS5 in said:
        return StorageError(
            "this Python's SQLite has no full-text search (FTS5)",
            hint="use a Python whose SQLite has it, as those of python.org and of uv",
        )
    if any(words in said for words in _DAMAGED):
        return IndexDamaged(f"{index}: {said}")
    return storage_error(error, index)


def _make(index: Index) -> None:
    for statement in statements(shipped_text("search/index.sql")):
        index.do(statement)
    index.do(_BEGIN, (VERSION, NOTHING))
    index.do(f"PRAGMA application_id = {APPLICATION_ID}")
