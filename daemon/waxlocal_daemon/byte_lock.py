"""A lock on one byte of a database, on Linux; it holds under every name of the file.

The byte is far beyond those that SQLite locks (512 bytes at 1 GiB). The lock belongs to the open
file (`open_file_locks`), so it stays when SQLite closes a descriptor of the same file. The reverse
is not true, so the descriptor is one that is kept open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from waxlocal.storage import kept_files
from waxlocal.storage.kept_files import kept_open
from waxlocal.storage.open_file_locks import Span, is_locked, lock, unlock
from waxlocal.storage.paths import FileId

__all__ = ["byte_is_locked", "close_deleted", "take_byte"]

_BYTE: Span = (1 << 62, 1)

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
            lock(descriptor, _BYTE, shared=False)
        except (BlockingIOError, PermissionError):
            return None
        _held.add(identity)
    return lambda: _release(descriptor, identity)


def _release(descriptor: int, identity: FileId) -> None:
    with _gate:
        _held.discard(identity)
        unlock(descriptor, _BYTE)


def byte_is_locked(db: Path, identity: FileId) -> bool:
    """Return whether this or another process holds the lock. Raises `OSError`."""
    with _gate:
        return identity in _held or is_locked(kept_open(db, identity), _BYTE)


def close_deleted() -> None:
    """Close deleted files, but those whose lock is held."""
    with _gate:
        kept_files.close_deleted(_held)
