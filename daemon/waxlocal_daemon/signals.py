"""Signals, handed to a thread.

A handler would run between any two bytecodes of the main thread, and so could wait for a lock that
this very thread holds, that of an `Event` for example. Here the interpreter's own handler, which is
C, writes the number into a socket (signal.set_wakeup_fd), and a thread reads it there, also while
the main thread is inside a library. Works on Windows too, which has no signal masks.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType, TracebackType

__all__ = ["RELOAD", "Signals"]

# Rereads the settings. Windows has no such signal.
RELOAD = getattr(signal, "SIGHUP", None)
_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
TAKEN = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_OVER = b"\0"  # no signal has this number


class Signals:
    """Calls `on_signal`, in another thread, for SIGTERM, SIGINT and SIGHUP within the block.

    Enter it in the main thread: only there may handlers be set.
    """

    def __init__(self, on_signal: Callable[[signal.Signals], None]) -> None:
        self._on_signal = on_signal
        self._undo = ExitStack()
        self._thread = threading.Thread(target=self._take, name="waxlocal-signals", daemon=True)

    def __enter__(self) -> Signals:
        """Begin to take the signals."""
        with ExitStack() as undo:
            self._reading, self._writing = socket.socketpair()
            undo.callback(self._reading.close)
            undo.callback(self._writing.close)
            self._writing.setblocking(False)
            self._thread.start()
            undo.callback(self._end)
            # More signals than the socket holds are the same few again.
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
        """Give the signals back."""
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
    """Stand in for a handler, without which no number would be written."""
