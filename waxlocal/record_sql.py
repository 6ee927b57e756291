"""SQL made from the description of the tables: what to insert, and what all records have in common.

Identifiers come from `records` alone, never from outside; values are bound.
"""

from __future__ import annotations

from collections.abc import Iterable

from waxlocal.records import RECORD_TABLES, Table

__all__ = ["LAST_POSITION", "insert", "positional_insert"]


def insert(table: Table, names: Iterable[str] = (), *, on_conflict: str = "") -> str:
    """Return an INSERT that takes its values by column name, of all columns unless some are named.

    `on_conflict`: the end of the statement, as `DO NOTHING`.
    """
    chosen = tuple(names) or table.names
    return _insert(table, chosen, [f":{name}" for name in chosen], on_conflict)


def positional_insert(table: Table, names: Iterable[str] = (), *, on_conflict: str = "") -> str:
    """Return the same INSERT for tuples in the order of the columns.

    For the hot paths alone: SQLite's binding by name looks up each name in each row.
    """
    chosen = tuple(names) or table.names
    return _insert(table, chosen, ["?"] * len(chosen), on_conflict)


def _insert(table: Table, names: tuple[str, ...], values: list[str], on_conflict: str) -> str:
    end = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608
        f"VALUES ({', '.join(values)}){end}"
    )


_POSITIONS = " UNION ALL ".join(
    f"SELECT max(position) AS position FROM {table.name} WHERE run_id = :run_id"  # noqa: S608
    for table in RECORD_TABLES
)
# The last position that any record of a run has; NULL when there is none.
LAST_POSITION = f"SELECT max(position) FROM ({_POSITIONS})"  # noqa: S608
