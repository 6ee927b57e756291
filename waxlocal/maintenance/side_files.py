"""Takes the records of a side file into the main file.

A side file (`storage.side_file`) has a log of its changes, which may still be growing. The log is
followed in short transactions on the main file. Each of them stores how far it came, so a kill at
any point loses nothing and takes in nothing twice. The side file is removed when all of it is taken
in and no connection has it open.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import monotonic
from waxlocal.errors import FileMissing, NewerSchema, StorageError
from waxlocal.maintenance.main_rows import MainRows, forget, taken_to
from waxlocal.maintenance.side_log import (
    Change,
    Unusable,
    changes_after,
    identity_of,
    read_changes,
)
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import autocommit, checkpointer, reader
from waxlocal.storage.paths import file_id
from waxlocal.storage.retry import while_busy
from waxlocal.storage.side_file import all_side_files, remove, side_files

__all__ = ["SideFile", "take_in", "take_in_all", "waiting"]

# The most changes in one transaction: recorders wait during it.
CHANGES_AT_ONCE = 500
# The side files that a warning has told of.
_told: set[Path] = set()


class SideFile(NamedTuple):
    """A side file with changes that are not in the main file; `changes` is None if unreadable."""

    path: Path
    version: int
    changes: int | None


def _log(message: str) -> None:
    logging.getLogger("waxlocal").warning("%s", message)


def take_in(
    main: sqlite3.Connection,
    path: Path,
    seconds: float = math.inf,
    *,
    notice: Callable[[str], object] = _log,
) -> bool:
    """Take in the side files of a file, for about this long; return whether all is taken in.

    `main` is a writing connection to the file, in autocommit mode. A side file that cannot be read
    stays, and so does one with something in it that no waxlocal has written, of which `notice` is
    told once. Raises `sqlite3.Error` of the main file, also if that is busy.
    """
    deadline = monotonic() + seconds
    with closing(checkpointer(path)) as log:
        # Also of this version: the main file may have replaced one that needed a later version.
        came_in = [
            _take_in(main, side, deadline, log, notice) for _version, side in side_files(path)
        ]
    return all(came_in)


def take_in_all(path: Path, seconds: float = math.inf) -> bool:
    """Do the same for a command, on its own connection; return whether anything was taken in.

    Takes microseconds if there is no side file. Does nothing if this version may not write to the
    file; `waiting` then tells what is not in it. Raises nothing.
    """
    if not side_files(path) or file_id(path) is None:
        return False
    with suppress(StorageError), autocommit(path) as main:
        before = main.total_changes
        take_in(main, path, seconds)
        return main.total_changes > before
    return False


def waiting(path: Path) -> list[SideFile]:
    """Return the side files with records that are not in the main file."""
    found = [
        SideFile(side, version, _changes_waiting(path, side))
        for version, side in all_side_files(path)
    ]
    return [side for side in found if side.changes != 0]


def _changes_waiting(path: Path, side: Path) -> int | None:
    try:
        with reader(side) as opened, reader(path) as main:
            return changes_after(opened, taken_to(main, identity_of(opened)))
    except FileMissing:  # nothing in it yet, or taken in meanwhile
        return None if file_id(side) and not file_id(path) else 0
    except StorageError:
        return None


def _take_in(
    main: sqlite3.Connection,
    side: Path,
    deadline: float,
    log: Checkpointer,
    notice: Callable[[str], object],
) -> bool:
    """Follow the log of one side file to its end, or to the deadline."""
    try:
        with reader(side) as opened:
            identity = identity_of(opened)
        taken = _take_pieces(main, side, identity, deadline, log)
        if taken is None or not remove(side, taken):
            return False
    except FileMissing:
        return True
    except NewerSchema:  # sealed: all of it was taken in, but it was not removed yet
        return _removed(side)
    except Unusable as error:
        if side not in _told:
            _told.add(side)
            notice(f"{side} cannot be taken in: {error}; it is left as it is")
        return False
    except (StorageError, OSError) as error:  # of the side file; perhaps it is open elsewhere
        if raised_by_handler(error):
            raise
        return False
    forget(main, identity)
    return True


def _take_pieces(  # loop apart
    main: sqlite3.Connection, side: Path, identity: str, deadline: float, log: Checkpointer
) -> int | None:
    """Return how far the log of a side file is taken in, None where the deadline came first."""
    while changes := read_changes(side, taken := taken_to(main, identity), CHANGES_AT_ONCE):
        _begin(main, deadline)
        _take_piece(main, identity, taken, changes)
        log.look()
        if monotonic() >= deadline:
            return None
    return taken


def _removed(side: Path) -> bool:
    with Suppress(StorageError, OSError):
        return remove(side)
    return False


def _begin(main: sqlite3.Connection, deadline: float) -> None:
    """Take the write lock, trying again if the connection itself does not wait."""
    # Without a deadline it is the connection of a command, which waits for seconds by itself.
    until = -math.inf if math.isinf(deadline) else deadline
    while_busy(lambda: main.execute("BEGIN IMMEDIATE"), until)


# What binding or storing a value raises that no recorder has written, never a busy or full file.
_OF_VALUES = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError),
    *(TypeError, ValueError, OverflowError, AttributeError, KeyError, RecursionError),
)


def _take_piece(
    main: sqlite3.Connection, identity: str, taken: int, changes: Iterable[Change]
) -> None:
    """Take in changes and commit, before recorders have to wait for too long."""
    try:
        if taken_to(main, identity) == taken:  # otherwise another process was faster
            MainRows(main, identity).take(changes)
        main.execute("COMMIT")
    except _OF_VALUES as error:
        if raised_by_handler(error):
            raise
        raise Unusable(f"a value in it fits nowhere ({error})") from error
    finally:
        if main.in_transaction:
            main.execute("ROLLBACK")
