"""A lock on a database itself, by whatever name it is opened.

The lock file lies beside one name of the database. A hard link, or the file mounted alone into a
container, has another name in another directory; and a lock file can be removed while it is held.
What all of these have in common is the inode. On Linux a byte of the file is locked. Elsewhere,
where flock(2) and SQLite would shut each other out, the lock is on a file of the user's, named by
device and inode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from waxlocal.storage.paths import FileId, file_id, state_directory
from waxlocal_daemon.file_lock import PLAIN, try_lock, unlock

__all__ = ["IdentityLock", "is_locked", "named_is_locked", "take_named"]

Release = Callable[[], None]
Take = Callable[[Path, FileId], Release | None]


def take_named(db: Path, identity: FileId) -> Release | None:
    """Lock the file of the user's that stands for a database; as `take_byte`."""
    path = _name(identity)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o600)
    if not try_lock(descriptor):
        os.close(descriptor)
        return None

    def release() -> None:
        unlock(descriptor)
        os.close(descriptor)

    return release


def named_is_locked(db: Path, identity: FileId) -> bool:
    """Return whether somebody holds that file of the user's. Raises `OSError`."""
    descriptor = os.open(_name(identity), os.O_RDWR | PLAIN)
    try:
        free = try_lock(descriptor, shared=True)
        if free:
            unlock(descriptor)
        return not free
    finally:
        os.close(descriptor)


def _name(identity: FileId) -> Path:
    device, inode = identity
    return state_directory() / "locks" / f"{device:x}-{inode:x}.lock"


if sys.platform == "linux":
    from waxlocal_daemon.byte_lock import byte_is_locked as _asked
    from waxlocal_daemon.byte_lock import close_deleted as _close_deleted
    from waxlocal_daemon.byte_lock import take_byte as _take
else:
    _asked, _take = named_is_locked, take_named

    def _close_deleted() -> None:
        pass


class IdentityLock:
    """Keeps other uploaders from the file at a path, also when another file takes its place.

    For one thread.
    """

    def __init__(self, db: Path, take: Take = _take) -> None:
        self._db = db
        self._take = take
        self._identity: FileId | None = None
        self._release: Release | None = None

    def take(self) -> bool:
        """Lock the file that is at the path now; return False if another uploader holds it.

        What was locked before, if it was another file, is free again. Where there is no file, or no
        lock to be had on it, nothing is locked, and that is not a failure.
        """
        identity = file_id(self._db)
        if identity is not None and identity == self._identity:
            return True
        self.release()
        if identity is None:
            return True
        try:
            self._release = self._take(self._db, identity)
        except OSError:
            return True
        self._identity = identity if self._release else None
        return self._release is not None

    def release(self) -> None:
        """Give the lock back."""
        release, self._release, self._identity = self._release, None, None
        if release is not None:
            with suppress(OSError):
                release()
        _close_deleted()


def is_locked(db: Path) -> bool:
    """Return whether an uploader holds the file, by whatever name; waits for nothing."""
    identity = file_id(db)
    try:
        return identity is not None and _asked(db, identity)
    except OSError:
        return False
