"""What SQL alone cannot do for version 3: `runs.status` may be `cancelled`."""

from __future__ import annotations

import sqlite3

__all__ = ["upgrade"]

_OLD = "OR status = 'interrupted'"
_NEW = f"{_OLD} OR status = 'cancelled'"
_STATE = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'runs'"
_OF_RUNS = "SELECT type, sql FROM sqlite_schema WHERE tbl_name = 'runs' AND sql IS NOT NULL"
_STORED = "SELECT name FROM pragma_table_xinfo('runs') WHERE hidden = 0"


def upgrade(connection: sqlite3.Connection) -> None:
    """Let runs be cancelled, inside the transaction of the caller.

    SQLite has no ALTER TABLE for a CHECK. It is no part of what a table holds: its text may be
    changed where it stands (https://sqlite.org/lang_altertable.html, section 7), whatever the size
    of the file. A SQLite that is built to refuse that (`SQLITE_DBCONFIG_DEFENSIVE`), as the one of
    macOS is, copies the table.
    """
    connection.execute("PRAGMA writable_schema = ON")
    try:
        connection.execute(_STATE, (_OLD, _NEW))
    except sqlite3.OperationalError as error:
        if "may not be modified" not in str(error):
            raise
        _copy_runs(connection)
    finally:
        connection.execute("PRAGMA writable_schema = RESET")


def _copy_runs(connection: sqlite3.Connection) -> None:
    """Put a table with the new CHECK in the place of `runs`; other tables and views stay as is."""
    columns = ", ".join(name for (name,) in connection.execute(_STORED))
    found = connection.execute(_OF_RUNS).fetchall()
    (table,) = (sql for kind, sql in found if kind == "table")
    connection.execute("PRAGMA legacy_alter_table = ON")  # it would change what names the table
    try:
        connection.execute("ALTER TABLE runs RENAME TO runs_before")
        connection.execute(table.replace(_OLD, _NEW))
        connection.execute(f"INSERT INTO runs ({columns}) SELECT {columns} FROM runs_before")  # noqa: S608
        connection.execute("DROP TABLE runs_before")
    finally:
        connection.execute("PRAGMA legacy_alter_table = OFF")
    for kind, sql in found:
        if kind != "table":
            connection.execute(sql)
