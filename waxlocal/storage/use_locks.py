"""Locks that say of a file that it is in use, on Linux; they stay, whatever the program reads.

SQLite has two such locks while a connection is open: one on the file, so that nobody who closes it
deletes the log, and one on the log's index, so that nobody who opens it cuts that to nothing. They
are POSIX locks: a program that opens its own database like any other file, as an agent that
searches all files of its directory, or a backup, and closes it again has lost both. The next
command beside it then deletes the log that the program is writing, or cuts what it has mapped into
its memory, which ends it with SIGBUS.

So a program that records locks the same bytes once more, by locks that belong to the open file
(`open_file_locks`). Other processes cannot tell them from SQLite's own.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from waxlocal.signal_handlers import Suppress
from waxlocal.storage.around_forks import in_forked_child
from waxlocal.storage.kept_files import close_deleted, kept_open
from waxlocal.storage.open_file_locks import Span, lock, unlock
from waxlocal.storage.paths import FileId, beside, file_id

__all__ = ["UseLocks"]

# Which file, first byte and length: what a reader of the file locks (SHARED_FIRST and SHARED_SIZE
# in SQLite's os.h), and the "dead man's switch" of the index (UNIX_SHM_DMS in os_unix.c).
_LOCKED: tuple[tuple[str, Span], ...] = ()
if sys.platform == "linux":
    _LOCKED = (("", (0x4000_0002, 510)), ("-shm", (128, 1)))

# How many of this process say so of a file: they share its descriptor, and so its locks.
_holders: Counter[FileId] = Counter()
in_forked_child(_holders.clear)  # what the child inherits are the parent's locks


class UseLocks:
    """The locks for one connection to a file; for one thread at a time.

    Taken while the connection is open, and dropped just before it is closed: with them, SQLite
    would take this process for another one that still has the file open.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Path, FileId, Span]] = []

    def take(self, path: Path) -> None:
        """Lock a file that is open, as far as that is possible; never waits, raises nothing."""
        for ending, span in _LOCKED:
            name = beside(path, ending)
            identity = file_id(name)
            if identity is None:
                continue
            with Suppress(OSError):  # no descriptor left, or a file system without such locks
                lock(kept_open(name, identity), span, shared=True)
                self._held.append((name, identity, span))
                _holders[identity] += 1

    def drop(self) -> None:
        """Give the locks back; does nothing without any."""
        while self._held:
            name, identity, span = self._held.pop()
            _holders[identity] -= 1
            if _holders[identity] <= 0:
                del _holders[identity]
                with Suppress(OSError):
                    unlock(kept_open(name, identity), span)

    def close_deleted(self) -> None:
        """Close what is kept of files that were deleted, as the log's index is by the last one."""
        close_deleted(_holders)
