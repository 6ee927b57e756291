"""Receives signals in a thread.

A Python handler runs between two bytecodes of the main thread, so it could deadlock on a lock that
the main thread holds, such as that of an `Event`. Here the interpreter's C handler writes the
number of the signal to a socket (signal.set_wakeup_fd), and a thread reads it, even while the main
thread is inside a library. This works on Windows too, which has no signal masks.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, TracebackType

__all__ = ["RELOAD", "Signals"]

# The signal to read the settings again; Windows has none.
RELOAD = getattr(signal, "SIGHUP", None)
_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
TAKEN = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_OVER = b"\0"  # no signal has this number


class Signals:
    """Calls `on_signal` in another thread for SIGTERM, SIGINT and SIGHUP within the block.

    Enter it in the main thread: Python allows setting handlers only there.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal
        self._undo = ExitStack()
        self._thread = threading.Thread(target=self._take, name="waxlocal-signals", daemon=True)

    def __enter__(self) -> Signals:
        """Begin to receive the signals."""
        with ExitStack() as undo:
            self._reading, self._writing = socket.socketpair()
            undo.callback(self._reading.close)
            undo.callback(self._writing.close)
            self._writing.setblocking(False)
            self._thread.start()
            undo.callback(self._end)
            # A full socket already holds every kind of signal: no need to warn.
            before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
            undo.callback(signal.set_wakeup_fd, before)
            for number in TAKEN:
                undo.callback(signal.signal, number, signal.signal(number, _nothing))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the previous handlers."""
        self._undo.close()

    def _end(self) -> None:
        self._writing.setblocking(True)
        self._writing.sendall(_OVER)
        self._thread.join()

    def _take(self) -> None:
        while True:
            for number in self._reading.recv(64):
                if number == _OVER[0]:
                    return
                if number in TAKEN:
                    self._on_signal(signal.Signals(number))


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes the number only for signals with a handler."""
