"""A lock on the database itself, under whatever name it is opened.

The lock file is beside one name of the database. A hard link, or the file mounted alone into a
container, has another name in another directory; and a lock file can be deleted while it is locked.
The inode is the same for all of these. On Linux a byte of the file is locked. On other systems,
where flock(2) and SQLite would block each other, a file in the user's state directory is locked,
named by device and inode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from waxlocal.storage.paths import FileId, file_id, make_private_directory, state_directory
from waxlocal_daemon.file_lock import PLAIN, try_lock, unlock

__all__ = ["IdentityLock", "is_locked", "named_is_locked", "take_named"]

Release = Callable[[], None]
Take = Callable[[Path, FileId], Release | None]


def take_named(db: Path, identity: FileId) -> Release | None:
    """Lock the file that stands for a database; otherwise like `take_byte`."""
    path = _name(identity)
    make_private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o600)
    if not try_lock(descriptor):
        os.close(descriptor)
        return None

    def release() -> None:
        unlock(descriptor)
        os.close(descriptor)

    return release


def named_is_locked(db: Path, identity: FileId) -> bool:
    """Return whether a process holds that lock. Raises `OSError`."""
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
    """Keeps other uploaders away from the file at a path, also after it is replaced.

    For one thread.
    """

    def __init__(self, db: Path, take: Take = _take) -> None:
        self._db = db
        self._take = take
        self._identity: FileId | None = None
        self._release: Release | None = None

    def take(self) -> bool:
        """Lock the file now at the path; return False if another uploader holds it.

        Another file that was locked before is released. If there is no file, or it cannot be
        locked, nothing is locked; that is not an error.
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
        """Release the lock."""
        release, self._release, self._identity = self._release, None, None
        if release is not None:
            with suppress(OSError):
                release()
        _close_deleted()


def is_locked(db: Path) -> bool:
    """Return whether an uploader holds the file under any name; never waits."""
    identity = file_id(db)
    try:
        return identity is not None and _asked(db, identity)
    except OSError:
        return False
