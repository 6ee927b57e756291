"""Copies the write-ahead log back into the file, where the SQLite version makes that safe.

Before 3.51.3 an explicit checkpoint that races with writers can corrupt the log, whoever else is
careful: see docs/sqlite.md. There, only the writers' own automatic checkpoints are made.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.connection import is_busy, open_writer, storage_error

__all__ = ["Checkpointer", "checkpoint", "may_checkpoint"]

Version = tuple[int, ...]

# Above this the log is cut to nothing, and not only copied.
TRUNCATE_BYTES = 4 * 1024 * 1024
# Checkpoints in quick succession wear the writers out.
BETWEEN_NS = 1_000_000_000


def may_checkpoint(version: Version = sqlite3.sqlite_version_info) -> bool:
    """Return whether an explicit checkpoint is safe with this version of SQLite."""
    return (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )


def checkpoint(path: Path, *, version: Version = sqlite3.sqlite_version_info) -> str:
    """Copy the log back, and cut it when it is long; return `passive`, `truncate` or nothing.

    Nothing is done where it is not safe, and where there is no log. Waits for nobody: what readers
    or writers hold is left for the next time. Raises `StorageError`.
    """
    if not may_checkpoint(version) or not _wal_bytes(path):
        return ""
    try:
        with closing(open_writer(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # A log that was copied whole is begun anew by the next writer; its size on disk stays.
            if _wal_bytes(path) <= TRUNCATE_BYTES:
                return "passive"
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return "passive" if busy else "truncate"
    except sqlite3.Error as error:
        if is_busy(error):
            return "passive"
        raise storage_error(error, path) from error


class Checkpointer:
    """Checkpoints one file, at most once a second and only after something was written."""

    def __init__(
        self,
        path: Path,
        *,
        version: Version = sqlite3.sqlite_version_info,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = path
        self._version = version
        self._clock = clock
        self._done_ns: int | None = None
        self._seen: tuple[int, int] | None = None
        self.allowed = may_checkpoint(version)

    def run(self) -> str:
        """Checkpoint if it is time; return what was done, as `checkpoint` does."""
        now = self._clock.monotonic_ns()
        if not self.allowed or (self._done_ns is not None and now - self._done_ns < BETWEEN_NS):
            return ""
        if (seen := _wal_state(self._path)) in (None, self._seen):
            return ""
        self._done_ns = now
        done = checkpoint(self._path, version=self._version)
        self._seen = seen
        return done


def _wal_state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.with_name(path.name + "-wal").stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _wal_bytes(path: Path) -> int:
    state = _wal_state(path)
    return state[0] if state else 0
