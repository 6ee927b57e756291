"""Descriptors of a database's files that stay open, so that SQLite's locks on them stay.

POSIX locks belong to a process and a file: closing any descriptor of the file drops those that
SQLite holds on it in this process (https://sqlite.org/howtocorrupt.html, section 2.2). So whoever
needs a descriptor of such a file gets it here, and never closes it. One for each file is kept, and
closed after the file was deleted.
"""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Container
from pathlib import Path

from waxlocal.signal_handlers import Suppress
from waxlocal.storage.around_forks import in_forked_child
from waxlocal.storage.paths import FileId, file_id

__all__ = ["close_deleted", "kept_open"]

_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0)  # should a pipe be at the path by now

# Reentrant: a signal handler of the program may record in the midst of this.
_gate = RLock()
_descriptors: dict[FileId, int] = {}


def kept_open(path: Path, identity: FileId) -> int:
    """Return the kept descriptor of a file, opening it if need be; never close it.

    Raises `OSError`, also if another file than `identity` is at the path.
    """
    with _gate:
        if _status(identity) is not None:
            return _descriptors[identity]
        if file_id(path) != identity:  # a second descriptor of that one could never be closed
            raise FileNotFoundError(path)
        try:
            descriptor = os.open(path, os.O_RDWR | _NEVER_WAIT)
        except PermissionError:  # reading is enough to check a lock, and to share one
            descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT)
        found = os.fstat(descriptor)
        # Stored under the opened file: it may have come to the path just now.
        _descriptors[found.st_dev, found.st_ino] = descriptor
        if identity not in _descriptors:
            raise FileNotFoundError(path)
        return descriptor


def close_deleted(in_use: Container[FileId] = ()) -> None:
    """Close deleted files, which take up space and cannot be opened again, but those in use."""
    with _gate:
        _close_deleted(in_use)


def _close_deleted(in_use: Container[FileId]) -> None:  # loop apart
    for identity in list(_descriptors):
        if identity in in_use:
            continue
        status = _status(identity)
        if status is not None and not status.st_nlink:
            os.close(_descriptors.pop(identity))


def _status(identity: FileId) -> os.stat_result | None:
    """Return the status of a kept file; None without one, and forget a descriptor that is lost.

    A program that becomes a daemon closes all that it finds, and what it opens next has the number.
    """
    with Suppress(OSError):
        status = os.fstat(_descriptors.get(identity, -1))
        if (status.st_dev, status.st_ino) == identity:
            return status
    _descriptors.pop(identity, None)
    return None


def _close_inherited() -> None:
    """Close, in a forked child, what shares its locks with the parent; SQLite has none here yet."""
    global _gate
    _gate = RLock()
    for identity in list(_descriptors):
        if _status(identity) is not None:
            os.close(_descriptors.pop(identity))


in_forked_child(_close_inherited)
