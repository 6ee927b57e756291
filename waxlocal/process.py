"""Who this process is, and whether another one still runs."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import monotonic
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = [
    "FIRST_VARIABLE",
    "OUT_OF_DESCRIPTORS",
    "Life",
    "ProcessIdentity",
    "current_process",
    "is_first",
    "is_gone",
    "is_server",
    "life_of",
]

# There the first Python under `waxlocal run` leaves its id (`shim/path/sitecustomize.py`).
FIRST_VARIABLE = "WAXLOCAL_PROCESS"


# The numbers of the errors for want of file descriptors: of the process, of the system.
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# What the system does not say; and the start mark of what has ended and is only still listed.
_UNKNOWN = ""
_ENDED = "ended"


class Life:
    """What can be said of a process. Not an `Enum`, whose module takes a millisecond to import."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


class ProcessIdentity(NamedTuple):
    """What tells one process from every other, on this machine and over its restarts.

    A number alone does not: it is given again after a while, and each container counts its own.
    Empty text means that the system does not say.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str


def is_first() -> bool:
    """Return whether this is the first Python under `waxlocal run`, not one that it started."""
    return os.environ.get(FIRST_VARIABLE) == str(os.getpid())


# Of a process that was none, for how long that counts: to look takes a tenth of a millisecond.
NO_SERVER_S = 1.0


class _Listening:
    """Whether this process was seen to listen, and until when the answer counts."""

    found = False
    until = 0.0


def is_server(now: Callable[[], float] = monotonic) -> bool:
    """Return whether this process waits for connections: whether one of its sockets listens.

    A server stays one; of any other process the answer may be a second old. Where the system does
    not list what a process has open, as on Windows, False.
    """
    if not _Listening.found and now() >= _Listening.until:
        _Listening.until = now() + NO_SERVER_S
        with Suppress(OSError, ImportError):
            sockets = [number for number in _descriptors() if _is_socket(number)]
            _Listening.found = bool(sockets) and _any_listens(sockets)
    return _Listening.found


def _descriptors() -> list[int]:
    return [int(one.name) for one in Path("/dev/fd").iterdir() if one.name.isdecimal()]


def _is_socket(descriptor: int) -> bool:
    with Suppress(OSError):  # closed meanwhile, as that of the listing is
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    return False


def _any_listens(sockets: list[int]) -> bool:
    # Not an object of Python's for each: where the program has set a default timeout, that would
    # make the program's own sockets non-blocking.
    import ctypes
    import socket

    ask = ctypes.CDLL(None, use_errno=True).getsockopt
    said, size = ctypes.c_int(), ctypes.c_uint(ctypes.sizeof(ctypes.c_int))
    level, option = socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    for descriptor in sockets:
        asked = ask(descriptor, level, option, ctypes.byref(said), ctypes.byref(size))
        if asked == 0 and said.value:
            return True
    return False


def current_process() -> ProcessIdentity:
    """Return the identity of the calling process; reads `/proc` where there is one."""
    pid = os.getpid()
    return ProcessIdentity(_host(), _boot_id(), _pid_namespace(), pid, _started(pid) or _UNKNOWN)


def is_gone(process: ProcessIdentity) -> bool:
    """Return whether that process has certainly ended."""
    return life_of(process) is Life.GONE


def life_of(process: ProcessIdentity) -> str:
    """Return whether that process still runs.

    Unknown on another host, among another container's process numbers, where `/proc` hides the
    processes of other users (the mount option `hidepid`) and something has the number, and for a
    number that no process can have (any program may have written the row).
    """
    if not (isinstance(process.pid, int) and 0 < process.pid < 2**31):
        return Life.UNKNOWN
    if process.host != _host():
        return Life.UNKNOWN
    here = _boot_id()
    if process.boot_id and here and process.boot_id != here:
        return Life.GONE
    if process.pid_namespace != _pid_namespace():
        return Life.UNKNOWN
    if not process.started:
        return Life.ALIVE if _exists(process.pid) else Life.GONE
    if started := _started(process.pid):
        # Otherwise another process has got the number since, or it is a zombie.
        return Life.ALIVE if started == process.started else Life.GONE
    if not _exists(process.pid):
        return Life.GONE
    return Life.UNKNOWN if started is None else Life.ALIVE


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError as error:
        if raised_by_handler(error):
            raise
    return True


def _host() -> str:
    # Not platform.node(): that module takes 3 ms to import, and a recorder starts with this one.
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot_id() -> str:
    with Suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _pid_namespace() -> str:
    with Suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (not a path to a file)
    return ""


def _started(pid: int) -> str | None:
    """Return the system's start mark of a process, `_ENDED` of a zombie.

    None where `/proc` does not list it: there is none, or it is hidden. Empty where it cannot be
    read, for want of a file descriptor.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        if raised_by_handler(error):
            raise
        return _UNKNOWN if error.errno in OUT_OF_DESCRIPTORS else None
    # Fields 3 (state) and 22 (start time in ticks since boot) of proc(5); the name in
    # parentheses may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return _ENDED if fields[0] in "ZX" else fields[19]
