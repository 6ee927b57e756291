"""Threads of a store that must not wait for it, so that what they record is kept for a moment.

The thread that copies the log can have the file locked, and whoever has the store can be waiting
for the file. A thread that forks would open the file again, or wait for another thread that waits
for the fork. Each of them can record: the collector runs finalizers there, and signals arrive.

The thread that ends the interpreter is a case of its own: Python has stopped all others, and what
one of them has is never given back.
"""

from __future__ import annotations

import sys
from _thread import RLock, get_ident
from collections.abc import Callable

__all__ = ["ApartThreads"]

_NOBODY = 0  # the id of no thread


class ApartThreads(set[int]):
    """The ids of those threads, for the store that has this lock.

    A plain set, and empty most of the time: then a record has nothing to ask. `write_kept` writes
    what the store has kept; `leave` has it go on without what a stopped thread has.
    """

    def __init__(
        self, lock: RLock, *, write_kept: Callable[[], None], leave: Callable[[], None]
    ) -> None:
        super().__init__()
        self._lock = lock
        self._write_kept = write_kept
        self._leave = leave

    def note(self, apart: bool) -> None:
        """Keep what this thread records apart, or no longer: then write what was kept."""
        if apart:
            self.add(get_ident())
        else:
            self.discard(get_ident())
            self._write_kept()

    def note_end(self) -> None:
        """Have each record ask from now on, as the interpreter is about to end."""
        self.add(_NOBODY)

    def has_this(self) -> bool:
        """Return whether what this thread records is to be kept; never at the end.

        There it has the store, or leaves it to the stopped thread that has it: no wait would help.
        """
        if not sys.is_finalizing():
            return get_ident() in self
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._leave()
        return False
