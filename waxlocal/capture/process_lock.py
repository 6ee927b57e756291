"""A lock that a forked child finds free."""

from __future__ import annotations

import os
import threading

__all__ = ["ProcessLock"]


class ProcessLock:
    """A reentrant lock for the threads of one process: `with guard.lock`.

    At a fork another thread may hold it, which the child does not have: it would be held there for
    good, by nobody. So the child has a new one. For the life of the process: a fork keeps a
    reference.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # A thread that forks within a block leaves it by the old lock, in the child, too.
        self.lock = threading.RLock()
