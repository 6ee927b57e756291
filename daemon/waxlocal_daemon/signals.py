"""Signals, taken by a thread that waits for them.

A handler would run between any two bytecodes of the main thread, and so could wait for a lock that
this very thread holds, that of an `Event` for example. Blocked signals wait until the thread here
takes them, also while the main thread is inside a library.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

__all__ = ["Signals"]

TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Calls `on_signal`, in another thread, for SIGTERM, SIGINT and SIGHUP within the block.

    Enter it in the main thread before any other thread begins: those inherit what is blocked.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal
        self._over = False
        self._before: set[int] = set()
        self._thread = threading.Thread(target=self._take, name="waxlocal-signals", daemon=True)

    def __enter__(self) -> Signals:
        """Block the signals and begin to take them."""
        self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back; one that came too late is dropped."""
        self._over = True
        if self._thread.ident is not None and self._thread.is_alive():
            with suppress(ProcessLookupError):  # it has just taken a last signal
                signal.pthread_kill(self._thread.ident, signal.SIGHUP)
        self._thread.join()
        while waiting := signal.sigpending() & set(TAKEN):
            signal.sigwait(waiting)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def _take(self) -> None:
        while True:
            taken = signal.sigwait(TAKEN)
            if self._over:
                return
            self._on_signal(signal.Signals(taken))
