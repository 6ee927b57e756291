"""Forks of a process that records: files are closed before, and parent and child open them anew.

SQLite must have no handle on a file at the moment of a fork: the child would think it holds the
locks that only its parent holds (https://sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import sys
import time
from _thread import RLock, get_ident
from _weakrefset import WeakSet  # all of `weakref` takes a millisecond to import
from collections.abc import Callable
from typing import Protocol, cast

from waxlocal.clock import monotonic
from waxlocal.storage.around_forks import around_forks

__all__ = ["ForkGate", "Forking", "close_with_multiprocessing", "follow_forks"]

# How long a fork waits for a call of SQLite that another thread is in: for a disk that does not
# answer. Far longer than other forks take, which go first one by one, and on a busy machine need a
# second each.
FORK_WAIT_S = 30.0
# How often a thread that waits looks for the others.
POLL_S = 0.001


class Forking(Protocol):
    """What has to know of the forks of its process."""

    def before_fork(self) -> None:
        """Let go of the file, and keep it so until the fork is done, if that can be had.

        Called again where a signal handler has raised in it; so is the next one.
        """

    def after_fork_in_parent(self) -> None:
        """Go on, with whatever this thread has let go or held."""

    def after_fork_in_child(self) -> tuple[object, ...]:
        """Begin anew; return what could not be closed before the fork, to be kept for good."""


class _Lock(Protocol):
    """A reentrant lock, with the question that conditions ask it."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, once more if this thread has it."""

    def release(self) -> None:
        """Give it back, once."""

    def _is_owned(self) -> bool:
        """Return whether this thread has it."""


class ForkGate:
    """Lets threads fork while no other one is within a call of SQLite.

    A child that was forked beside such a call hangs in its own first one: the mutex that the other
    thread held is held for good, by nobody. So a fork waits for the lock of the store, under which
    all calls are made. A thread that holds it for long, because the file is locked, lets forks pass
    where it rests between two attempts.

    `enter` and `leave` can be called again where a signal handler has raised in the middle of them:
    the locks themselves know what this thread holds.
    """

    def __init__(self, lock: RLock) -> None:
        self._lock = cast(_Lock, lock)
        # Whether the thread that has the lock rests; held by a thread that forks meanwhile.
        self._rests = False
        self._beside = cast(_Lock, RLock())
        # Threads that fork, or wait for it; and whether they had the lock before.
        self._forking: dict[int, bool] = {}

    def is_owned(self) -> bool:
        """Return whether this thread has the lock of the store."""
        return self._lock._is_owned()

    def enter(self) -> bool:
        """Wait until this thread may fork; return False if a call never ends."""
        had_it = self._forking.setdefault(get_ident(), self._lock._is_owned())
        deadline = monotonic() + FORK_WAIT_S
        while not (had_it or self._lock._is_owned() or self._is_let_pass()):
            if not self._lock.acquire(timeout=POLL_S) and monotonic() > deadline:
                self._forking.pop(get_ident(), None)
                return False
        return True

    def _is_let_pass(self) -> bool:
        if not self._beside._is_owned():
            self._beside.acquire(blocking=False)
        if self._beside._is_owned() and not self._rests:
            self._beside.release()
        return self._beside._is_owned()

    def leave(self) -> None:
        """Let the others go on, if this thread keeps them."""
        if self._beside._is_owned():
            self._beside.release()
        elif self._lock._is_owned() and not self._forking.get(get_ident(), True):
            self._lock.release()
        self._forking.pop(get_ident(), None)

    def let_pass(self, close: Callable[[], None], sleep: Callable[[float], None]) -> None:
        """Let other threads fork; for the one that has the lock, between two calls of SQLite.

        `close` closes the file, which has to be so at a fork.
        """
        if not self._forking:
            return
        close()
        self._rests = True
        try:
            self._wait_for_forks(sleep)
        finally:
            self._rests = False
            self._beside.acquire()  # once whoever forks now is done
            self._beside.release()

    def _wait_for_forks(self, sleep: Callable[[float], None]) -> None:  # loop apart
        deadline = monotonic() + FORK_WAIT_S
        while self._forking and monotonic() < deadline:
            sleep(POLL_S)


_following: WeakSet[Forking] = WeakSet()
# The threads that are forking, several perhaps at once.
_forking: set[int] = set()
# Connections that could not be closed before a fork. The child must not close them either: it
# would undo, in the shared memory of the WAL, what the parent is just writing.
_inherited: list[object] = []


def follow_forks(store: Forking) -> None:
    """Tell a store of each fork of this process, for as long as there is the store.

    Returns when the forks are done that were under way: they have not asked this store, and must
    not meet its first call of SQLite.
    """
    _following.add(store)
    under_way = _forking - {get_ident()}
    deadline = monotonic() + FORK_WAIT_S
    while under_way & _forking and monotonic() < deadline:
        time.sleep(POLL_S)


def close_with_multiprocessing(close: Callable[[], None]) -> None:
    """Have what waits written at the end of a multiprocessing child, which runs no atexit."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)


def _before_fork() -> None:
    _forking.add(get_ident())
    for store in list(_following):
        store.before_fork()


def _after_fork_in_parent() -> None:
    for store in list(_following):
        store.after_fork_in_parent()
    _forking.discard(get_ident())


def _after_fork_in_child() -> None:
    _forking.clear()
    for store in list(_following):
        _inherited.extend(store.after_fork_in_child())


around_forks(_before_fork, _after_fork_in_parent, _after_fork_in_child)
