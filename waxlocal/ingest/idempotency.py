"""Requests with an `Idempotency-Key`: each is done once and gets the same response each time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.errors import QueryError
from waxlocal.wire.request_keys import HEADER

__all__ = ["KEPT_NS", "KeyReused", "fingerprint", "forget", "once"]

# How long a response is kept. A device that did not receive it sends the request again at once, or
# after weeks of being switched off.
KEPT_NS = 60 * 24 * 3600 * 1_000_000_000
# One request in 4,096 also deletes old rows.
_NOW_AND_THEN = "000"

_FIND = "SELECT fingerprint, answer FROM received WHERE idempotency_key = ?"
_KEEP = """
INSERT OR REPLACE INTO received (idempotency_key, fingerprint, answer, received_at)
VALUES (?, ?, ?, ?)
"""
_FORGET = "DELETE FROM received WHERE received_at < ?"


class KeyReused(QueryError):
    """The key was used for another request; nothing was done."""


def fingerprint(path: str, body: bytes) -> str:
    """Return a hash that identifies a request."""
    return sha256(path.encode("utf-8", "replace") + b"\0" + body).hexdigest()


def once(
    connection: sqlite3.Connection,
    key: str,
    print_: str,
    now_ns: int,
    work: Callable[[], Any],
    *,
    repeatable: bool = False,
) -> str:
    """Do the work, unless a request with this key was done before; return the response as JSON.

    Without a key the work is always done, and so is work that is repeatable: its second time
    changes only what was lost since the first. Raises `KeyReused` if the key belongs to another
    request.
    """
    if not key:
        return dumps(work())
    for known, answer in connection.execute(_FIND, (key,)).fetchall():
        if known != print_:
            raise KeyReused(
                f"this {HEADER} was used for another request before",
                hint="use a new key for each request, and the same one only to repeat it",
            )
        if not repeatable:
            return str(answer)
    answer = dumps(work())
    if print_.endswith(_NOW_AND_THEN):
        forget(connection, now_ns)
    connection.execute(_KEEP, (key, print_, answer, utc_text(now_ns)))
    return answer


def forget(connection: sqlite3.Connection, now_ns: int) -> int:
    """Delete requests older than 60 days; return how many."""
    return connection.execute(_FORGET, (utc_text(now_ns - KEPT_NS),)).rowcount
