"""Full-text search over sessions, in chunks: the file has no text index."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import Any

from waxlocal.queries.filters import SessionFilter, where
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.sessions import session_ids

__all__ = ["PIECE", "candidates", "fitting", "is_slow"]

# Sessions per chunk; a chunk takes about 0.1 s.
PIECE = 1_000


# What only the contents of runs tell; tags and models are among the totals.
_IN_CONTENTS = ("search", "metadata", "tool")


def is_slow(filter: SessionFilter) -> bool:
    """Return whether the filter needs the contents of runs."""
    return any(getattr(filter, name) for name in _IN_CONTENTS)


def candidates(conn: sqlite3.Connection, filter: SessionFilter, ordering: str) -> list[str]:
    """Return, in order, the ids of sessions that may match, judged by indexes and totals alone.

    Raises `InvalidQuery`.
    """
    nothing: dict[str, Any] = dict.fromkeys(_IN_CONTENTS)
    cheap = replace(filter, **nothing)
    return list(session_ids(conn, filter=cheap, ordering=ordering))


def fitting(conn: sqlite3.Connection, filter: SessionFilter, ids: list[str]) -> list[str]:
    """Return the ids of the given sessions that match the filter, in the same order."""
    deep = SessionFilter(**{name: getattr(filter, name) for name in _IN_CONTENTS})
    condition, values = where(conn, deep, GoneProcesses(conn))
    among = "AND" if condition else "WHERE"
    sql = (
        f"SELECT s.session_id FROM sessions s {condition} "  # noqa: S608
        f"{among} s.session_id IN (SELECT value FROM json_each(:ids))"
    )
    found = {row[0] for row in conn.execute(sql, values | {"ids": json.dumps(ids)}).fetchall()}
    return [one for one in ids if one in found]
