"""All queries of a block, or of a function, on one snapshot of the file."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

__all__ = ["in_snapshot", "snapshot"]

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


@contextmanager
def snapshot(conn: sqlite3.Connection) -> Iterator[None]:
    """Run all queries of the block in one read transaction, whatever is written meanwhile.

    In WAL mode a read transaction blocks nobody; it ends with the block. Inside another transaction
    the block joins that one.
    """
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


def in_snapshot(
    function: Callable[Concatenate[sqlite3.Connection, Parameters], Answer],
) -> Callable[Concatenate[sqlite3.Connection, Parameters], Answer]:
    """Run all queries of a function in one `snapshot`."""

    @functools.wraps(function)
    def answer(
        conn: sqlite3.Connection, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer:
        with snapshot(conn):
            return function(conn, *args, **kwargs)

    return answer
