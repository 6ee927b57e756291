"""The error of `waxlocal.errors` for what SQLite or the system says of a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from waxlocal.errors import (
    DiskFull,
    FileDamaged,
    FileLocked,
    FileReadOnly,
    ForeignDatabase,
    LocksMissing,
    NewerSchema,
    NotADatabase,
    StorageError,
)
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage import schema
from waxlocal.storage.lock_support import NO_LOCKS, has_no_locks
from waxlocal.storage.paths import is_full, is_out_of_descriptors, too_long, unusable
from waxlocal.storage.retry import is_busy

__all__ = ["storage_error"]


def storage_error(error: BaseException, path: Path) -> StorageError:
    """Return the error of `waxlocal.errors` for an error of SQLite or of the system.

    Raises the error itself if it is that of a signal handler: it belongs to the program.
    """
    if raised_by_handler(error):
        raise error
    found = _storage_error(error, path)
    found.name_file(str(path))
    return found


def _storage_error(error: BaseException, path: Path) -> StorageError:
    # Of an error of the system the words alone: its text has the path once more.
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    if isinstance(error, sqlite3.Error) and schema.is_fence(error):
        return NewerSchema(f"{path}: {said}")
    if isinstance(error, NewerSchema | ForeignDatabase) and not said.startswith(f"{path}: "):
        return type(error)(f"{path}: {said}")
    if is_busy(error) or (isinstance(error, OSError) and error.errno in NO_LOCKS):
        return _locked(error, path)
    if isinstance(error, StorageError):
        return error
    kind = next((kind for kind, words in _SAID if any(word in said for word in words)), None)
    if kind not in (DiskFull, FileDamaged, NotADatabase) and (reason := unusable(path)):
        return reason
    if kind is not DiskFull and is_out_of_descriptors(error):
        return StorageError(f"{path}: too many open files", hint=_CLOSE_FILES)
    if kind is None and said == "disk I/O error" and is_full(path):
        return DiskFull(f"{path}: the disk is full")
    if "unable to open" in said and (reason := too_long(path)):
        return reason
    if kind is FileReadOnly and isinstance(error, sqlite3.Error):  # it says less than is known
        return FileReadOnly(f"{path}, or its directory, may not be written")
    if kind is not None:
        return kind(f"{path}: {said}")
    if isinstance(error, PermissionError):
        return FileReadOnly(f"{path}: {error.strerror}")
    return StorageError(f"{path}: {said}")


def _locked(error: BaseException, path: Path) -> StorageError:
    if isinstance(error, OSError) or (not isinstance(error, LocksMissing) and has_no_locks(path)):
        return LocksMissing(f"{path}: its file system has no locks")
    said = f"{path} is locked by another process"
    return error if isinstance(error, StorageError) else FileLocked(said)


_CLOSE_FILES = "close files, or raise the limit (ulimit -n); recording resumes by itself"

_SAID: tuple[tuple[type[StorageError], tuple[str, ...]], ...] = (
    (DiskFull, ("disk is full", "No space left", "Disk quota exceeded")),
    (FileReadOnly, ("readonly database", "unable to open database", "Read-only file system")),
    (FileDamaged, ("image is malformed", "malformed database schema")),
    (NotADatabase, ("not a database",)),
)
