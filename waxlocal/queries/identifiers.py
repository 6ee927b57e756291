"""From what a person types of an id to the id."""

from __future__ import annotations

import sqlite3

from waxlocal.encode import text
from waxlocal.errors import AmbiguousId, InvalidQuery, NotFound

__all__ = ["resolve_run_id", "resolve_session_id"]

# Ranges of the key instead of LIKE: they use its index whatever characters an id holds. The last
# character of Unicode stands behind every continuation of a prefix.
_LAST = "\U0010ffff"
_SESSIONS = """
SELECT session_id FROM sessions WHERE session_id >= :prefix AND session_id < :prefix || :last
ORDER BY session_id LIMIT 4
"""
_RUNS = """
SELECT run_id FROM runs WHERE run_id >= :prefix AND run_id < :prefix || :last
ORDER BY run_id LIMIT 4
"""


def resolve_session_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the session id that is, or alone begins with, `prefix`.

    Raises `NotFound`, `AmbiguousId`, and `InvalidQuery` for an empty one.
    """
    return _only(_SESSIONS, conn, prefix, "session")


def resolve_run_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the run id that is, or alone begins with, `prefix`; also takes a workflow id.

    Raises `NotFound`, `AmbiguousId`, and `InvalidQuery` for an empty one.
    """
    try:
        return _only(_RUNS, conn, prefix, "run")
    except NotFound:
        if not prefix.startswith("wf_"):
            raise
        return _only(_RUNS, conn, prefix.removeprefix("wf_"), "run")


def _only(sql: str, conn: sqlite3.Connection, prefix: str, noun: str) -> str:
    if not prefix:
        raise InvalidQuery(f"an empty {noun} id", hint=f"give the first characters of a {noun} id")
    # The prefix itself sorts before everything that it begins.
    found = [
        row[0] for row in conn.execute(sql, {"prefix": text(prefix), "last": _LAST}).fetchall()
    ]
    if not found:
        raise NotFound(f"no {noun} {prefix!r}")
    if len(found) > 1 and found[0] != prefix:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise AmbiguousId(f"{prefix!r} fits several {noun}s: {shown}")
    return str(found[0])
