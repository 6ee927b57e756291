"""Columns that a file of an earlier version lacks: such a file is read as it is."""

from __future__ import annotations

import sqlite3

__all__ = ["has_column", "unmetered_calls", "usage_known"]

_HAS = "SELECT count(*) FROM pragma_table_info(?) WHERE name = ?"


def has_column(conn: sqlite3.Connection, table: str, name: str) -> bool:
    """Return whether a table of this file has a column."""
    return bool(conn.execute(_HAS, (table, name)).fetchone()[0])


def usage_known(conn: sqlite3.Connection) -> str:
    """Return SQL for whether the tokens of a call are known: to earlier versions, they all were."""
    return "usage_known" if has_column(conn, "llm_calls", "usage_known") else "1"


def unmetered_calls(conn: sqlite3.Connection) -> str:
    """Return SQL for the calls of a session or run with unknown tokens: once, there were none."""
    return "unmetered_calls" if has_column(conn, "sessions", "unmetered_calls") else "0"
