"""Find the session or run whose id begins with what the user typed."""

from __future__ import annotations

import shlex
import sqlite3
from typing import NamedTuple

from waxlocal.encode import text
from waxlocal.errors import AmbiguousId, InvalidQuery, NotFound
from waxlocal.ids import run_id_of

__all__ = ["resolve_run_id", "resolve_session_id", "short_run_id"]

_LISTED = {
    "session": "list the sessions with: waxlocal sessions",
    "run": "list the last runs with: waxlocal runs",
}
# A range on the key instead of LIKE uses the index whatever characters the id holds. The last
# character of Unicode sorts after every continuation of the prefix.
_LAST = "\U0010ffff"
_SESSIONS = """
SELECT session_id FROM sessions WHERE session_id >= :prefix AND session_id < :prefix || :last
ORDER BY session_id LIMIT 4
"""
_RUNS = """
SELECT run_id FROM runs WHERE run_id >= :prefix AND run_id < :prefix || :last
ORDER BY run_id LIMIT 4
"""


class _Other(NamedTuple):
    """How a noun is found and shown where another was wanted."""

    sql: str
    wanted: str
    command: str


_OTHER = {"session": _Other(_SESSIONS, "run", "session"), "run": _Other(_RUNS, "session", "show")}
_NEIGHBORS = """
SELECT (SELECT max(run_id) FROM runs WHERE run_id < :run_id),
  (SELECT min(run_id) FROM runs WHERE run_id > :run_id)
"""
# The time in milliseconds and 12 random bits of a UUIDv7: a run that is recorded later hardly ever
# begins with the same characters.
_SHORT_CHARS = 18


# What stands for the newest one, unless an id begins so.
LAST = "last"
_LAST_SESSION = "SELECT session_id FROM sessions ORDER BY last_activity_at DESC LIMIT 1"
_LAST_RUN = "SELECT run_id FROM runs ORDER BY id DESC LIMIT 1"


def resolve_session_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the session id equal to `prefix`, or the only one that begins with it.

    `last` is the session that was active last, unless an id begins so. Raises `NotFound`,
    `AmbiguousId`, and `InvalidQuery` for an empty prefix.
    """
    try:
        return _only(_SESSIONS, conn, prefix, "session")
    except NotFound as error:
        return _last(conn, _LAST_SESSION, prefix, _of_the_other(conn, prefix, "run") or error)


def resolve_run_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the run id equal to `prefix`, or the only one that begins with it; or by workflow id.

    `last` is the run that arrived last, unless an id begins so. Raises `NotFound`, `AmbiguousId`,
    and `InvalidQuery` for an empty prefix.
    """
    try:
        return _only(_RUNS, conn, prefix, "run")
    except NotFound as error:
        run_prefix = run_id_of(prefix)
        if run_prefix is None:
            return _last(conn, _LAST_RUN, prefix, _of_the_other(conn, prefix, "session") or error)
        return _only(_RUNS, conn, run_prefix, "run")


def _last(conn: sqlite3.Connection, sql: str, word: str, error: NotFound) -> str:
    """Return the id of the newest one if that is what a word asks for; else raise the error."""
    row = conn.execute(sql).fetchone() if word == LAST else None
    if row is None:
        raise error from None
    return str(row[0])


def _of_the_other(conn: sqlite3.Connection, prefix: str, noun: str) -> NotFound | None:
    """Return the error for an id that is one of the other kind; None if it is no id at all."""
    other = _OTHER[noun]
    wanted = run_id_of(prefix) or prefix if noun == "run" else prefix
    try:
        whole = _only(other.sql, conn, wanted, noun)
    except NotFound:
        return None
    except AmbiguousId:
        hint = f"waxlocal {noun}s"
        return NotFound(f"no {other.wanted} {prefix!r}, but several {noun}s", hint=hint)
    hint = f"waxlocal {other.command} {shlex.quote(whole)}"
    return NotFound(f"{prefix!r} is a {noun}, not a {other.wanted}", hint=hint)


def short_run_id(conn: sqlite3.Connection, run_id: str) -> str:
    """Return the first characters of a run id, as many as tell it from all others in the file."""
    neighbors = conn.execute(_NEIGHBORS, {"run_id": run_id}).fetchone()
    count = _SHORT_CHARS
    while any(str(one).startswith(run_id[:count]) for one in neighbors) and count < len(run_id):
        count += 1
    return run_id[:count]


def _only(sql: str, conn: sqlite3.Connection, prefix: str, noun: str) -> str:
    if not prefix:
        raise InvalidQuery(
            f"the {noun} id is empty", hint=f"give the first characters of a {noun} id"
        )
    # The exact id sorts before its continuations.
    found = [
        row[0] for row in conn.execute(sql, {"prefix": text(prefix), "last": _LAST}).fetchall()
    ]
    if not found:
        raise NotFound(f"no {noun} {prefix!r}", hint=_LISTED[noun])
    if len(found) > 1 and found[0] != prefix:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise AmbiguousId(f"{prefix!r} matches several {noun}s: {shown}")
    return str(found[0])
