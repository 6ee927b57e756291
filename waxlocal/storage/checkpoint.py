"""Copies the write-ahead log back into the file, at no moment at which it could start anew.

SQLite starts a log anew once all of it has been copied. Its own checkpoints beside busy writers
never get that far, because each of them has added to the log before it ends: eight of them made a
log of 2 GB in eight seconds. And before SQLite 3.51.3 a checkpoint can corrupt the file if a writer
starts the log anew at that very moment (https://sqlite.org/wal.html#walresetbug).

So a checkpoint of ours keeps the log from starting anew while it copies, in one of two ways:

- Guarded: a second connection reads what is in the log meanwhile. Nobody starts a log anew that
  somebody reads; everybody goes on writing, so a little is left to be copied again.
- Locked: a second connection holds the write lock and writes nothing. Nothing is left, but writers
  wait until the disk has synced what was copied.

A process that is killed in between leaves nothing to repair: SQLite notes how far the log was
copied only after the copy is on the disk, and the system drops the locks.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from waxlocal.clock import monotonic
from waxlocal.errors import StorageError
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage.log_file import LogFile, bounded, log_path
from waxlocal.storage.retry import REST_S, is_busy, while_busy
from waxlocal.storage.transaction import (
    begin,
    commit,
    commits_of_others,
    read_something,
    roll_back,
)

__all__ = ["COMMITS_PER_LOOK", "LONG_BYTES", "LOOK_S", "Checkpointer"]

# Bytes of log at which a writer has it copied back. What takes time in a checkpoint are the syncs:
# with a six times longer log it takes hardly longer. Not more, for the next process reads all of it
# after a crash (30 ms), and writers add to it while a slow disk syncs, to not more than 64 MB.
LONG_BYTES = 24 * 1024 * 1024
# How often a recorder looks while it writes. A look takes a microsecond or two, too much for each
# commit; and by time, not by commits, for a record can have many MB: this is how long the log grows
# unseen, whatever is written.
LOOK_S = 0.005
# Who sends writes little at a time.
COMMITS_PER_LOOK = 16
# How long to try for the write lock. Whoever does not get it tries again at the next look.
LOCK_WAIT_S = 0.1
# So many guarded copies, each of what was written during the one before, as long as that is little.
GUARDED_COPIES = 4
LITTLE_BYTES = 2 * 1024 * 1024
# If it is more, writers are busy or the disk is slow. A guarded copy then only makes the log longer
# until the locked one, so for a while there is none.
BUSY_S = 10.0
# The write lock that begins a guarded copy, and the sync of a new log's header under it, are best
# taken just after somebody has written: a program that records at times is not back so soon. So
# long to wait for that moment, how long nobody must have written, and how long it lasts.
MOMENT_WAIT_S = 0.03
PAUSE_AFTER_S = 0.000_6
MOMENT_LASTS_S = 0.004
# Whoever reads an older state keeps the newer part of the log from being copied. Most often that is
# a writer that was refused the lock and has not had the processor since; it is gone in no time.
LOCKED_COPIES = 8
# While a reader stays, each checkpoint that copied only a part puts the next one off for longer.
PAUSE_S = (0.01, 0.25)

Open = Callable[[], sqlite3.Connection]


class Checkpointer:
    """Keeps the log of one file short, on two connections of its own.

    For one thread at a time, but for `break_off` and `is_put_off`. `open_` opens the file once
    more; it is called when a checkpoint is first due, and again after `close`, which must come
    before a fork.
    """

    # How often checkpointers of this process have committed to any file: not what others wrote.
    commits = 0

    def __init__(
        self,
        path: Path,
        open_: Open,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._log = LogFile(log_path(path))
        self._open = open_
        self._sleep = sleep
        # The one that copies, and the one that keeps the log as it is meanwhile.
        self._pair: tuple[sqlite3.Connection, sqlite3.Connection] | None = None
        self._busy_until = 0.0
        self._moment = 0.0
        self._pause = 0.0
        self._not_before = 0.0

    @property
    def is_put_off(self) -> bool:
        """Whether `look` does nothing for a while, for a reader or an error was in the way."""
        return monotonic() < self._not_before

    def look(self, limit: int = LONG_BYTES) -> None:
        """Checkpoint if more than `limit` bytes of the log are in use.

        On a small disk the limit is `bounded`. Raises nothing of SQLite's, the system's or ours:
        what cannot be copied now is copied later.
        """
        try:
            if not self.is_put_off:
                self.run(bounded(limit, self._path))
        except (sqlite3.Error, OSError, StorageError) as error:
            if raised_by_handler(error):  # a TimeoutError is an OSError
                raise
            # Without a log nothing was written since the file was last closed by all.
            if not isinstance(error, FileNotFoundError):
                self._put_off()

    def run(self, limit: int = 0) -> bool:
        """Copy the log back and start it anew, if more than `limit` bytes of it are in use.

        Return whether all of it was copied: not so if somebody else is at it, if the lock cannot be
        had, or if a reader is in the way. Raises `sqlite3.Error`, `OSError` or `StorageError`.
        """
        if not self._log.is_longer(limit):
            return True
        if not self._log.take_turn():
            return False
        try:
            if self._pair is None:
                self._pair = self._open_pair()
            # A reader that was in the way may still be: nothing is written while it stays.
            guarded = not self._pause and monotonic() >= self._busy_until
            if guarded and self._copy_guarded(limit):
                return True
            # A checkpoint syncs the log first, which takes most of its time: here it stops nobody.
            self._log.sync()
            return self._copy_locked(limit)
        except BaseException:
            self._close_pair()  # lets go of all locks in any case
            raise
        finally:
            self._log.end_turn()

    def empty(self) -> bool:
        """Copy all of the log back and cut it to nothing; return whether that was done.

        Not so while somebody reads an older state, or another one is at it. Writers wait for some
        0.1 s at most, while SQLite holds the write lock: so no log starts anew meanwhile. (Where it
        does not get the lock within that time, it copies without it: there is next to nothing left
        to copy by then.) Raises `sqlite3.Error`, `OSError` or `StorageError`.
        """
        if not self.run():
            return False
        if not self._log.take_turn():
            return False
        try:
            if self._pair is None:
                self._pair = self._open_pair()
            copier, _ = self._pair
            copier.execute(f"PRAGMA busy_timeout = {round(LOCK_WAIT_S * 1000)}")
            (busy, *_rest) = copier.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            copier.execute("PRAGMA busy_timeout = 0")
            return not busy
        except BaseException:
            self._close_pair()  # it would go on waiting for locks
            raise
        finally:
            self._log.end_turn()

    def _open_pair(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        copier = self._open()
        try:
            return copier, self._open()
        except BaseException:
            copier.close()
            raise

    def _copy_guarded(self, limit: int) -> bool:
        """Copy beside the writers until nothing is left; return whether the log started anew."""
        assert self._pair is not None
        copier, guard = self._pair
        for _ in range(GUARDED_COPIES):
            if not self._begin_guard(limit):
                return not self._log.is_longer(limit)
            try:
                frames, _copied = _checkpoint(copier)
            finally:
                roll_back(guard)
            if self._log.is_longer(self._log.size_of(frames) + LITTLE_BYTES):
                self._busy_until = monotonic() + BUSY_S
                return False
        return False

    def _begin_guard(self, limit: int) -> bool:
        """Let the second connection read the end of the log; return whether it does.

        A commit of a page that says what it said before does two things. If all of the log has been
        copied, it starts it anew, and syncs the new header: so no program that records has to. If
        not, there is now something in the log that nobody has copied, and nobody can, for an older
        state stays open until the second connection has begun to read. That is what makes it a
        guard: who reads a log that was copied completely does not keep it from starting anew
        (https://sqlite.org/walformat.html, on WAL_READ_LOCK(0)).
        """
        assert self._pair is not None
        copier, guard = self._pair
        self._wait_for_moment(guard)
        if not self._lock(copier):
            return False
        with closing(copier.cursor()) as older:
            try:
                if not self._log.is_longer(limit):
                    return False
                (version,) = copier.execute("PRAGMA user_version").fetchone()
                copier.execute(f"PRAGMA user_version = {int(version)}")
                older.execute("SELECT name FROM sqlite_schema").fetchone()  # and not to its end
                commit(copier)
                Checkpointer.commits += 1
            finally:
                roll_back(copier)
            if not self._log.is_longer(limit):
                return False
            guard.execute("BEGIN")
            read_something(guard)
        return True

    def _wait_for_moment(self, connection: sqlite3.Connection) -> None:
        """Wait until somebody has just written, but not for long."""
        if monotonic() - self._moment < MOMENT_LASTS_S:
            return
        deadline = monotonic() + MOMENT_WAIT_S
        written, seen = False, commits_of_others(connection)
        while monotonic() < deadline:
            self._sleep(PAUSE_AFTER_S)
            before, seen = seen, commits_of_others(connection)
            if written and seen == before:
                break
            written = written or seen != before
        self._moment = monotonic()

    def _copy_locked(self, limit: int) -> bool:
        """Copy while nobody can write; return whether all of the log was copied."""
        assert self._pair is not None
        copier, guard = self._pair
        if not self._lock(guard):
            return False
        try:
            # Another program may have done it while we waited, and the log may have started anew.
            return not self._log.is_longer(limit) or self._copy_all(copier)
        finally:
            roll_back(guard)

    def _lock(self, connection: sqlite3.Connection) -> bool:
        deadline = monotonic() + LOCK_WAIT_S
        try:
            while_busy(lambda: begin(connection), deadline, sleep=self._sleep)
        except sqlite3.OperationalError as error:
            if not is_busy(error):  # of the disk, for example: nothing that passes by itself
                raise
            return False
        return True

    def _copy_all(self, copier: sqlite3.Connection) -> bool:
        for _ in range(LOCKED_COPIES):
            frames, copied = _checkpoint(copier)
            if copied == frames:
                self._pause = 0.0
                return True
            self._sleep(REST_S[1])
        self._put_off()
        return False

    def _put_off(self) -> None:
        self._pause = min(max(self._pause * 2, PAUSE_S[0]), PAUSE_S[1])
        self._not_before = monotonic() + self._pause

    def break_off(self) -> None:
        """Let a copy that another thread is making end soon; what was copied stays copied."""
        pair = self._pair
        if pair is not None:
            with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                pair[0].interrupt()

    def close(self) -> None:
        """Close everything; the next look opens it again."""
        self._close_pair()
        self._log.close()

    def _close_pair(self) -> None:
        pair, self._pair = self._pair, None
        for connection in pair or ():
            connection.close()


def _checkpoint(connection: sqlite3.Connection) -> tuple[int, int]:
    """Copy what can be; return how many frames the log has, and how many of them are copied.

    Raises `sqlite3.OperationalError` while another program makes a checkpoint.
    """
    busy, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("another program is making a checkpoint")
    return int(frames), int(copied)
