"""A file that another connection has locked: how to detect it, and how to try again."""

from __future__ import annotations

import os
import sqlite3
import time
from _random import Random  # all of `random` takes a millisecond to import
from collections.abc import Callable
from typing import TypeVar

from waxlocal.clock import monotonic
from waxlocal.errors import FileLocked

__all__ = ["LONG_REST_S", "REST_S", "is_busy", "rest", "while_busy"]

T = TypeVar("T")

# SQLite's own busy handler sleeps ever longer and so starves whoever came first: at 8 writing
# processes the slowest call took 2.6 s with it, 0.2 s with short random sleeps. Most locks are held
# for microseconds, so the first rests are short. Whoever waits longer waits for busy writers or a
# checkpoint, and each try gets in their way (a try reads the log, which keeps it from starting
# anew): with longer rests the same eight record a fifth more.
REST_S = (0.000_1, 0.000_5)
SHORT_RESTS = 8
LONG_REST_S = (0.000_5, 0.002)
_chance = Random(os.getpid()).random
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
    """Return whether an error means that another connection has locked the file."""
    if isinstance(error, FileLocked):
        return True
    return isinstance(error, sqlite3.OperationalError) and str(error) in _BUSY_TEXTS


def rest(sleep: Callable[[float], None] = time.sleep, before: int = 0) -> None:
    """Sleep for a short, random time between two attempts, after so many rests before it."""
    least, most = REST_S if before < SHORT_RESTS else LONG_REST_S
    sleep(least + _chance() * (most - least))


def while_busy(
    attempt: Callable[[], T], deadline: float, *, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Return what `attempt` returns; tries again while another connection has the file locked.

    `deadline` is a time of `monotonic()`. At least one attempt is made. After the deadline,
    and for any other reason, the error of the attempt is raised.
    """
    rests = 0
    while True:
        try:
            return attempt()
        except (sqlite3.OperationalError, FileLocked) as error:
            if not is_busy(error) or monotonic() >= deadline:
                raise
        # Outside the handler: the error, with its frames and what they hold, is let go first.
        rest(sleep, rests)
        rests += 1
