"""The thread that writes a backlog; it lives only as long as there is one."""

from __future__ import annotations

import sys
import threading
from _thread import RLock
from collections.abc import Callable

from waxlocal.recording.forks import close_with_multiprocessing
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["BacklogThread"]

# How often the thread tries to write what waits.
BACKLOG_RETRY_S = 0.25


class BacklogThread:
    """Writes what waits in a store, from time to time, until nothing does.

    `lock` is that of the store, `waits` says whether anything does. `drain` writes what waits;
    where it could, it calls what it is given while the store is held, and returns True. `close`
    closes the store, for processes that run no other code at their end.
    """

    def __init__(
        self,
        lock: RLock,
        *,
        waits: Callable[[], bool],
        drain: Callable[[Callable[[], None]], bool],
        close: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._waits = waits
        self._drain = drain
        self._close = close
        self._thread: threading.Thread | None = None
        # While the store is being closed, which writes what waits.
        self.closing = threading.Event()

    def start(self) -> None:
        """Start the thread, unless there is one, nothing waits, or the store is being closed.

        The thread and the closing each ask for another one when they are done: what was kept
        meanwhile has none.
        """
        if not self._waits() or self._thread is not None or self.closing.is_set():
            return
        if sys.is_finalizing():  # before Python 3.12 the start would wait for ever
            return
        try:
            self._thread = self._started()
        except BaseException as error:
            if not isinstance(error, RuntimeError) or raised_by_handler(error):
                # A signal handler has struck. Should the first run all the same, two do no harm.
                self._thread = self._started()
                raise
            # No more threads, as the interpreter shuts down; the closing will try.
        close_with_multiprocessing(self._close)

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="waxlocal-backlog", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while not self.closing.wait(BACKLOG_RETRY_S):
            if self._drain(self._forget):
                return
        with self._lock:
            self._forget()
            self.start()

    def _forget(self) -> None:
        """Let the next unit that is kept start another thread; while the store is held."""
        self._thread = None
