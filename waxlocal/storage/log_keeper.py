"""Threads that keep a file's log short, so that a program that records hardly ever waits for it."""

from __future__ import annotations

import os
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from pathlib import Path

from waxlocal.clock import monotonic
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage.checkpoint import LONG_BYTES, Checkpointer
from waxlocal.storage.log_file import LogFile, bounded, log_path
from waxlocal.storage.paths import file_id

__all__ = ["STOP_BYTES", "LogCopier", "LogKeeper"]

# A process that does not record does it earlier, so that none that records has to.
KEEPER_BYTES = 16 * 1024 * 1024
# How often it looks: while the log changes, and (doubling) when it has not changed for a while.
KEEPER_REST_S = (0.02, 1.0)
# Above this nobody adds to the log while somebody is copying it, but waits for a while: a program
# can write faster than a slow disk takes it. On a small disk it is twice the size at which the log
# is copied.
STOP_BYTES = 44 * 1024 * 1024
STOP_WAIT_S = 0.25
STOP_REST_S = 0.001


class LogCopier:
    """Copies the log back for a program that records, in a thread that lives only meanwhile.

    `look` and `close` are for one thread at a time. `close` must come before a fork. `on_copying`
    is called in that thread, with True before it begins and with False when it is done.
    """

    def __init__(
        self,
        path: Path,
        checkpointer: Checkpointer,
        *,
        on_copying: Callable[[bool], object] = bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._log = LogFile(log_path(path))
        self._checkpointer = checkpointer
        self._on_copying = on_copying
        self._sleep = sleep
        # Held while the checkpointer is in use.
        self._in_use = threading.Lock()
        # Of the thread that was started last: held until it is done.
        self._begun = threading.Lock()
        self._closed = False

    def look(self, limit: int = LONG_BYTES) -> None:
        """Have the log copied if more than `limit` bytes of it are in use, and nobody is at it.

        On a small disk the limit is `bounded`. Returns at once, unless the log is so long that
        nobody may add to it: then within 0.25 s. Raises nothing: what cannot be copied now is
        copied later.
        """
        with Suppress(OSError):
            limit = bounded(limit, self._path)
            if not self._log.is_longer(limit):
                return
            if not self._is_being_copied() and not self._checkpointer.is_put_off:
                self._start(limit)
            if self._log.is_longer(stop := min(STOP_BYTES, 2 * limit)):
                self._wait(stop)

    def _is_being_copied(self) -> bool:
        """Return whether this process, or another one, is copying the log."""
        return self._begun.locked() or self._log.is_taken()

    def _start(self, limit: int) -> None:
        begun = threading.Lock()
        begun.acquire()
        try:
            # Not a `threading.Thread`: an exception of a signal handler in the middle of its
            # `start` breaks it, and it waits until the thread runs.
            start_new_thread(self._work, (limit, begun))
            self._begun = begun
        except RuntimeError as error:  # no thread can be had, as while the interpreter ends
            if raised_by_handler(error):
                raise
            self._checkpointer.look(limit)

    def _work(self, limit: int, begun: threading.Lock) -> None:
        self._on_copying(True)
        try:
            # A signal handler can raise just before a thread is noted: then there may be two.
            if self._in_use.acquire(blocking=False):
                self._copy(limit)
        finally:
            begun.release()
            # After that, for whoever closes this may hold what is asked for now.
            self._on_copying(False)

    def _copy(self, limit: int) -> None:
        try:
            if not self._closed:
                self._checkpointer.look(limit)
        finally:
            if self._closed:  # a signal handler may have ended the wait for this
                self._checkpointer.close()
            self._in_use.release()

    def _wait(self, stop: int) -> None:
        deadline = monotonic() + STOP_WAIT_S
        while self._is_being_copied() and self._log.is_longer(stop) and monotonic() < deadline:
            self._sleep(STOP_REST_S)

    def close(self) -> None:
        """Close everything. A copy that is being made is broken off, and waited for.

        However long the disk takes: a child that is forked beside an open file of SQLite's records
        nothing any more. Not to be used again.
        """
        self._closed = True
        self._log.close()
        self._checkpointer.break_off()
        with self._begun, self._in_use:
            self._checkpointer.close()


class LogKeeper:
    """A thread that keeps a file's log short beside the programs that record into it.

    For `serve` and the daemon. It does not matter whether there is a file yet, or whether another
    one takes its place. `close` ends it.
    """

    def __init__(
        self,
        path: Path,
        checkpointer: Callable[[], Checkpointer],
        *,
        limit: int = KEEPER_BYTES,
        rest: tuple[float, float] = KEEPER_REST_S,
    ) -> None:
        self._path = path
        self._checkpointer = checkpointer
        self._limit = limit
        self._rest = rest
        self._stop = threading.Event()
        self._copier: Checkpointer  # opened by the thread, which alone uses it
        self._thread = threading.Thread(target=self._work, name="waxlocal-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and close the connections."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        before = self._state()
        self._copier = self._checkpointer()
        try:
            self._look_until_closed(before)
        finally:
            self._copier.close()

    def _look_until_closed(self, before: tuple[object, object]) -> None:  # loop apart
        shortest, longest = self._rest
        rest = longest
        while not self._stop.wait(rest):
            now = self._state()
            if now == before:
                rest = min(rest * 2, longest)
                continue
            rest = shortest
            if now[0] != before[0]:
                self._copier.close()
                self._copier = self._checkpointer()
            before = now
            self._copier.look(self._limit)

    def _state(self) -> tuple[object, object]:
        """Return which files are there, and the time of the log's last change."""
        try:
            found = os.stat(log_path(self._path))  # noqa: PTH116 (half the time of Path.stat)
        except OSError:
            return None, None
        return (file_id(self._path), found.st_dev, found.st_ino), found.st_mtime_ns
