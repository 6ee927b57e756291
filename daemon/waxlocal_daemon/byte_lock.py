"""A lock on one byte of a database, on Linux; it holds under every name of the file.

The byte is far beyond those that SQLite locks (512 bytes at 1 GiB). The lock belongs to the open
file description (F_OFD_SETLK in fcntl(2)), so it stays when SQLite closes a descriptor of the same
file. The reverse is not true, so the descriptor is one that is kept open.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from waxlocal.storage import kept_files
from waxlocal.storage.kept_files import kept_open
from waxlocal.storage.paths import FileId

if sys.platform != "linux":
    raise ImportError("only Linux has these locks, and struct flock differs elsewhere")

__all__ = ["byte_is_locked", "close_deleted", "take_byte"]

_BYTE = 1 << 62
# Type, whence, start, length, pid; with the padding of the C compiler.
_FLOCK = struct.Struct("hhqqi")

_gate = threading.Lock()
# The system would grant a second lock on the same open file description.
_held: set[FileId] = set()


def take_byte(db: Path, identity: FileId) -> Callable[[], None] | None:
    """Lock the database; return the function that releases the lock, None if it is held.

    Never waits. Raises `OSError` if the file cannot be opened or locked.
    """
    with _gate:
        if identity in _held:
            return None
        descriptor = kept_open(db, identity)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):
            return None
        _held.add(identity)
    return lambda: _release(descriptor, identity)


def _release(descriptor: int, identity: FileId) -> None:
    with _gate:
        _held.discard(identity)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK))


def byte_is_locked(db: Path, identity: FileId) -> bool:
    """Return whether this or another process holds the lock. Raises `OSError`."""
    with _gate:
        if identity in _held:
            return True
        asked = _flock(fcntl.F_WRLCK)
        found = fcntl.fcntl(kept_open(db, identity), fcntl.F_OFD_GETLK, asked)
    kind: int = _FLOCK.unpack_from(found)[0]
    return kind != fcntl.F_UNLCK


def close_deleted() -> None:
    """Close deleted files, but those whose lock is held."""
    with _gate:
        kept_files.close_deleted(_held)


def _flock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, _BYTE, 1, 0)
