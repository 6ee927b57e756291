"""A file that another connection holds: how to know, and how long to rest before the next try."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from random import random

from waxlocal.errors import FileLocked

__all__ = ["REST_S", "is_busy", "rest"]

# SQLite's own busy handler sleeps ever longer and so starves whoever came first: at 8 writing
# processes the slowest call took 2.6 s with it, 0.2 s with short random sleeps.
REST_S = (0.000_1, 0.000_5)
# The texts of sqlite3_errstr(); `sqlite_errorcode` came with Python 3.11.
_BUSY_TEXTS = frozenset(
    (
        "database is locked",
        "database table is locked",
        "locking protocol",
        "database schema is locked: main",
    )
)


def is_busy(error: BaseException) -> bool:
    """Return whether an error says that another connection holds the file."""
    if isinstance(error, FileLocked):
        return True
    return isinstance(error, sqlite3.OperationalError) and str(error) in _BUSY_TEXTS


def rest(sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep for a short, random time between two tries."""
    sleep(REST_S[0] + random() * (REST_S[1] - REST_S[0]))  # noqa: S311 (nobody guesses it for gain)
