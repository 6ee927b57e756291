"""One uploader for each file: a lock beside it, which says who holds it.

The lock file is what others can read, and it can be held before the database exists. The database
itself is locked as well, by `identity_lock`: it may have a second name.
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

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.errors import FileUnusable, UploaderRunning
from waxlocal.process import current_process
from waxlocal.storage.connection import storage_error
from waxlocal_daemon.file_lock import PLAIN, try_lock, unlock
from waxlocal_daemon.identity_lock import IdentityLock, is_locked

__all__ = ["Holder", "UploaderLock", "exclusive", "holder", "lock_path"]

SUFFIX = ".sync.lock"
# `holder` takes a shared lock for some microseconds; whoever meets it just then tries again.
TRIES = 6
BETWEEN_TRIES_S = 0.02
# More than we ever write there.
_MOST_BYTES = 4096
# Windows locks for writing alone.
_ASKING = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY


@dataclass(frozen=True)
class Holder:
    """Who holds a file's lock; `pid` is 0 and the texts are empty where that cannot be read.

    `since` is UTC text. A pid means something only on `host`, and there only outside of containers.
    """

    pid: int = 0
    host: str = ""
    since: str = ""
    command: str = ""


class UploaderLock:
    """What the holder of a file's lock has of it. For one thread."""

    def __init__(self, db: Path) -> None:
        self.path = lock_path(db)
        self._db = db
        self._identity = IdentityLock(db)

    def follow(self) -> None:
        """Lock the file that is at the path now, where it was made or replaced meanwhile.

        Raises `UploaderRunning` if somebody else uploads its runs, by another name of the file.
        """
        if not self._identity.take():
            raise _running(self._db, Holder())

    def release(self) -> None:
        """Give the lock on the database back."""
        self._identity.release()


def lock_path(db: Path) -> Path:
    """Return where the lock of a file is: beside the file itself, whatever link led to it."""
    real = db.resolve()
    return real.with_name(real.name + SUFFIX)


@contextmanager
def exclusive(
    db: Path,
    *,
    command: str = "waxlocal",
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[UploaderLock]:
    """Hold the file's lock for the block; the lock file stays when it ends.

    `command` is what others are told. The file itself need not exist yet. Raises `UploaderRunning`
    if somebody else holds the lock, `StorageError` if there can be none.
    """
    lock = UploaderLock(db)
    descriptor = _open(lock.path)
    try:
        if not _taken(descriptor, sleep):
            raise _running(db, _read(descriptor))
        try:
            lock.follow()
            _write(descriptor, command, clock)
            yield lock
            # Not unlink: whoever has opened the old file by then would hold a lock that nobody
            # sees.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
        finally:
            lock.release()
            with suppress(OSError):
                unlock(descriptor)
    finally:
        os.close(descriptor)


def holder(db: Path) -> Holder | None:
    """Return who uploads the runs of this file now, None for nobody; waits for nothing.

    One who has the file under another name is nameless: pid 0.
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


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_lock_file(path) from error
        raise storage_error(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock_file(path)
    return descriptor


def _no_lock_file(path: Path) -> FileUnusable:
    return FileUnusable(
        f"{path} is not a plain file", hint="move it away: waxlocal did not make it"
    )


def _taken(descriptor: int, sleep: Callable[[float], None]) -> bool:
    for _ in range(TRIES - 1):
        if try_lock(descriptor):
            return True
        sleep(BETWEEN_TRIES_S)
    return try_lock(descriptor)


def _write(descriptor: int, command: str, clock: Clock) -> None:
    me = current_process()
    text = json.dumps(asdict(Holder(me.pid, me.host, utc_text(clock.time_ns()), command)))
    # The lock is what counts: on a full disk it holds without a word about who has it.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode() + b"\n")


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
