"""Notices that the file has changed: one cheap look for all streams of a server."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader
from waxlocal.storage.paths import FileId, file_id
from waxlocal.storage.transaction import commits_of_others

__all__ = ["FileWatch"]

# Seconds between two looks, which take microseconds.
LOOK_S = 0.25
# Pages of the file are not read, except the first.
CACHE_KIB = 64

State = tuple[FileId | None, int, int]


class FileWatch:
    """Counts the changes of a file while somebody waits for them; for one event loop.

    `changed_at` is the time of the last change that was noticed, by `clock`.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.changed_at = clock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the file within the block; while nobody does, changes go unnoticed."""
        if not self._users:
            self.changed_at = self._clock()
            self._task = asyncio.create_task(self._keep_looking())
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and self._task is not None:
                self._task.cancel()

    async def wait(self, seconds: float) -> None:
        """Wait until the file has changed, or so many seconds."""
        waiter = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({waiter}, timeout=max(seconds, 0.0))
        finally:
            waiter.cancel()

    def wake(self) -> None:
        """Let all who wait go on, as if the file had changed."""
        self._news.set()
        self._news = asyncio.Event()

    async def _keep_looking(self) -> None:
        look = _Look(self._path)
        try:
            before = await asyncio.to_thread(look.state)
            while True:
                await asyncio.sleep(LOOK_S)
                now = await asyncio.to_thread(look.state)
                if now != before:
                    before, self.changed_at = now, self._clock()
                    self.wake()
        finally:
            look.close()


class _Look:
    """A connection of its own: the numbers of two connections cannot be compared."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileId | None = None
        self._closer: AbstractContextManager[sqlite3.Connection] | None = None
        self._connection: sqlite3.Connection | None = None
        # A look goes on in its thread when whoever waits for it is gone.
        self._lock = threading.Lock()
        self._ended = False

    def state(self) -> State:
        """Return what differs after each commit of others, and for another file at the path."""
        try:
            return self._looked()
        finally:
            if self._ended:
                self.close()

    def _looked(self) -> State:
        with self._lock:
            file = None if self._ended else file_id(self._path)
            if file is None or file != self._file:
                self._let_go()
                self._file = file
            if file is None:
                return None, 0, 0
            try:
                return file, _written_at(self._path), commits_of_others(self._open())
            except (StorageError, sqlite3.Error, OSError):
                self._let_go()  # the next look opens it again
                return file, 0, -1

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._closer = reader(self._path, cache_kib=CACHE_KIB)
            self._connection = self._closer.__enter__()
        return self._connection

    def _let_go(self) -> None:
        closer, self._closer, self._connection = self._closer, None, None
        if closer is not None:
            closer.__exit__(None, None, None)

    def close(self) -> None:
        """Close the connection for good; a look that is being made does so at its end.

        Whoever closes is in the event loop, and must not wait for it.
        """
        self._ended = True
        if self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()


def _written_at(path: Path) -> int:
    # A file that was opened without its log (in a directory that may not be written) does not tell
    # of commits.
    return path.stat().st_mtime_ns
