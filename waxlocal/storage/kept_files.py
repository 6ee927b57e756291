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

from waxlocal.storage.around_forks import around_forks
from waxlocal.storage.paths import FileId

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
        if identity in _descriptors:
            return _descriptors[identity]
        try:
            descriptor = os.open(path, os.O_RDWR | _NEVER_WAIT)
        except PermissionError:  # reading is enough to check a lock, and to share one
            descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT)
        found = os.fstat(descriptor)
        # Stored under the opened file: it may have replaced the one that `identity` names.
        _descriptors[found.st_dev, found.st_ino] = descriptor
        if identity not in _descriptors:
            raise FileNotFoundError(path)
        return descriptor


def close_deleted(in_use: Container[FileId] = ()) -> None:
    """Close deleted files, which take up space and cannot be opened again, but those in use."""
    with _gate:
        for identity, descriptor in list(_descriptors.items()):
            if identity not in in_use and not os.fstat(descriptor).st_nlink:
                del _descriptors[identity]
                os.close(descriptor)


def _close_inherited() -> None:
    """Close, in a forked child, what shares its locks with the parent; SQLite has none here yet."""
    global _gate
    _gate = RLock()
    while _descriptors:
        os.close(_descriptors.popitem()[1])


around_forks(bool, bool, _close_inherited)
