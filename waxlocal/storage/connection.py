"""The only module that opens SQLite, with its pragmas.

Why each pragma is what it is: docs/sqlite.md.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from waxlocal.clock import monotonic
from waxlocal.errors import (
    DiskFull,
    FileLocked,
    FileMissing,
    NotADatabase,
    StorageError,
)
from waxlocal.signal_handlers import Suppress, raised_by_handler
from waxlocal.storage import schema
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.log_file import log_size
from waxlocal.storage.log_keeper import LogCopier, LogKeeper
from waxlocal.storage.paths import (
    FileId,
    file_id,
    make_private,
    real_path,
    unusable,
)
from waxlocal.storage.readers import registered
from waxlocal.storage.retry import is_busy, while_busy
from waxlocal.storage.storage_errors import storage_error
from waxlocal.storage.transaction import begin, commit, limit_cache, roll_back

__all__ = [
    "autocommit",
    "checkpointer",
    "exclusive",
    "is_recovering",
    "log_copier",
    "log_keeper",
    "open_writer",
    "opened_beside",
    "reader",
    "without_log",
    "writer",
]

# SQLite's own checkpoints are off: they run beside the writers, and so never copy all of the log.
# Every writer has a `Checkpointer` instead.
AUTOCHECKPOINT_PAGES = 0
# A log that grew behind a long reader is cut to this when it starts anew. Not to less: writing over
# what is there is a quarter faster than making the file grow each time.
JOURNAL_SIZE_LIMIT = 48 * 1024 * 1024
# How long a command (not the recorder, which has its own bound) waits for the file.
COMMAND_WAIT_S = 5.0
# Pages kept by a reader. A daemon or a server reads something now and then, and must not grow with
# its file: SQLite would keep all that it has read, and the heap stays large when it is freed.
READER_CACHE_KIB = 2_048
# Those of a command, which ends soon: enough for the inner pages of a million runs.
COMMAND_CACHE_KIB = 65_536

_SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}


def open_writer(
    path: Path,
    *,
    durability: str = "normal",
    wait: float = 0.0,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    more_schema: str = "",
    create: bool = True,
) -> sqlite3.Connection:
    """Open the file for writing, creating or upgrading it as needed.

    The connection is in autocommit mode, for one thread at a time (the caller holds a lock). It
    waits up to `wait` seconds where another one has locked the file; `more_schema` is SQL that a
    new file gets after its schema. Without `create` a missing file stays missing, also one that
    vanishes while it is opened. Raises `StorageError`.
    """
    try:
        if create:
            make_private(path)
        # Not created here, should it have vanished just now: SQLite would let the umask decide who
        # may read it.
        connection = _connect(path, "rw", wait, factory)
    except (OSError, sqlite3.Error) as error:
        failure = storage_error(error, path)
        if not create and file_id(path) is None:
            raise FileMissing(f"{path} does not exist") from error
        raise failure from error
    try:
        schema.check(connection, writing=True)  # before the next line, which changes the file
        # SQLite does not wait here: the statement reads the file before it writes to it, and two
        # connections that have both read a new file would each wait for the other.
        while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"), monotonic() + wait)
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}")
        schema.prepare(connection, more=more_schema)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error | StorageError | OSError):  # of a script: `schema`
            raise storage_error(error, path) from error
        raise
    return connection


def checkpointer(
    path: Path,
    sleep: Callable[[float], None] = time.sleep,
    *,
    file: FileId | None = None,
) -> Checkpointer:
    """Return a checkpointer for the file that this process has just opened for writing.

    If another file than `file` (by default the one there now) is at the path later, the
    checkpointer does nothing: the log beside it may belong to the first one.
    """
    opened = file or file_id(path)
    return Checkpointer(path, lambda: _open_again(path, opened), sleep=sleep)


def log_copier(
    path: Path,
    file: FileId | None,
    *,
    on_copying: Callable[[bool], object] = bool,
    sleep: Callable[[float], None] = time.sleep,
) -> LogCopier:
    """Return what copies the log of such a file back in a thread of its own."""
    return LogCopier(path, checkpointer(path, sleep, file=file), on_copying=on_copying, sleep=sleep)


def log_keeper(path: Path) -> LogKeeper:
    """Start and return a thread that keeps the file's log short; close it at the end."""
    return LogKeeper(path, lambda: checkpointer(path))


