"""Requests that came with an `Idempotency-Key`: done once, and answered the same each time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.errors import QueryError
from waxlocal.wire.request_keys import HEADER

__all__ = ["KEPT_NS", "KeyReused", "fingerprint", "forget", "once"]

# A device that never learned of its answer asks again at once, or after the weeks that it lay
# switched off.
KEPT_NS = 60 * 24 * 3600 * 1_000_000_000
# One request in 4,096 pays for looking through the table.
_NOW_AND_THEN = "000"

_FIND = "SELECT fingerprint, answer FROM received WHERE idempotency_key = ?"
_KEEP = """
INSERT OR REPLACE INTO received (idempotency_key, fingerprint, answer, received_at)
VALUES (?, ?, ?, ?)
"""
_FORGET = "DELETE FROM received WHERE received_at < ?"


class KeyReused(QueryError):
    """The key of another request; nothing was done."""


def fingerprint(path: str, body: bytes) -> str:
    """Return what tells a request from every other."""
    return sha256(path.encode("utf-8", "replace") + b"\0" + body).hexdigest()


def once(
    connection: sqlite3.Connection,
    key: str,
    print_: str,
    now_ns: int,
    work: Callable[[], Any],
    *,
    is_final: Callable[[Any], bool] = lambda answer: True,
) -> str:
    """Do the work, unless a request with this key was done before; return the answer as JSON.

    Without a key the work is always done. An answer that is not final is given and not kept: the
    same request may get another one later. Raises `KeyReused` if the key came with another request.
    """
    if not key:
        return dumps(work())
    for known, answer in connection.execute(_FIND, (key,)).fetchall():
        if known != print_:
            raise KeyReused(
                f"this {HEADER} came before, with another request",
                hint="make a new key for every request that is not a repetition",
            )
        if is_final(json.loads(answer)):  # 0.2 kept every answer
            return str(answer)
    done = work()
    answer = dumps(done)
    if not is_final(done):
        return answer
    if print_.endswith(_NOW_AND_THEN):
        forget(connection, now_ns)
    connection.execute(_KEEP, (key, print_, answer, utc_text(now_ns)))
    return answer


def forget(connection: sqlite3.Connection, now_ns: int) -> int:
    """Forget requests of more than 60 days ago; return how many."""
    return connection.execute(_FORGET, (utc_text(now_ns - KEPT_NS),)).rowcount
