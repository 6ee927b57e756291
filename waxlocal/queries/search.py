"""Full-text search over sessions, in chunks: the file has no text index."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from waxlocal.queries.filters import SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.sessions import session_ids

__all__ = ["PIECE", "candidates", "fitting", "is_slow"]

# Sessions per chunk; a chunk takes about 0.1 s.
PIECE = 1_000


def is_slow(filter: SessionFilter) -> bool:
    """Return whether the filter needs the contents of runs; the tags are among the totals."""
    return bool(filter.search or filter.metadata)


def candidates(conn: sqlite3.Connection, filter: SessionFilter, ordering: str) -> list[str]:
    """Return, in order, the ids of sessions that may match, judged by indexes and totals alone.

    Raises `InvalidQuery`.
    """
    cheap = replace(filter, search=None, metadata=None)
    return list(session_ids(conn, filter=cheap, ordering=ordering))


def fitting(conn: sqlite3.Connection, filter: SessionFilter, ids: list[str]) -> list[str]:
    """Return the ids of the given sessions that match the filter, in the same order."""
    deep = SessionFilter(search=filter.search, metadata=filter.metadata)
    condition, values = where(conn, deep, GoneProcesses(conn))
    among = "AND" if condition else "WHERE"
    sql = (
        f"SELECT s.session_id FROM sessions s {condition} "  # noqa: S608
        f"{among} s.session_id IN (SELECT value FROM json_each(:ids))"
    )
    found = {row[0] for row in conn.execute(sql, values | {"ids": json.dumps(ids)}).fetchall()}
    return [one for one in ids if one in found]
