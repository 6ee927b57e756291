"""Copies the write-ahead log back into the file while nobody can write.

SQLite starts a log anew once all of it has been copied. A checkpoint beside busy writers never gets
that far, because each of them has added to the log before it ends: eight of them made a log of 2 GB
in eight seconds. And before SQLite 3.51.3 a checkpoint can corrupt the file if a writer starts the
log anew at that very moment (https://sqlite.org/wal.html#walresetbug).

So every checkpoint of ours is made under the write lock: one connection holds the lock and writes
nothing, a second one copies. A process that is killed in between leaves nothing to repair: SQLite
notes how far the log was copied only after the copy is on the disk, and the system drops the lock.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from waxlocal.errors import StorageError
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage.paths import beside, file_id, file_size
from waxlocal.storage.retry import REST_S, while_busy
from waxlocal.storage.transaction import begin

__all__ = [
    "COMMITS_PER_LOOK",
    "LONG_BYTES",
    "LOOK_S",
    "Checkpointer",
    "LogKeeper",
    "is_being_copied",
    "log_changed_ns",
    "log_path",
    "log_size",
]

# Bytes of log at which a writer copies it back. What takes time in a checkpoint are the syncs: with
# a six times longer log it takes hardly longer, and one record in six times as many meets it.
# Not more, for the next process reads all of it after a crash (30 ms), and writers add to it while
# a slow disk syncs, to not more than 64 MB.
LONG_BYTES = 24 * 1024 * 1024
# A process that does not record does it earlier, so that none that records has to.
KEEPER_BYTES = 16 * 1024 * 1024
# How often it looks: while the log changes, and (doubling) when it has not changed for a while.
KEEPER_REST_S = (0.02, 1.0)
# How often a recorder looks while it writes. A look takes a microsecond or two, too much for each
# commit; and by time, not by commits, for a record can have many MB: this is how long the log grows
# unseen, whatever is written.
LOOK_S = 0.005
# Who sends writes little at a time.
COMMITS_PER_LOOK = 16
# Above this nobody adds to the log while somebody is copying it, but waits for up to a while.
STOP_BYTES = 44 * 1024 * 1024
TURN_WAIT_S = 0.25
TURN_REST_S = 0.001
# How long to try for the write lock. Whoever does not get it tries again at the next look.
LOCK_WAIT_S = 0.1
# Whoever reads an older state keeps the newer part of the log from being copied. Most often that is
# a writer that was refused the lock and has not had the processor since; it is gone in no time.
COPIES = 8
# While a reader stays, each checkpoint that copied only a part puts the next one off for longer.
PAUSE_S = (0.01, 0.25)

# The log begins with a header of 32 bytes: page size in bytes 8 to 11, two salts in 16 to 23. Then
# come frames: 24 bytes, the salts among them in bytes 8 to 15, and a page
# (https://sqlite.org/fileformat2.html#walformat).
_HEADER, _FRAME_HEADER = 32, 24

Open = Callable[[], sqlite3.Connection]


def log_path(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return beside(path, "-wal")


def log_size(path: Path) -> int:
    """Return the bytes that a file's log takes on the disk, 0 without one."""
    return file_size(log_path(path))


def log_changed_ns(path: Path) -> int:
    """Return when a file's log was last written to, in nanoseconds since 1970; 0 without one."""
    try:
        return os.stat(log_path(path)).st_mtime_ns  # noqa: PTH116 (half the time of Path.stat)
    except OSError as error:
        if raised_by_handler(error):
            raise
        return 0


def is_being_copied(path: Path) -> bool:
    """Return whether somebody is copying a file's log back, and may hold the write lock for it."""
    log = _Log(log_path(path))
    try:
        log.open()
        return not log.take_turn()
    except OSError as error:
        if raised_by_handler(error):
            raise
        return False
    finally:
        log.close()  # lets go of the turn


