"""A decorator that runs all queries of a function on one snapshot of the file."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

__all__ = ["in_snapshot"]

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def in_snapshot(
    function: Callable[Concatenate[sqlite3.Connection, Parameters], Answer],
) -> Callable[Concatenate[sqlite3.Connection, Parameters], Answer]:
    """Run all queries of a function in one read transaction, whatever is written meanwhile.

    In WAL mode a read transaction blocks nobody; it ends with the function. Inside another
    transaction the function joins that one.
    """

    @functools.wraps(function)
    def answer(
        conn: sqlite3.Connection, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Answer:
        if conn.in_transaction:
            return function(conn, *args, **kwargs)
        conn.execute("BEGIN")
        try:
            return function(conn, *args, **kwargs)
        finally:
            conn.execute("ROLLBACK")

    return answer
