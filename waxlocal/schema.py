"""Finds `schema.sql`, and creates or upgrades a file with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from waxlocal.errors import ForeignDatabase, NewerSchema

__all__ = ["APPLICATION_ID", "VERSION", "check", "migration", "prepare", "schema_text"]

APPLICATION_ID = 0x5741584C  # 'WAXL', see https://sqlite.org/pragma.html#pragma_application_id
# `schema.sql` always holds the newest schema whole; `migrations/N.sql` takes a file of the version
# before to version N. A new number here, there, and in the file's `user_version` go together.
VERSION = 2


def schema_text() -> str:
    """Return the DDL: as shipped in the package, or the repository's own file in a checkout."""
    shipped = Path(__file__).with_name("schema.sql")
    if not shipped.is_file():
        shipped = Path(__file__).parents[1] / "schema.sql"
    return shipped.read_text(encoding="utf-8")


def migration(version: int) -> str:
    """Return the SQL that takes a file of the version before to this one."""
    script = Path(__file__).with_name("migrations") / f"{version}.sql"
    return script.read_text(encoding="utf-8")


def check(connection: sqlite3.Connection) -> int:
    """Return the file's schema version, 0 for a file without any table.

    Raises `ForeignDatabase` for another program's database, `NewerSchema` for a file from a later
    version; neither is changed.
    """
    # The owner last: another process may create the schema between these, all of it at once, and
    # whoever has seen a part of it must then find it to be ours.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        if tables or owner or version:
            raise ForeignDatabase("a SQLite database of another program")
        return 0
    if version > VERSION:
        raise NewerSchema(
            f"written by a later waxlocal (schema {version}, this one knows {VERSION})"
        )
    return int(version)


def prepare(connection: sqlite3.Connection) -> None:
    """Create the schema in an empty file, upgrade an older one, accept a current one.

    All of it in one transaction: several processes may meet at a new file, and one that is killed
    half-way leaves nothing behind. The connection must be in autocommit mode.
    """
    if check(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check(connection)  # another process may have been first
        if version == 0:
            _run_script(connection, schema_text())
        for number in range(version + 1, VERSION + 1) if version else ():
            _run_script(connection, migration(number))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # executescript() would commit the transaction first.
    for statement in _statements(script):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        statement = "\n".join(lines)
        if sqlite3.complete_statement(statement):
            yield statement
            lines.clear()
