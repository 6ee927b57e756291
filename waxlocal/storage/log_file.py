"""The write-ahead log as a file: how much of it is in use, and whose turn it is to copy it."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage.paths import beside, file_size

__all__ = ["LogFile", "bounded", "is_being_copied", "log_changed_ns", "log_path", "log_size"]

# The log begins with a header of 32 bytes: page size in bytes 8 to 11, two salts in 16 to 23. Then
# come frames: 24 bytes, the salts among them in bytes 8 to 15, and a page
# (https://sqlite.org/fileformat2.html#walformat).
_HEADER, _FRAME_HEADER = 32, 24
# A log that has less is not copied back, however full the disk: each copy costs syncs.
_LEAST_BYTES = 1024 * 1024


def log_path(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return beside(path, "-wal")


def log_size(path: Path) -> int:
    """Return the bytes that a file's log takes on the disk, 0 without one."""
    return file_size(log_path(path))


def log_changed_ns(path: Path) -> int:
    """Return when a file's log was last written to, in nanoseconds since 1970; 0 without one."""
    with Suppress(OSError):
        return os.stat(log_path(path)).st_mtime_ns  # noqa: PTH116 (half the time of Path.stat)
    return 0


def bounded(limit: int, path: Path) -> int:
    """Return at how many bytes a log is copied back: at the limit, or at what the disk has free.

    The copy can make the file grow by as many bytes as the log has. Without so much free space the
    log cannot be copied any more, and keeps what it has taken.
    """
    return min(limit, max(_free_bytes(path), _LEAST_BYTES))


def is_being_copied(path: Path) -> bool:
    """Return whether somebody is copying a file's log back, and may hold the write lock for it."""
    with closing(LogFile(log_path(path))) as log, Suppress(OSError):
        log.open()
        return log.is_taken()
    return False


class LogFile:
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
        frame = _frame_size(header)
        # The last frame that ends within the limit, and after it the one that must not be there.
        start = _HEADER + max(limit - _HEADER, 0) // frame * frame
        return len(header) == _HEADER and _read(file, 8, start + 8) == header[16:24]

    def size_of(self, frames: int) -> int:
        """Return the bytes of a log that has so many frames. Raises `OSError`."""
        return _HEADER + frames * _frame_size(_read(self.open(), _HEADER, 0))

    def take_turn(self) -> bool:
        """Return whether nobody else is copying this log; keeps others off until `end_turn`."""
        return self._file is not None and _try_lock(self._file)

    def is_taken(self) -> bool:
        """Return whether somebody else is copying this log."""
        if not self.take_turn():
            return True
        self.end_turn()
        return False

    def end_turn(self) -> None:
        """Let others copy this log again."""
        if self._file is not None:
            _unlock(self._file)

    def sync(self) -> None:
        """Bring the log to the disk. Raises `OSError`."""
        os.fsync(self.open())

    def close(self) -> None:
        """Close the file, which ends the turn, too; `open` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _frame_size(header: bytes) -> int:
    return _FRAME_HEADER + int.from_bytes(header[8:12], "big")


if sys.platform == "win32":

    def _free_bytes(_path: Path) -> int:
        return sys.maxsize  # to ask takes an import of a millisecond, and volumes are large there

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

    def _free_bytes(path: Path) -> int:
        with Suppress(OSError):
            disk = os.statvfs(path)
            return disk.f_bavail * disk.f_frsize
        return sys.maxsize

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
