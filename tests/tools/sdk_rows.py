"""Reads what the SDK has written, with SQLite alone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["decoded", "everything", "only", "queried", "rows", "run_named"]

_JSON = {"inputs", "result", "metadata", "tags", "output", "input", "attributes", "data"}
_JSON |= {"messages", "tools", "details"}
_ITEMS = """
SELECT content FROM json_each(?) AS one JOIN contents ON contents.key = one.value ORDER BY one.key
"""


def rows(path: Path, table: str, **where: object) -> list[dict[str, Any]]:
    """Return the rows of a table whose columns have these values, JSON decoded, in order.

    The messages of a call and its tools are there as they were given, whichever way they are kept.
    """
    order = "id" if table == "runs" else "position"
    wanted = " AND ".join(f"{name} IS ?" for name in where) or "1"
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute(
            f"SELECT * FROM {table} WHERE {wanted} ORDER BY {order}", tuple(where.values())
        ).fetchall()
        return [decoded(_with_lists(connection, dict(row))) for row in found]


def _with_lists(connection: sqlite3.Connection, row: dict[str, Any]) -> dict[str, Any]:
    for name, keys in (("messages", "message_keys"), ("tools", "tool_keys")):
        if (stored := row.pop(keys, None)) is not None:
            items = (text for (text,) in connection.execute(_ITEMS, (stored,)))
            row[name] = f"[{','.join(items)}]"
    return row


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its JSON columns as values."""
    return {
        name: json.loads(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    }


def queried(path: Path, query: str) -> list[dict[str, Any]]:
    """Return what a query finds, as it stands in the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def only(path: Path, table: str, **where: object) -> dict[str, Any]:
    """Return the one row there is."""
    (row,) = rows(path, table, **where)
    return row


def run_named(path: Path, agent_name: str) -> dict[str, Any]:
    """Return the one run of an agent."""
    return only(path, "runs", agent_name=agent_name)


def everything(path: Path) -> bytes:
    """Return the bytes of the file and of its WAL."""
    return b"".join(part.read_bytes() for part in sorted(path.parent.glob(path.name + "*")))
