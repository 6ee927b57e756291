"""Several queries that see the same state of the file."""

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
    """Let all queries of a function see one state, whatever is recorded or deleted meanwhile.

    In WAL mode a reading transaction hinders nobody; it ends with the function. Inside another one
    the function takes part in that.
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
