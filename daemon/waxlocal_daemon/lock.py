"""One uploader for each file: a lock beside it, which says who holds it.

The system drops a `flock` when its holder dies, however it dies, so nothing has to be cleaned up. A
lock on the database itself would be one of SQLite's to lose: see docs/sqlite.md.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.connection import storage_error
from waxlocal.errors import FileUnusable, UploaderRunning
from waxlocal.process import current_process

__all__ = ["Holder", "exclusive", "holder", "lock_path"]

SUFFIX = ".sync.lock"
# `holder` takes a shared lock for some microseconds; whoever meets it just then tries again.
TRIES = 6
BETWEEN_TRIES_S = 0.02
# More than we ever write there.
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """Who holds a file's lock; `pid` is 0 and the texts are empty where that cannot be read.

    `since` is UTC text. A pid means something only on `host`, and there only outside of containers.
    """

    pid: int = 0
    host: str = ""
    since: str = ""
    command: str = ""


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
) -> Iterator[Path]:
    """Hold the file's lock for the block; yields the path of the lock file, which stays.

    `command` is what others are told. The file itself need not exist yet. Raises `UploaderRunning`
    if somebody else holds the lock, `StorageError` if there can be none.
    """
    path = lock_path(db)
    descriptor = _open(path)
    try:
        if not _taken(descriptor, sleep):
            raise _running(db, _read(descriptor))
        _write(descriptor, command, clock)
        yield path
        # Not unlink: whoever has opened the old file by then would hold a lock that nobody sees.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)  # which is what releases the lock


def holder(db: Path) -> Holder | None:
    """Return who uploads the runs of this file now, None for nobody; waits for nothing."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(lock_path(db), flags)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_lock_file(path) from error
        raise storage_error(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock_file(path)
    return descriptor


def _no_lock_file(path: Path) -> FileUnusable:
    return FileUnusable(f"{path} is not a plain file", hint="move it away: it is no lock of ours")


def _taken(descriptor: int, sleep: Callable[[float], None]) -> bool:
    for _ in range(TRIES - 1):
        if _locked(descriptor):
            return True
        sleep(BETWEEN_TRIES_S)
    return _locked(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, command: str, clock: Clock) -> None:
    me = current_process()
    text = json.dumps(asdict(Holder(me.pid, me.host, utc_text(clock.time_ns()), command)))
    # The lock is what counts: on a full disk it holds without a word about who has it.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode() + b"\n", 0)


def _read(descriptor: int) -> Holder:
    try:
        said = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
        return Holder(int(said["pid"]), str(said["host"]), str(said["since"]), str(said["command"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


def _running(db: Path, who: Holder) -> UploaderRunning:
    if not who.pid:
        return UploaderRunning(f"another process uploads the runs of {db}")
    return UploaderRunning(
        f"{who.command} (pid {who.pid} on {who.host}, since {who.since}) uploads the runs of {db}"
    )