def _open_again(path: Path, file: FileId | None) -> sqlite3.Connection:
    """Open an existing file again without changing it; fails at once if it is locked."""
    if file is None or file_id(path) != file:
        raise StorageError(f"{path} was moved or deleted")
    connection = _connect(path, "rw", 0.0)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")  # the copy is synced before it counts
        # Each connection has its own setting: without this line, the commit that starts the log
        # anew could make one of SQLite's checkpoints, after the lock is gone.
        connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
        schema.check(connection, writing=True)  # one that has not read yet knows of no log
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(
    path: Path, mode: str, wait: float, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    with Suppress(OSError):  # SQLite has an error for it
        kind = os.stat(path).st_mode  # noqa: PTH116 (no frame of pathlib between)
        # SQLite would wait for somebody who writes into a pipe, and make a journal beside a device.
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise NotADatabase(f"{path} is not a plain file")
    return sqlite3.connect(
        # On Windows SQLite does not follow links, and would name its files after the link.
        f"{_uri(real_path(path))}?mode={mode}",
        uri=True,
        timeout=wait,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )


# What stands for itself in the path of a URI, https://sqlite.org/uri.html.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~:")


def _uri(path: Path) -> str:
    """Return the URI of an absolute path.

    Not `Path.as_uri`, which from Python 3.13 on imports for it: a record that is made as the
    interpreter ends could not open the file any more.
    """
    quoted = "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(path.as_posix())
    )
    return f"file://{quoted}" if quoted.startswith("/") else f"file:///{quoted}"


@contextmanager
def writer(
    path: Path, *, create: bool = True, wait: float | None = None
) -> Iterator[sqlite3.Connection]:
    """Open the file for a command that changes it, in one transaction.

    Waits up to `wait` seconds for the lock, by default as long as all commands do. Commits at the
    end of the block, and rolls back if it raises. Without `create` a missing file stays missing.
    Raises `StorageError`, also for an error of SQLite inside the block.
    """
    seconds = COMMAND_WAIT_S if wait is None else wait
    with registered(path, lambda: open_writer(path, wait=seconds, create=create)) as connection:
        try:
            begin(connection)
            yield connection
            commit(connection)
            with closing(checkpointer(path)) as log:
                log.look()
        except sqlite3.Error as error:
            raise storage_error(error, path) from error
        finally:
            roll_back(connection)


