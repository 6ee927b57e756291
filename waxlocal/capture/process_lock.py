"""A lock that a forked child finds free."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from waxlocal.recording.notices import silence
from waxlocal.recording.recorder import current_recorder
from waxlocal.storage.around_forks import in_forked_child

__all__ = ["ProcessLock"]


class ProcessLock:
    """A reentrant lock for the threads of one process: `with guard.lock`, `held` to record in it.

    At a fork another thread may hold it, which the child does not have: it would be held there for
    good, by nobody. So the child has a new one. For the life of the process: a fork keeps a
    reference.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        in_forked_child(self._renew)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the block, and say what the recorder has to say after it.

        A log handler of the program may record, and wait for this lock with its own one held.
        """
        with silence(), self.lock:
            yield
        current_recorder().store.say_notices()

    def _renew(self) -> None:
        # A thread that forks within a block leaves it by the old lock, in the child, too.
        self.lock = threading.RLock()
