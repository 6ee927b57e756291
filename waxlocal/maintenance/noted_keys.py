"""Keys of contents that triggers have noted, and the calls that have them.

To find those calls takes a look at all calls, and recorders must not wait for that. So it is made
in a read transaction: of one state of the file, however calls move meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from waxlocal.storage.contents import KEYED, read_keys
from waxlocal.storage.schema import has_table

__all__ = ["keys_of_calls", "noted", "one_state"]

_OF_CALLS = f"""
SELECT run_id, {", ".join(KEYED.values())} FROM llm_calls
WHERE {" OR ".join(f"{name} IS NOT NULL" for name in KEYED.values())}
"""  # noqa: S608


@contextmanager
def one_state(connection: sqlite3.Connection) -> Iterator[None]:
    """Read one state of the file in the block, whatever is written meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def noted(connection: sqlite3.Connection, table: str) -> dict[str, int]:
    """Return the keys in a table of noted keys, with their ids; none in a file of before 0.3."""
    if not has_table(connection, table):
        return {}
    found = connection.execute(f"SELECT key, id FROM {table}")  # noqa: S608
    return dict(map(tuple, found.fetchall()))


def keys_of_calls(connection: sqlite3.Connection) -> Iterator[tuple[str, set[str]]]:
    """Give the run and the keys of each call that has any."""
    for run_id, *stored in connection.execute(_OF_CALLS):
        yield run_id, {key for keys in stored for key in read_keys(keys)}
