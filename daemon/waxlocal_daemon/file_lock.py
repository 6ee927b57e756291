"""A lock on an open file, on POSIX and Windows.

The system releases it when the holder exits for any reason, so nothing has to be cleaned up. The
`filelock` package would not do: it cannot check a lock without taking it, does not name the holder,
and knows a file only by its path.
"""

from __future__ import annotations

import os
import sys

__all__ = ["PLAIN", "try_lock", "unlock"]

# Flags to open a plain file: a link is refused, a pipe does not block. Windows has neither of these
# flags, but a text mode that changes line endings.
PLAIN = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # fmt: skip

if sys.platform == "win32":
    import msvcrt

    # Windows forbids reading a locked byte; this one is far beyond the text.
    _BYTE = 1 << 30

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock the file; return whether that succeeded. Locks are never shared here."""
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock; closing the descriptor does so too, but later."""
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock the file, exclusively or shared; return whether that succeeded.

        Never waits. Raises `OSError` if the file system does not support locks.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Release the lock; closing the descriptor does so too."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
