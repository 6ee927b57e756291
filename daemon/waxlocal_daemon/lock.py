"""One uploader per file: a lock file beside it, which names the holder.

Other processes can read the lock file, and it can be locked before the database exists. The
database itself is locked too (`identity_lock`), because it may have a second name.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.errors import FileReadOnly, FileUnusable, UploaderRunning
from waxlocal.process import current_process
from waxlocal.storage.paths import beside, give_to_owner_of, make_private_directory
from waxlocal.storage.storage_errors import storage_error
from waxlocal_daemon.file_lock import PLAIN, try_lock, unlock
from waxlocal_daemon.identity_lock import IdentityLock, is_locked

__all__ = ["Holder", "UploaderLock", "exclusive", "holder", "lock_path"]

SUFFIX = ".sync.lock"
# `holder` takes a shared lock for some microseconds; another process then tries again.
TRIES = 6
BETWEEN_TRIES_S = 0.02
# More than `_write` ever writes.
_MOST_BYTES = 4096
# Windows can lock only files that are open for writing.
_ASKING = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY


@dataclass(frozen=True)
class Holder:
    """The process that holds the lock; `pid` is 0 and the texts are empty if it is unknown.

    `since` is UTC text. The pid is valid only on `host`, and only outside containers.
    """

    pid: int = 0
    host: str = ""
    since: str = ""
    command: str = ""


class UploaderLock:
    """The lock of a file, as its holder sees it. For one thread."""

    def __init__(self, db: Path, write_name: Callable[[], bool]) -> None:
        self.path = lock_path(db)
        self._db = db
        self._identity = IdentityLock(db)
        self._write_name = write_name
        self._is_named = False

    def follow(self) -> None:
        """Lock the file now at the path, in case it was created or replaced meanwhile.

        Also names this process in the lock file if the disk was full before. Raises
        `UploaderRunning` if another process uploads its runs under another name of the file.
        """
        if not self._identity.take():
            raise _running(self._db, Holder())
        self._is_named = self._is_named or self._write_name()

    def release(self) -> None:
        """Release the lock on the database."""
        self._identity.release()


def lock_path(db: Path) -> Path:
    """Return the path of the lock file: beside the real file, even if `db` is a link."""
    return beside(db, SUFFIX)


@contextmanager
def exclusive(
    db: Path,
    *,
    command: str = "waxlocal",
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[UploaderLock]:
    """Hold the file's lock during the block; the lock file stays afterwards.

    `command` is shown to other processes. The database need not exist yet. Raises `UploaderRunning`
    if another process holds the lock, and `StorageError` if the lock file cannot be created.
    """
    descriptor = _open(lock_path(db), db)
    lock = UploaderLock(db, lambda: _write(descriptor, command, clock))
    try:
        if not _taken(descriptor, lock.path, sleep):
            raise _running(db, _read(descriptor))
        try:
            lock.follow()
            yield lock
            # Do not unlink it: a process that has opened the old file would hold a lock that no
            # other process sees.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
        finally:
            lock.release()
            with suppress(OSError):
                unlock(descriptor)
    finally:
        os.close(descriptor)


def holder(db: Path) -> Holder | None:
    """Return the process that uploads this file now, or None; never waits.

    If it opened the file under another name, it is unknown: its pid is 0.
    """
    return _holder_beside(db) or (Holder() if is_locked(db) else None)


def _holder_beside(db: Path) -> Holder | None:
    try:
        descriptor = os.open(lock_path(db), _ASKING | PLAIN)
    except OSError:
        return None
    try:
        if not try_lock(descriptor, shared=True):
            return _read(descriptor)
        unlock(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _open(path: Path, db: Path) -> int:
    try:
        make_private_directory(path.parent)
        descriptor = _opened_or_made(path, db)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_lock_file(path) from error
        if isinstance(error, PermissionError) and path.exists():
            hint = f"give it back to its owner: sudo chown --reference={quote(str(db))} "
            raise FileReadOnly(
                f"{path} belongs to another user", hint=hint + quote(str(path))
            ) from error
        raise storage_error(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock_file(path)
    return descriptor


def _opened_or_made(path: Path, db: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | PLAIN)
    give_to_owner_of(descriptor, db)
    return descriptor


def _no_lock_file(path: Path) -> FileUnusable:
    return FileUnusable(
        f"{path} is not a plain file", hint="move it away; waxlocal did not create it"
    )


def _taken(descriptor: int, path: Path, sleep: Callable[[float], None]) -> bool:
    try:
        for _ in range(TRIES - 1):
            if try_lock(descriptor):
                return True
            sleep(BETWEEN_TRIES_S)
        return try_lock(descriptor)
    except OSError as error:  # a file system without locks
        raise storage_error(error, path) from error


def _write(descriptor: int, command: str, clock: Clock) -> bool:
    """Name this process as the holder; return whether that is in the file."""
    me = current_process()
    text = json.dumps(asdict(Holder(me.pid, me.host, utc_text(clock.time_ns()), command)))
    # Only the lock matters: on a full disk it is held without naming its holder.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode() + b"\n")
        return True
    return False


def _read(descriptor: int) -> Holder:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        said = json.loads(os.read(descriptor, _MOST_BYTES))
        return Holder(int(said["pid"]), str(said["host"]), str(said["since"]), str(said["command"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


def _running(db: Path, who: Holder) -> UploaderRunning:
    if not who.pid:
        return UploaderRunning(f"another process uploads the runs of {db}")
    return UploaderRunning(
        f"{who.command} (pid {who.pid} on {who.host}, since {who.since}) uploads the runs of {db}"
    )
