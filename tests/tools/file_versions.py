"""Files of other versions, and what of a schema counts when two are compared."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from tests.tools.sdk_rows import queried

__all__ = ["ADD_RUN", "all_rows", "make_newer", "old_file", "parsed_schema"]

ADD_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status, started_at)
VALUES ('r1', 'a', 'default', 't', 'autonomous', 'running', 'x')
"""

# Text in quotes, a word or number, a comment, or any other character but a space.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|[\w.]+|\S", re.DOTALL)


def old_file(path: Path, version: int) -> None:
    """Make a file of an older version, with what that version left in it; an empty one goes."""
    data = Path(__file__).parents[1] / "data"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((data / f"v{version}.sql").read_text(encoding="utf-8"))
        if (left := data / f"v{version}_rows.sql").exists():
            connection.executescript(left.read_text(encoding="utf-8"))
        connection.execute(ADD_RUN)
        connection.commit()


def all_rows(path: Path, tables: Iterable[str]) -> dict[str, list[dict[str, object]]]:
    """Return all rows of these tables, by column."""
    return {table: queried(path, f"SELECT * FROM {table}") for table in tables}


def make_newer(path: Path, *, min_writer: int, min_reader: int, version: int = 99) -> None:
    """Let the file say that a later waxlocal has upgraded it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE schema_version SET version = ?, min_writer = ?, min_reader = ?",
            (version, min_writer, min_reader),
        )
        connection.commit()


def parsed_schema(path: Path) -> dict[tuple[str, str], object]:
    """Return what the schema says, by kind and name: without comments, spaces and letter case.

    A table is the set of its columns and constraints, whatever their order: `ALTER TABLE ... ADD
    COLUMN` puts a column at the end. Anything else is its tokens in order.
    """
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return {(kind, name): _parsed(kind, sql) for kind, name, sql in found}


def _parsed(kind: str, sql: str | None) -> object:
    tokens = list(_tokens(sql or ""))
    if kind != "table":
        return tuple(tokens)
    first, last = tokens.index("("), len(tokens) - 1 - tokens[::-1].index(")")
    parts = frozenset(_parts(tokens[first + 1 : last]))
    return (tuple(tokens[:first]), parts, tuple(tokens[last + 1 :]))


def _tokens(sql: str) -> Iterator[str]:
    for token in _TOKEN.findall(sql):
        if not token.startswith(("--", "/*")):
            yield token if token[0] == "'" else token.strip('"').lower()


def _parts(tokens: list[str]) -> Iterator[tuple[str, ...]]:
    """Split what stands between a table's parentheses at the commas that are in no others."""
    part: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "," and not depth:
            yield tuple(part)
            part = []
        else:
            part.append(token)
    yield tuple(part)
