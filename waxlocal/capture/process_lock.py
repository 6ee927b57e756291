"""A lock that a forked child finds free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from waxlocal.recording.notices import say_nothing_while
from waxlocal.recording.recorder import current_recorder
from waxlocal.storage.around_forks import in_forked_child

__all__ = ["ProcessLock"]

P = ParamSpec("P")
T = TypeVar("T")


class ProcessLock:
    """A reentrant lock for the threads of one process: `with guard.lock`, `alone` to record in it.

    At a fork another thread may hold it, which the child does not have: it would be held there for
    good, by nobody. So the child has a new one. For the life of the process: a fork keeps a
    reference.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        in_forked_child(self._renew)
        say_nothing_while(self._is_mine)

    def alone(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate what records while it is held; it says after it what the recorder has to say.

        A log handler of the program may record, and wait for this lock with its own one held. No
        context manager of ours: what a signal handler raises between its entry and the block would
        leave the lock held for as long as the traceback lives.
        """

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            store = current_recorder().store
            if store.is_held_here and not self._is_mine():
                return self._beside(function, *args, **kwargs)
            with self.lock:
                result = function(*args, **kwargs)
            store.say_notices()
            return result

        return call

    def _beside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function for a signal handler, or a finalizer, within a record of this thread.

        Another thread may have the lock and wait for this record to be over: then it is called
        without. What it writes waits for the end of that record anyway.
        """
        if not self.lock.acquire(blocking=False):
            return function(*args, **kwargs)
        try:
            return function(*args, **kwargs)
        finally:
            self.lock.release()

    def _is_mine(self) -> bool:
        """Return whether this thread holds it."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]

    def _renew(self) -> None:
        # A thread that forks within a block leaves it by the old lock, in the child, too.
        self.lock = threading.RLock()
