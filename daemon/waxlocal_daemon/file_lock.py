"""A lock on an open file, on POSIX and on Windows.

The system drops it when its holder dies, however it dies, so nothing has to be cleaned up. Not the
`filelock` package: it cannot ask without taking, keeps no word about the holder, and knows a file
by its path alone.
"""

from __future__ import annotations

import os
import sys

__all__ = ["PLAIN", "try_lock", "unlock"]

# How a file is opened that must be a plain one: a link is refused, a pipe does not block. Windows
# has neither flag, and a text mode that changes line ends.
PLAIN = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # fmt: skip

if sys.platform == "win32":
    import msvcrt

    # A locked byte cannot be read on Windows: this one is far behind any text.
    _BYTE = 1 << 30

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock the file; return whether that was possible. Locks are never shared here."""
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the lock back; closing the descriptor does so too, but later."""
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock the file, alone or among other shared locks; return whether that was possible.

        Waits for nothing. Raises `OSError` where the file system has no locks.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the lock back; closing the descriptor does so too."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
