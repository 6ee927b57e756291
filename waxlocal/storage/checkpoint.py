"""Copies the write-ahead log back into the file while nobody can write.

SQLite starts a log anew once all of it has been copied. A checkpoint beside busy writers never gets
that far, because each of them has added to the log before it ends: eight of them made a log of 2 GB
in eight seconds. And before SQLite 3.51.3 a checkpoint can corrupt the file if a writer starts the
log anew at that very moment (https://sqlite.org/wal.html#walresetbug).

So every checkpoint of ours is made under the write lock: one connection holds the lock and writes
nothing, a second one copies. A process that is killed in between leaves what it left before: SQLite
notes how far the log was copied only after the copy is on the disk, and the system drops the lock.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.storage.paths import file_id, file_size
from waxlocal.storage.retry import REST_S, rest

__all__ = [
    "ALONE_BYTES",
    "COMMITS_PER_LOOK",
    "CONTENDED_BYTES",
    "Checkpointer",
    "LogKeeper",
    "log_size",
]

# Bytes of log at which a writer copies it back. docs/sqlite.md has the measurements behind both:
# alone it is better to do so often, as each time the writer itself has to wait; where writers wait
# for each other anyway, each checkpoint stops all of them, and fewer are better.
ALONE_BYTES = 4 * 1024 * 1024
CONTENDED_BYTES = 16 * 1024 * 1024
# A process that does not record does it early, in short pieces, so that none that records has to.
# More than `JOURNAL_SIZE_LIMIT`, to which the log is cut when it starts anew.
KEEPER_BYTES = 1024 * 1024
# How often it looks: while the log changes, and (doubling) when it has not changed for a while.
KEEPER_REST_S = (0.02, 1.0)
# To look at the size of the log takes a microsecond or two: too much for each commit.
COMMITS_PER_LOOK = 16
# If the log grew by this between two looks, the records are large: look after each commit.
LARGE_GROWTH = 4 * 1024 * 1024
# How long to try for the write lock. Whoever does not get it tries again at the next look.
LOCK_WAIT_S = 0.1
# Whoever reads an older state keeps the newer part of the log from being copied. Most often that is
# a writer that was refused the lock and has not had the processor since; it is gone in no time.
COPIES = 8
# While a reader stays, each checkpoint that copied only a part puts the next one off for longer.
PAUSE_S = (0.01, 0.25)

Open = Callable[[], sqlite3.Connection]


def log_size(path: Path) -> int:
    """Return the bytes of a file's log, 0 without one.

    More than is in use, where the log was longer before: it is cut when it starts anew.
    """
    return file_size(f"{path}-wal")


class Checkpointer:
    """Keeps the log of one file short, on two connections of its own.

    For one thread at a time. `open_` opens the file once more; it is called when a checkpoint is
    first due, and again after `close`, which must come before a fork.
    """

    def __init__(
        self,
        path: Path,
        open_: Open,
        *,
        lock_wait: float = LOCK_WAIT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._log = f"{path}-wal"
        self._open = open_
        self._lock_wait = lock_wait
        self._sleep = sleep
        # The one that holds the lock, and the one that copies.
        self._pair: tuple[sqlite3.Connection, sqlite3.Connection] | None = None
        self._size = 0
        self._pause = 0.0
        self._not_before = 0.0

    def look(self, limit: int = ALONE_BYTES) -> int:
        """Checkpoint if the log is longer than `limit`; return how many commits may come unseen.

        Raises nothing of SQLite's or ours: what cannot be copied now is copied later.
        """
        size = file_size(self._log)
        if size > limit and time.monotonic() >= self._not_before:
            try:
                self.run(limit)
            except (sqlite3.Error, StorageError, OSError):
                self._put_off()
        grown, self._size = size - self._size, size
        return 1 if grown > LARGE_GROWTH else COMMITS_PER_LOOK

    def run(self, limit: int = 0) -> bool:
        """Copy the log back if it is still longer than `limit` once nobody else can write.

        Return whether all of it was copied: not so if the lock cannot be had, or a reader is in the
        way. Raises `sqlite3.Error` or `StorageError`.
        """
        if self._pair is None:
            self._pair = (self._open(), self._open())
        holder, copier = self._pair
        try:
            if not self._lock(holder):
                return False
            # Somebody else may have done it while we waited, and the log may have started anew.
            return file_size(self._log) <= limit or self._copy(copier)
        except BaseException:
            self.close()  # lets go of the lock in any case
            raise
        finally:
            if self._pair is not None and holder.in_transaction:
                holder.execute("ROLLBACK")

    def _lock(self, holder: sqlite3.Connection) -> bool:
        deadline = time.monotonic() + self._lock_wait
        while True:
            try:
                holder.execute("BEGIN IMMEDIATE")
                return True
            except sqlite3.OperationalError:
                if time.monotonic() >= deadline:
                    return False
            rest(self._sleep)

    def _copy(self, copier: sqlite3.Connection) -> bool:
        for _ in range(COPIES):
            _, frames, copied = copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if copied == frames:
                self._pause = 0.0
                return True
            self._sleep(REST_S[1])
        self._put_off()
        return False

    def _put_off(self) -> None:
        self._pause = min(max(self._pause * 2, PAUSE_S[0]), PAUSE_S[1])
        self._not_before = time.monotonic() + self._pause

    def close(self) -> None:
        """Close the connections; the next checkpoint opens them again."""
        pair, self._pair = self._pair, None
        for connection in pair or ():
            connection.close()


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
        self._thread = threading.Thread(target=self._work, name="waxlocal-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and close the connections."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        shortest, longest = self._rest
        rest = longest
        seen = self._state()
        file = file_id(self._path)
        log = self._checkpointer()
        try:
            while not self._stop.wait(rest):
                before, seen = seen, self._state()
                rest = min(rest * 2, longest) if seen == before else shortest
                if seen is None or seen[1] <= self._limit:
                    continue
                if file != file_id(self._path):
                    file = file_id(self._path)
                    log.close()
                    log = self._checkpointer()
                log.look(self._limit)
        finally:
            log.close()

    def _state(self) -> tuple[int, int] | None:
        """Return the time of the log's last change and its size, None without one."""
        try:
            found = os.stat(f"{self._path}-wal")  # noqa: PTH116 (half the time of Path.stat)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
