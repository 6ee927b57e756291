"""Whether the file system that a file is on has locks; without them SQLite says "locked"."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from waxlocal.storage.paths import beside

__all__ = ["NO_LOCKS", "has_no_locks"]

# How a system says so: ENOLCK where the lock service of NFS does not run, the others where the file
# system does not know locks at all.
NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP))

if sys.platform == "win32":

    def has_no_locks(path: Path) -> bool:
        """Return False: all of its file systems have locks."""
        return False

else:
    import fcntl

    # The paths beside which a lock was had: behind one that lasts, each record asks anew.
    _WITH_LOCKS: set[Path] = set()

    def has_no_locks(path: Path) -> bool:
        """Return whether no file beside this one can be locked, as SQLite locks; False if unknown.

        SQLite takes ENOLCK for a lock of another process. Tried with a file of its own: to close
        any descriptor of the database would release the locks that this process has on it.
        """
        if path in _WITH_LOCKS:
            return False
        tried = beside(path, f".locks-{os.getpid()}")
        try:
            descriptor = os.open(tried, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in NO_LOCKS
        finally:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(tried)  # noqa: PTH108 (no frame of pathlib between)
        _WITH_LOCKS.add(path)
        return False