@contextmanager
def autocommit(path: Path, *, secure: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a file that exists, for a command that changes it in several transactions.

    Each waits up to 5 seconds for the lock. With `secure`, what is deleted is overwritten with
    zeros. Raises `StorageError`, also for an error of SQLite inside the block.
    """
    with registered(
        path, lambda: open_writer(path, wait=COMMAND_WAIT_S, create=False)
    ) as connection:
        try:
            if secure:
                connection.execute("PRAGMA secure_delete = ON")
            yield connection
        except sqlite3.Error as error:
            raise storage_error(error, path) from error


@contextmanager
def opened_beside(path: Path, like: Path, *, writing: bool) -> Iterator[sqlite3.Connection]:
    """Open a file that has a schema of its own and belongs to another file, `like`.

    To write, it is made as needed, with a log of its own; where it is locked, a writer fails at
    once. Raises `StorageError`, but errors of SQLite inside the block as they are.
    """
    with registered(path, lambda: _open_beside(path, like, writing)) as connection:
        yield connection


def _open_beside(path: Path, like: Path, writing: bool) -> sqlite3.Connection:
    if not writing and file_id(path) is None:
        raise storage_error(unusable(path) or FileMissing(f"{path} does not exist"), path)
    connection = None
    try:
        if writing:
            make_private(path, like=like)
        # Closing the last connection locks the file for a moment: a reader waits for that.
        mode, wait = ("rw", 0.0) if writing else (_reading_mode(path), COMMAND_WAIT_S)
        connection = opened = _connect(path, mode, wait)
        limit_cache(opened, READER_CACHE_KIB)
        if writing:
            while_busy(lambda: opened.execute("PRAGMA journal_mode = WAL"), monotonic() + 1.0)
            opened.execute("PRAGMA synchronous = NORMAL")
            opened.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise storage_error(error, path) from error
        raise
    return opened


@contextmanager
def exclusive(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that no other connection has open, and keep all others out during the block.

    In the block there is no `-wal` and no `-shm`, so the file may be removed; do nothing else with
    it. Raises `FileLocked` if another connection has it open, and `StorageError`.
    """
    with registered(path, lambda: _open_exclusive(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise storage_error(error, path) from error


def _open_exclusive(path: Path) -> sqlite3.Connection:
    if (before := file_id(path)) is None:
        raise FileMissing(f"{path} does not exist")
    connection = _connect(path, "rw", 0.0)
    try:
        # Leaving WAL mode is refused while there is any other connection, and in this locking mode
        # the lock stays: https://sqlite.org/wal.html#use_of_wal_without_shared_memory. The journal
        # in memory, for one beside the file would be deleted by its name, as a later file's.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        (mode,) = connection.execute("PRAGMA journal_mode = MEMORY").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        if mode != "memory" or file_id(path) != before:
            raise FileLocked(f"{path} is in use")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise storage_error(error, path) from error
        raise
    return connection


@contextmanager
def without_log(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that nobody changes, as it is without its log; whatever may be damaged in it."""
    with registered(path, lambda: _connect(path, "ro&immutable=1", 0.0)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise storage_error(error, path) from error


@contextmanager
def reader(path: Path, *, cache_kib: int = READER_CACHE_KIB) -> Iterator[sqlite3.Connection]:
    """Open the file for reading only, with a cache of so many KiB; rows are `sqlite3.Row`.

    Fetch all rows of a query before the next one: an open cursor keeps the WAL from being reset.
    Raises `StorageError`, also for an error of SQLite inside the block.
    """
    if file_id(path) is None:
        raise storage_error(unusable(path) or FileMissing(f"{path} does not exist"), path)
    with registered(path, lambda: _open_reader(path, cache_kib)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise storage_error(error, path) from error


def _open_reader(path: Path, cache_kib: int) -> sqlite3.Connection:
    """Open a file for reading.

    `immutable` where SQLite cannot create the `-shm` file, in a directory that may not be written
    or on a full disk. It ignores the log: the file is complete only if that is missing or empty.
    """
    try:
        return _open_as(path, _reading_mode(path), cache_kib)
    except DiskFull:
        if log_size(path) > 0:
            raise
        return _open_as(path, "ro&immutable=1", cache_kib)


def _reading_mode(path: Path) -> str:
    may_create = os.access(real_path(path).parent, os.W_OK)
    return "ro" if log_size(path) > 0 or may_create else "ro&immutable=1"


def _open_as(path: Path, mode: str, cache_kib: int) -> sqlite3.Connection:
    connection = None
    try:
        connection = _connect(path, mode, COMMAND_WAIT_S)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        limit_cache(connection, cache_kib)
        if schema.check(connection, writing=False) == 0:
            raise FileMissing(f"{path} holds no recordings yet")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | StorageError):
            raise storage_error(error, path) from error
        raise
    return connection


def is_recovering(error: BaseException, path: Path) -> bool:
    """Return whether the file is busy because another process reads its whole log after a crash.

    That takes longer for a longer log, and cannot be interrupted.
    """
    said = error.__cause__ if isinstance(error, FileLocked) else error
    code = getattr(said, "sqlite_errorcode", None)  # from Python 3.11 on
    if code is not None:
        return bool(code == SQLITE_BUSY_RECOVERY)
    # A writer's lock stops no reader; a recovery does.
    return said is not None and is_busy(said) and not _can_be_read(path)


def _can_be_read(path: Path) -> bool:
    try:
        with closing(_connect(path, "ro", 0.0)) as connection:
            connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        if raised_by_handler(error):
            raise
        return not is_busy(error)
    return True


# Of https://sqlite.org/rescode.html; the module `sqlite3` names it from Python 3.11 on.
SQLITE_BUSY_RECOVERY = 261
