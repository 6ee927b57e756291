"""Creates and upgrades files by `schema.sql`, and checks which version may use which file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import ForeignDatabase, NewerSchema
from waxlocal.storage.shipped import shipped_text
from waxlocal.storage.transaction import commits_of_others

__all__ = [
    "APPLICATION_ID",
    "FENCE",
    "VERSION",
    "Admission",
    "FileVersion",
    "Step",
    "check",
    "file_version",
    "has_table",
    "is_fence",
    "migration",
    "prepare",
    "schema_text",
    "statements",
]

APPLICATION_ID = 0x5741584C  # 'WAXL', see https://sqlite.org/pragma.html#pragma_application_id
# `schema.sql` always holds the newest schema whole; `migrations/mN.py`, if there is one, and then
# `migrations/N.sql` take a file of the version before to version N. How to add one:
# docs/architecture.md.
VERSION = 3

# What a trigger of a later version says to a program that has the file open, and does not know yet
# that it must no longer write to it.
FENCE = "needs a later waxlocal"

# Brings a file to the next version, inside the transaction of the caller.
Step = Callable[[sqlite3.Connection], None]

_HAS_TABLE = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)"
# One statement sees one state of the file, even while another process creates or upgrades it.
_WHOSE = """
SELECT
  (SELECT application_id FROM pragma_application_id),
  (SELECT user_version FROM pragma_user_version),
  count(*),
  coalesce(max(type = 'table' AND name = 'schema_version'), 0)
FROM sqlite_schema
"""
_STATED = "SELECT version, min_writer, min_reader FROM schema_version"


class FileVersion(NamedTuple):
    """A file's schema version, and the versions that may write and read it; 0 for a new file."""

    version: int
    min_writer: int
    min_reader: int


def schema_text() -> str:
    """Return the DDL: the file in the package or, in a checkout, that of the repository."""
    try:
        return shipped_text("schema.sql")
    except FileNotFoundError:
        return Path(__file__).parents[2].joinpath("schema.sql").read_text(encoding="utf-8")


def migration(version: int) -> Step:
    """Return the step that takes a file of the previous version to this one."""
    from importlib import import_module

    text = shipped_text(f"storage/migrations/{version}.sql")
    module = f"{__package__}.migrations.m{version}"
    before: Step | None = None
    try:
        before = import_module(module).upgrade
    except ModuleNotFoundError as error:
        if error.name != module:
            raise

    def upgrade(connection: sqlite3.Connection) -> None:
        if before is not None:
            before(connection)
        _run_script(connection, text)

    return upgrade


def file_version(connection: sqlite3.Connection) -> FileVersion:
    """Return the version that the file states. Raises `ForeignDatabase`; changes nothing."""
    owner, version, tables, stated = connection.execute(_WHOSE).fetchone()
    if owner != APPLICATION_ID:
        if tables or owner or version:
            raise ForeignDatabase("a SQLite database of another program")
        return FileVersion(0, 0, 0)
    if not stated:  # version 1 or 2, or one from which nothing is known but that number
        return FileVersion(version, version, version)
    row = connection.execute(_STATED).fetchone()
    if row is None:
        raise ForeignDatabase("its table schema_version is empty")
    if not all(isinstance(number, int) for number in row):
        raise ForeignDatabase("its table schema_version holds something other than numbers")
    return FileVersion(*row)


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has a table: one of an earlier version may lack it."""
    return bool(connection.execute(_HAS_TABLE, (name,)).fetchone()[0])


def check(connection: sqlite3.Connection, *, writing: bool) -> int:
    """Return the file's schema version; 0 for a file without any table.

    A file of a later version states whether this one may use it. Raises `ForeignDatabase` for the
    database of another program, and `NewerSchema` for a file that needs a later version; changes
    neither.
    """
    version, min_writer, min_reader = file_version(connection)
    needed = min_writer if writing else min_reader
    if needed > VERSION:
        raise NewerSchema(
            f"written by a later waxlocal (schema {version}; {'writing' if writing else 'reading'} "
            f"it needs {needed}, this one knows {VERSION})"
        )
    return version


class Admission:
    """Whether a file that stays open may still be used: a later waxlocal may upgrade it meanwhile.

    For one connection, and the thread that uses it.
    """

    def __init__(self, connection: sqlite3.Connection, *, writing: bool) -> None:
        self._connection = connection
        self._writing = writing
        self._seen = -1

    def look(self) -> None:
        """Check the file again if another connection has committed; else it takes microseconds.

        In a write transaction the answer holds until its end. Raises what `check` raises, and
        `sqlite3.Error`.
        """
        commits = commits_of_others(self._connection)
        if commits != self._seen:
            check(self._connection, writing=self._writing)
            self._seen = commits


def is_fence(error: BaseException) -> bool:
    """Return whether a later version made this statement fail on purpose, because it is unsound."""
    return FENCE in str(error)


def prepare(
    connection: sqlite3.Connection,
    *,
    more: str = "",
    migration: Callable[[int], Step] = migration,
) -> None:
    """Create the schema in an empty file, upgrade an older one, accept one that is as new or newer.

    Each step and its version number are one transaction: several processes may open the file at
    once, and one that is killed leaves no half of a step. The connection must be in autocommit
    mode. `more` is SQL that a new file gets after its schema. Raises what `check` raises, and
    `sqlite3.Error`.
    """
    while check(connection, writing=True) < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = check(connection, writing=True)  # another process may have been first
            if version == 0:
                _run_script(connection, schema_text() + more)
            elif version < VERSION:
                migration(version + 1)(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # executescript() would commit the transaction first.
    for statement in statements(script):
        connection.execute(statement)


def statements(script: str) -> Iterator[str]:
    """Give the statements of a script, for `executescript` would commit."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        # Asked about each line, of a trigger of a hundred lines it would read five thousand.
        if ";" in line and sqlite3.complete_statement(statement := "\n".join(lines)):
            yield statement
            lines.clear()