class _Log:
    """The file of a log, kept open, and how much of it is in use.

    It is written over from its start once it has been copied, so its size says little; but each new
    start has new salts. SQLite has no locks on this file that closing it would drop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def open(self) -> int:
        """Return the open file. Raises `OSError`."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        return self._file

    def is_longer(self, limit: int) -> bool:
        """Return whether more than `limit` bytes are in use. Raises `OSError`."""
        file = self.open()
        header = _read(file, _HEADER, 0)
        frame = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
        # The last frame that ends within the limit, and after it the one that must not be there.
        start = _HEADER + max(limit - _HEADER, 0) // frame * frame
        return len(header) == _HEADER and _read(file, 8, start + 8) == header[16:24]

    def take_turn(self) -> bool:
        """Return whether nobody else is copying this log; keeps others off until `end_turn`."""
        return self._file is not None and _try_lock(self._file)

    def end_turn(self) -> None:
        if self._file is not None:
            _unlock(self._file)

    def sync(self) -> None:
        """Bring the log to the disk. Raises `OSError`."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


if sys.platform == "win32":

    def _read(file: int, size: int, offset: int) -> bytes:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size)

    def _try_lock(_file: int) -> bool:
        return True  # nobody could write what is locked there; several may do the same work

    def _unlock(_file: int) -> None:
        pass

else:
    import fcntl

    _read = os.pread

    def _try_lock(file: int) -> bool:
        """Take a lock of the open file, which goes with the process and is none of SQLite's."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without such locks
            if raised_by_handler(error):
                raise
            return True
        return True

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


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
        self._log = _Log(log_path(path))
        self._open = open_
        self._lock_wait = lock_wait
        self._sleep = sleep
        # The one that holds the lock, and the one that copies.
        self._pair: tuple[sqlite3.Connection, sqlite3.Connection] | None = None
        # Whether all of the log was copied at the last checkpoint.
        self._copied = False
        self._pause = 0.0
        self._not_before = 0.0

    def look(self, limit: int = LONG_BYTES) -> None:
        """Checkpoint if more than `limit` bytes of the log are in use.

        Raises nothing of SQLite's, the system's or ours: what cannot be copied now is copied later.
        """
        try:
            if self._log.is_longer(limit) and time.monotonic() >= self._not_before:
                self.run(limit)
        except FileNotFoundError:
            pass  # nothing was written since the file was last closed by all
        except (sqlite3.Error, OSError, StorageError) as error:
            if raised_by_handler(error):  # a TimeoutError is an OSError
                raise
            self._put_off()

    def run(self, limit: int = 0) -> bool:
        """Copy the log back if it is still longer than `limit` once nobody else can write.

        Return whether all of it was copied: not so if somebody else is at it, if the lock cannot be
        had, or if a reader is in the way. Raises `sqlite3.Error`, `OSError` or `StorageError`.
        """
        if not self._log.is_longer(limit):
            return True
        if not self._take_turn():
            return False
        try:
            if not self._log.is_longer(limit):
                return True  # somebody else has done it while we waited
            # A checkpoint syncs the log first, which takes most of its time: here it stops nobody.
            self._log.sync()
            if self._pair is None:
                self._pair = self._open_pair()
            return self._copy_locked(*self._pair, limit)
        finally:
            self._log.end_turn()

    def _take_turn(self) -> bool:
        """Return whether it is ours to copy; while the log is very long, wait for whoever is at it.

        Others go on writing meanwhile, faster than a slow disk can take it.
        """
        deadline = time.monotonic() + TURN_WAIT_S
        while not self._log.take_turn():
            if time.monotonic() >= deadline or not self._log.is_longer(STOP_BYTES):
                return False
            self._sleep(TURN_REST_S)
        return True

    def _open_pair(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        holder = self._open()
        try:
            return holder, self._open()
        except BaseException:
            holder.close()
            raise

    def _copy_locked(
        self, holder: sqlite3.Connection, copier: sqlite3.Connection, limit: int
    ) -> bool:
        try:
            if not self._lock(holder):
                return False
            # Another program may have done it while we waited, and the log may have started anew.
            return not self._log.is_longer(limit) or self._copy(copier)
        except BaseException:
            self._close_pair()  # lets go of the lock in any case
            raise
        finally:
            if self._pair is not None and holder.in_transaction:
                holder.execute("ROLLBACK")

    def _lock(self, holder: sqlite3.Connection) -> bool:
        deadline = time.monotonic() + self._lock_wait
        try:
            while_busy(lambda: begin(holder), deadline, sleep=self._sleep)
        except sqlite3.OperationalError:
            return False
        return True

    def _copy(self, copier: sqlite3.Connection) -> bool:
        for _ in range(COPIES):
            _, frames, copied = copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if copied == frames:
                self._pause = 0.0
                self._copied = True
                return True
            self._sleep(REST_S[1])
        self._put_off()
        return False

    def start_anew(self, limit: int) -> None:
        """Let a log that was copied start anew, if nobody has written to the file since.

        Whoever writes next does that, and syncs the new header of the log before anything else: a
        program that records need not be the one that waits for the disk. Raises nothing, as `look`.
        """
        try:
            if self._copied and self._pair is not None and self._log.is_longer(limit):
                self._write_nothing(self._pair[0])
        except (sqlite3.Error, OSError) as error:
            self._close_pair()
            if raised_by_handler(error):
                raise
        self._copied = False

    def _write_nothing(self, holder: sqlite3.Connection) -> None:
        """Commit a page that says what it said before."""
        if self._lock(holder):
            (version,) = holder.execute("PRAGMA user_version").fetchone()
            holder.execute(f"PRAGMA user_version = {int(version)}")
            holder.execute("COMMIT")

    def _put_off(self) -> None:
        self._pause = min(max(self._pause * 2, PAUSE_S[0]), PAUSE_S[1])
        self._not_before = time.monotonic() + self._pause

    def close(self) -> None:
        """Close everything; the next look opens it again."""
        self._close_pair()
        self._log.close()

    def _close_pair(self) -> None:
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
        file, seen = self._state()
        log = self._checkpointer()
        try:
            while not self._stop.wait(rest):
                before = file, seen
                file, seen = self._state()
                if (file, seen) == before:
                    rest = min(rest * 2, longest)
                    continue
                rest = shortest
                if file != before[0]:
                    log.close()
                    log = self._checkpointer()
                log.look(self._limit)
                log.start_anew(self._limit)
        finally:
            log.close()

    def _state(self) -> tuple[object, object]:
        """Return which files are there, and the time of the log's last change."""
        try:
            found = os.stat(log_path(self._path))  # noqa: PTH116 (half the time of Path.stat)
        except OSError:
            return None, None
        return (file_id(self._path), found.st_dev, found.st_ino), found.st_mtime_ns
