"""How a unit gets into a file that is busy, or that refuses a value in it: again, for a while.

SQLite answers at once that a file is locked (`busy_timeout` is 0), and we try again after a short,
random rest. How long that is worth while depends on what holds the file:

- a lock that stays, as of somebody's open transaction: the wait that the caller was given;
- other programs that write: ours comes when their turns have ended, so we wait longer. On a busy
  machine one turn can take a second, for want of a processor or of the disk;
- a checkpoint: whoever makes it holds the lock until the disk has synced what was copied;
- a recovery: another process reads the whole log after a crash, and that ends, too.

A record that gives up is only in memory, and lost if its process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import count

from waxlocal.clock import SYSTEM_CLOCK, monotonic
from waxlocal.recording.open_file import OpenFile, may_pass
from waxlocal.recording.transactions import Storable, Unit, keys, moved
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage import connection, schema
from waxlocal.storage.log_file import is_being_copied, log_changed_ns
from waxlocal.storage.record_sql import LAST_POSITION, look_up
from waxlocal.storage.retry import is_busy, rest
from waxlocal.storage.storage_errors import storage_error

__all__ = ["attempt", "free_position"]

# So much longer than for a lock we wait for those that get on: writers, and whoever recovers.
PATIENT_S = 10.0
# For so many waits after the last commit of anybody a lock counts as one of a writer that gets on:
# on a slow disk a single write, or the sync of a new log's header, can take longer than the wait.
STUCK_WAITS = 5
# Most locks are held for some 20 µs: let the holder run before sleeping five times as long.
YIELDS = 3


def attempt(
    file: OpenFile,
    unit: Unit,
    deadline: float,
    *,
    sleep: Callable[[float], None],
    wait: float = 0.0,
) -> Exception | None:
    """Write a unit, trying again while the file is busy; return why it could not be written.

    `deadline` is a time of `monotonic`. Where it has a `wait` before it, in seconds, it is put
    off by up to `PATIENT_S` while others get on: see the module.
    """
    tries, fenced = 0, False
    patient = PATIENT_S if wait else 0.0
    while True:
        try:
            file.write(unit)
            return None
        except Exception as error:
            if raised_by_handler(error):
                raise
            failure = error
        if isinstance(failure, sqlite3.IntegrityError) and _is_here(file, unit):
            return None
        if not fenced and schema.is_fence(failure):
            fenced = True
            file.close()
            continue
        fitting = _made_fit(file, unit, failure)
        if fitting is not None:
            unit = fitting
        elif not is_busy(failure):
            return file.close_unusable(failure)
        elif not (
            (late := monotonic() - deadline) < 0
            or (late < patient and _gets_on(file, failure, STUCK_WAITS * wait))
        ):
            return storage_error(failure, file.path)
        elif (tries := tries + 1) <= YIELDS:
            sleep(0)
        else:
            rest(sleep, tries - YIELDS - 1)


def _gets_on(file: OpenFile, failure: Exception, stuck_after: float) -> bool:
    """Return whether those who keep the file busy will be done: writers, or a recovery."""
    since = (SYSTEM_CLOCK.time_ns() - log_changed_ns(file.current)) / 1e9
    if -stuck_after < since < stuck_after or is_being_copied(file.current):
        return True
    return connection.is_recovering(failure, file.path)


def _made_fit(file: OpenFile, unit: Unit, failure: Exception) -> Unit | None:
    """Return the unit with what SQLite refused in it put right, None if nothing can be."""
    if isinstance(failure, sqlite3.IntegrityError):
        elsewhere = _moved(file, unit)
        if keys(elsewhere) != keys(unit):
            return elsewhere
    if may_pass(failure) or isinstance(unit, Storable):
        return None
    return Storable(unit)


def _is_here(file: OpenFile, unit: Unit) -> bool:
    """Return whether the records of a unit are in the file, as they are.

    A signal handler can raise just after the commit, before anybody has noted that it was one.
    """
    added = [(sql.adds, sql.names, values) for sql, values in unit if sql.adds is not None]
    return bool(added) and all(
        file.fetch(look_up(table, names, named=isinstance(values, Mapping)), values)
        for table, names, values in added
    )


def _moved(file: OpenFile, unit: Unit) -> Unit:
    """Give records whose position is taken the next free one.

    Two processes can record into one run: the parent that opened it and a forked child.
    """
    free: dict[str, Iterator[int]] = {}

    def next_position(run_id: object) -> int:
        name = str(run_id)
        if name not in free:
            free[name] = count(free_position(file, name))
        return next(free[name])

    return moved(unit, next_position)


def free_position(file: OpenFile, run_id: str) -> int:
    """Return a position after every record of the run; 1 when it has none or none is known."""
    rows = file.fetch(LAST_POSITION, {"run_id": run_id})
    last = rows[0][0] if rows else None
    return 1 if last is None else int(last) + 1
