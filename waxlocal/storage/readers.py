"""The connections that are open for the length of a block, which forks of this process wait for.

SQLite must have no handle on a file when the process forks: the child would inherit its table of
locks, and act as if it held the locks of its parent, so that both could write at the same time.
https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
"""

from __future__ import annotations

import sqlite3
import threading
from _thread import get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import monotonic
from waxlocal.errors import FileLocked
from waxlocal.storage.around_forks import around_forks
from waxlocal.storage.paths import file_id

__all__ = ["registered", "set_resting"]

# How long a fork waits for a connection that is open: longer than any query here takes.
FORK_WAIT_S = 2.0
# And for one that is being opened, which itself waits up to 5 seconds for a locked file.
OPENING_WAIT_S = 10.0
# How long a new file waits for what reads the one before it.
REPLACED_WAIT_S = 5.0


class _Use:
    """A file that is being opened by a thread, or is open."""

    __slots__ = ("connection", "file", "is_open", "path", "rests", "thread")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = file_id(path)
        self.thread = get_ident()
        self.is_open = False
        self.connection: sqlite3.Connection | None = None
        self.rests = False

    def is_in_the_way_of(self, other: _Use) -> bool:
        """Return whether it is of a file that was at the path before the one of `other`.

        Which one is not known (None) where the file was still to be made. A connection that rests
        reads nothing.
        """
        if self.rests:
            return False
        is_older = self.file != other.file and None not in (self.file, other.file)
        return self.path == other.path and is_older and self.thread != other.thread


class _Fork(NamedTuple):
    """A fork that a thread is about to make: since when, and whether it held the gate before."""

    began: float
    had_gate: bool


# Guards what follows. Nothing is opened or closed under it: that may take seconds, in which no
# other thread could open or close its own.
_gate = threading.Condition()
_uses: set[_Use] = set()
# Threads that are about to fork: no new connection until they have.
_forking: set[int] = set()
_forks: dict[int, _Fork] = {}


@contextmanager
def registered(path: Path, open_: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
    """Open a connection for the block; forks wait until it is closed, and it waits for them.

    It also waits, for as long as a command does, until no connection is open to a file that was at
    this path before: the log beside it, and the memory that connections to it share, now belong to
    the new file, and the first connection to that cuts them off. What another thread reads there at
    this moment ends the process (SIGBUS). Raises `FileLocked` if it waits in vain.
    """
    gate, use = _gate, _Use(path)  # after a fork the child has another gate, within this block, too
    try:
        with gate:
            gate.wait_for(lambda: _forking <= {use.thread}, OPENING_WAIT_S)
            if not gate.wait_for(lambda: not _is_barred(use), REPLACED_WAIT_S):
                raise FileLocked(f"{path} was replaced, and the file before it is still in use")
            _uses.add(use)
        connection = open_()
        try:
            file = file_id(path)
            with gate:
                use.is_open, use.file, use.connection = True, file, connection
                gate.notify_all()
            yield connection
        finally:
            connection.close()
    finally:
        with gate:
            _uses.discard(use)
            gate.notify_all()


def set_resting(connection: sqlite3.Connection, rests: bool) -> None:
    """Note that a registered connection is kept without being used, or is used again.

    Whoever uses it again then looks whether its file is still the one at the path.
    """
    with _gate:
        _mark(connection, rests)
        _gate.notify_all()


def _mark(connection: sqlite3.Connection, rests: bool) -> None:  # loop apart
    for use in _uses:
        if use.connection is connection:
            use.rests = rests


def _is_barred(use: _Use) -> bool:
    return any(other.is_in_the_way_of(use) for other in _uses)


def _before_fork() -> None:
    """Wait until open connections are closed, and keep new ones out until the fork is done."""
    # Noted first, and once: this is called again after a signal handler has raised in it.
    fork = _forks.setdefault(get_ident(), _Fork(monotonic(), _has_gate()))
    _forking.add(get_ident())
    if not _has_gate():
        _gate.acquire()
    while (left := fork.began + _longest_wait() - monotonic()) > 0:
        _gate.wait(left)


def _longest_wait() -> float:
    """Return how long a fork waits for what is in use now, counted from its beginning.

    Not for what this thread itself is opening: it forks in a signal handler, in the midst of that.
    """
    me = get_ident()
    waits = (FORK_WAIT_S if use.is_open else OPENING_WAIT_S
             for use in _uses if use.is_open or use.thread != me)  # fmt: skip
    return max(waits, default=0.0)


def _after_fork_in_parent() -> None:
    _forking.discard(get_ident())
    fork = _forks.get(get_ident())
    if fork and _has_gate():
        _gate.notify_all()
        if not fork.had_gate:
            _gate.release()
    # Last, or a second call would not know whether to release the gate.
    _forks.pop(get_ident(), None)


def _after_fork_in_child() -> None:
    global _gate
    _gate = threading.Condition()
    _forking.clear()
    _forks.clear()
    _uses.clear()


def _has_gate() -> bool:
    return bool(_gate._is_owned())  # type: ignore[attr-defined]


around_forks(_before_fork, _after_fork_in_parent, _after_fork_in_child)
