"""Locks of an open file, which only Linux has (F_OFD_SETLK in fcntl(2)).

They are as POSIX locks to other processes, but closing another descriptor of the same file does
not drop them. Two that are taken by one descriptor are not in each other's way.
"""

from __future__ import annotations

import os
import sys

__all__ = ["Span", "is_locked", "lock", "unlock"]

# The first byte and how many.
Span = tuple[int, int]

if sys.platform == "linux":
    import fcntl
    import struct

    # Type, whence, start, length, pid; with the padding of the C compiler.
    _FLOCK = struct.Struct("hhqqi")

    def lock(descriptor: int, span: Span, *, shared: bool) -> None:
        """Lock bytes of an open file; never waits. Raises `OSError`."""
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(kind, span))

    def unlock(descriptor: int, span: Span) -> None:
        """Give the bytes back. Raises `OSError`."""
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, span))

    def is_locked(descriptor: int, span: Span) -> bool:
        """Return whether another open file has any lock on the bytes. Raises `OSError`."""
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, span))
        kind: int = _FLOCK.unpack_from(found)[0]
        return kind != fcntl.F_UNLCK

    def _flock(kind: int, span: Span) -> bytes:
        return _FLOCK.pack(kind, os.SEEK_SET, *span, 0)

else:

    def lock(descriptor: int, span: Span, *, shared: bool) -> None:
        """Raise `OSError`."""
        raise OSError("there are no such locks")

    def unlock(descriptor: int, span: Span) -> None:
        """Do nothing."""

    def is_locked(descriptor: int, span: Span) -> bool:
        """Return False."""
        return False
