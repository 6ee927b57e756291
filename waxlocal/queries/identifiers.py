"""Find the session or run whose id begins with what the user typed."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import suppress
from typing import NamedTuple

from waxlocal.encode import text
from waxlocal.errors import AmbiguousId, InvalidQuery, NotFound, QueryError
from waxlocal.ids import run_id_of

__all__ = ["resolve_run_id", "resolve_session_id", "session_or_run", "short_run_id"]

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


class _Noun(NamedTuple):
    """What has an id: how it is found, how the newest one, and what shows one and lists them."""

    word: str
    ids: str
    newest: str
    shows: str
    lists: str


_SESSION = _Noun(
    "session",
    _SESSIONS,
    _LAST_SESSION,
    "waxlocal session",
    "list the sessions with: waxlocal sessions",
)
_RUN = _Noun("run", _RUNS, _LAST_RUN, "waxlocal show", "list the last runs with: waxlocal runs")


def resolve_session_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the session id equal to `prefix`, or the only one that begins with it.

    `last` is the session that was active last, unless an id begins so. Raises `NotFound`,
    `AmbiguousId`, and `InvalidQuery` for an empty prefix.
    """
    return _resolved(conn, prefix, _SESSION, _RUN)


def resolve_run_id(conn: sqlite3.Connection, prefix: str) -> str:
    """Return the run id equal to `prefix`, or the only one that begins with it; or by workflow id.

    `last` is the run that arrived last, unless an id begins so. Raises `NotFound`, `AmbiguousId`,
    and `InvalidQuery` for an empty prefix.
    """
    return _resolved(conn, prefix, _RUN, _SESSION)


def session_or_run(conn: sqlite3.Connection, prefix: str) -> tuple[str, str] | None:
    """Return `session` or `run`, and its id, if it is the only one that begins so; else None."""
    with suppress(QueryError):
        return _SESSION.word, _only(conn, prefix, _SESSION)
    with suppress(QueryError):
        return _RUN.word, _only(conn, prefix, _RUN)
    return None


def _resolved(conn: sqlite3.Connection, prefix: str, noun: _Noun, other: _Noun) -> str:
    try:
        return _only(conn, prefix, noun)
    except NotFound as error:
        row = conn.execute(noun.newest).fetchone() if prefix == LAST else None
        if row is None:
            raise _misplaced(conn, prefix, noun, other) or error from None
        return str(row[0])


def _misplaced(conn: sqlite3.Connection, prefix: str, noun: _Noun, other: _Noun) -> NotFound | None:
    """Return the error for an id that is one of the other kind; None if it is no id at all."""
    try:
        whole = _only(conn, prefix, other)
    except NotFound:
        return None
    except AmbiguousId:
        hint = f"waxlocal {other.word}s"
        return NotFound(f"no {noun.word} {prefix!r}, but several {other.word}s", hint=hint)
    hint = f"{other.shows} {shlex.quote(whole)}"
    return NotFound(f"{prefix!r} is a {other.word}, not a {noun.word}", hint=hint)


def short_run_id(conn: sqlite3.Connection, run_id: str) -> str:
    """Return the first characters of a run id, as many as tell it from all others in the file."""
    neighbors = conn.execute(_NEIGHBORS, {"run_id": run_id}).fetchone()
    count = _SHORT_CHARS
    while any(str(one).startswith(run_id[:count]) for one in neighbors) and count < len(run_id):
        count += 1
    return run_id[:count]


def _only(conn: sqlite3.Connection, prefix: str, noun: _Noun) -> str:
    if not prefix:
        raise InvalidQuery(
            f"the {noun.word} id is empty", hint=f"give the first characters of a {noun.word} id"
        )
    found = _beginning(conn, prefix, noun)
    run_prefix = run_id_of(prefix) if noun is _RUN else None
    if not found and run_prefix is not None:
        return _only(conn, run_prefix, noun)
    if not found:
        raise NotFound(f"no {noun.word} {prefix!r}", hint=noun.lists)
    if len(found) > 1 and found[0] != prefix:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise AmbiguousId(f"{prefix!r} matches several {noun.word}s: {shown}")
    return found[0]


def _beginning(conn: sqlite3.Connection, prefix: str, noun: _Noun) -> list[str]:
    """Return the first ids that begin so; the exact one sorts before its continuations."""
    rows = conn.execute(noun.ids, {"prefix": text(prefix), "last": _LAST}).fetchall()
    return [str(row[0]) for row in rows]
