"""The path of the file, its permissions, and why there can be no file at a path."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from waxlocal.errors import FileUnusable, NotADatabase
from waxlocal.process import OUT_OF_DESCRIPTORS
from waxlocal.signal_handlers import Suppress, raised_by_handler

__all__ = [
    "FileId",
    "beside",
    "database_path",
    "file_id",
    "file_size",
    "file_state",
    "file_to_open",
    "give_to_owner_of",
    "is_full",
    "is_out_of_descriptors",
    "make_private",
    "make_private_directory",
    "may_make_index",
    "may_write",
    "mounted_alone",
    "real_path",
    "state_directory",
    "too_long",
    "unusable",
]

FILE_NAME = "waxlocal.db"

# Device and inode: which file it is, whatever its name.
FileId = tuple[int, int]


def database_path(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the file: the given one, else `WAXLOCAL_DB`, else the default.

    The default is in the state directory of the platform: `~/.local/state/waxlocal` on Linux
    (`XDG_STATE_HOME` is honored), `~/Library/Application Support/waxlocal` on macOS,
    `%LOCALAPPDATA%\\waxlocal` on Windows.
    """
    named = os.fspath(given) if given else os.environ.get("WAXLOCAL_DB", "")
    # Not Path.expanduser: where there is no home it raises, and this must not.
    path = os.path.expanduser(named) if named else state_directory() / FILE_NAME  # noqa: PTH111
    with Suppress(OSError):
        return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow symbolic links)
    # A relative path in a directory that was deleted: where that was, if the system says so, as
    # Linux does; of one that was unmounted it says something else.
    with Suppress(OSError):
        gone, deleted, _ = os.readlink("/proc/self/cwd").partition(" (deleted)")  # noqa: PTH115
        if deleted:
            return Path(os.path.normpath(os.path.join(gone, path)))  # noqa: PTH118
    return Path(state_directory(), path)


def state_directory(platform: str = sys.platform) -> Path:
    """Return the directory for the state of this user; it need not exist."""
    # Three lines instead of a library: the recorder works where nothing else is installed.
    if platform == "darwin":
        return _home() / "Library" / "Application Support" / "waxlocal"
    if platform == "win32":
        given = os.environ.get("LOCALAPPDATA", "")
        return (Path(given) if given else _home() / "AppData" / "Local") / "waxlocal"
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given else _home() / ".local" / "state") / "waxlocal"


def _home() -> Path:
    # A user without a home, as in containers. Nothing can be written in this place either, and the
    # recorder then says which variable names another one.
    with Suppress(RuntimeError):
        return Path.home()
    return Path("/")


def file_id(path: Path) -> FileId | None:
    """Return the identity of the file now at the path; None if there is no visible one."""
    with Suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 (each write asks; no frame of pathlib between)
        return status.st_dev, status.st_ino
    return None


def file_state(path: Path) -> tuple[int, ...]:
    """Return which file is at the path, its size, and when it changed last; () without one."""
    with Suppress(OSError):
        status = os.stat(path)  # noqa: PTH116
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return ()


def file_to_open(path: Path) -> FileId | None:
    """Return the identity of a file that is opened for writing next; it is created as needed.

    To be asked before opening: afterwards another file may be at the path, which would be taken for
    the open one for ever, and all rows would go to a deleted file.
    """
    with Suppress(OSError):  # opening says what it is
        make_private(path)
    return file_id(path)


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return where the file itself is, through every symbolic link, also if it is still to be made.

    Raises nothing for links that lead nowhere or in a circle: whoever opens the file finds out.
    """
    # Not Path.resolve, which raises RuntimeError for a circle before Python 3.13.
    with Suppress(OSError):  # not strictly, realpath itself would swallow a signal handler's, too
        return Path(os.path.realpath(path, strict=True))
    return Path(os.path.realpath(path))


def beside(path: str | os.PathLike[str], ending: str) -> Path:
    """Return the path of what belongs to a file and is named after it: `-wal`, `.side-3`, a lock.

    SQLite follows links first and names its files after the file that it finds
    (https://sqlite.org/howtocorrupt.html section 2.5); so whoever opens a file by one link finds
    what was written by another, or by the file's own name.
    """
    return Path(f"{real_path(path)}{ending}")


def file_size(path: str | Path) -> int:
    """Return the size of a file in bytes; 0 if there is no visible one."""
    with Suppress(OSError):
        return os.stat(path).st_size  # noqa: PTH116 (half the time of Path.stat)
    return 0


def make_private(path: Path, like: Path | None = None) -> None:
    """Create the directory (0700) and an empty file (0600) if they do not exist.

    The file has its final mode before SQLite opens it, so that its `-wal` and `-shm` inherit that
    mode, and other users can read it at no time. Existing files and directories keep their modes.
    A link to a file that does not exist gets that file. `like`: a new file gets the owner of that
    one, where root makes it. Raises `OSError`.
    """
    if path.exists():
        return
    path = real_path(path)
    make_private_directory(path.parent)
    try:
        # Before any connection of this process: closing a descriptor of a database drops the
        # locks that SQLite holds on it (https://sqlite.org/howtocorrupt.html section 2.2).
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        if raised_by_handler(error):
            raise
        return
    if like is not None:
        give_to_owner_of(descriptor, like)
    os.close(descriptor)


def make_private_directory(directory: Path) -> None:
    """Create a directory and those above it that do not exist, each for this user alone (0700).

    `Path.mkdir` gives its mode to the last one only, and leaves the others to the umask. Raises
    `OSError`.
    """
    if not directory.exists():
        make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def give_to_owner_of(descriptor: int, file: Path) -> None:
    """Give what root has just made beside a file to the owner of that, as SQLite does with its own.

    After one `sudo waxlocal sync` the user's own daemon could not lock the file any more. By its
    descriptor: at its path the owner of the directory may have put a link to a file of root's.
    """
    if sys.platform != "win32" and os.geteuid() == 0:
        with Suppress(OSError):
            owner = os.stat(file)  # noqa: PTH116
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def is_out_of_descriptors(error: BaseException) -> bool:
    """Return whether an error of the system or of SQLite came for want of file descriptors.

    SQLite says only that it is unable to open the file, also where it has the file and lacks one
    for its log. By then it has closed what it had.
    """
    if isinstance(error, OSError):
        return error.errno in OUT_OF_DESCRIPTORS
    if "unable to open database" not in str(error):
        return False
    opened: list[int] = []
    try:
        for _ in range(_DESCRIPTORS):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 (each is to be closed)
    except OSError as failure:
        if raised_by_handler(failure):
            raise
        return failure.errno in OUT_OF_DESCRIPTORS
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


# So many takes SQLite: for a file, its log, the log's index and, as it makes them, the directory.
_DESCRIPTORS = 4


def is_full(path: Path) -> bool:
    """Return whether the disk has no space for the next part of a `-shm`.

    SQLite has its own error for a full disk, but not where it makes or enlarges that file.
    """
    from shutil import disk_usage  # no program needs it to record

    try:
        return disk_usage(real_path(path).parent).free < _SHM_PART_BYTES
    except OSError as error:
        if raised_by_handler(error):
            raise
        return False


# https://sqlite.org/walformat.html#the_wal_index_file_format
_SHM_PART_BYTES = 32 * 1024


def too_long(path: Path) -> FileUnusable | None:
    """Return that SQLite refuses the path for its length; None for one that it may take.

    SQLite says "unable to open database file", and the system, which takes longer ones, nothing.
    """
    if len(os.fsencode(real_path(path))) <= _LONGEST_PATH:
        return None
    return FileUnusable(f"{path}: the path is too long for SQLite", hint=_SHORTER)


def mounted_alone(path: Path) -> str:
    """Return a warning where a file is mounted without its directory; empty where it is not.

    As a container has it that was given `waxlocal.db` alone: SQLite's log lies in the directory,
    which goes with the container, and what was recorded last goes with the log. It is known by the
    file systems; a file that is mounted from the same one is not noticed.
    """
    real = real_path(path)
    with Suppress(OSError):
        if os.stat(real).st_dev != os.stat(real.parent).st_dev:  # noqa: PTH116
            return (
                f"{path} is mounted without its directory, and its log beside it may be lost with "
                f"the container. Try: mount the directory, {real.parent}"
            )
    return ""


def may_make_index(path: Path) -> bool:
    """Return whether SQLite can make the `-shm` beside a file, without which it reads no log."""
    return os.access(real_path(path).parent, os.W_OK) and not is_full(path)


def may_write(path: Path) -> bool:
    """Return whether this user may write to a file, or make one: SQLite makes others beside it."""
    folder = path.parent
    if os.access(path, os.F_OK):
        return os.access(path, os.W_OK) and os.access(folder, os.W_OK)
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


# Of a file that has room for `-journal` behind its name: MAX_PATHNAME of SQLite's os_unix.c, 512.
_LONGEST_PATH = 512 - len("-journal")
_SHORTER = "choose a shorter path with --db FILE or WAXLOCAL_DB"


def unusable(path: Path) -> FileUnusable | None:
    """Return why no file at this path can be read, now or later; None if one could be.

    SQLite says "unable to open database file" to all of it, as where a file may not be written.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (no frame of pathlib between)
    except OSError as error:
        if raised_by_handler(error):
            raise
        return _not_reachable(path, error)
    if stat.S_ISDIR(mode):
        return NotADatabase(f"{path} is a directory")
    if not stat.S_ISREG(mode):
        return NotADatabase(f"{path} is not a plain file")
    if not os.access(path, os.R_OK):
        return FileUnusable(f"{path} may not be read by this user", hint=_ASK_OWNER)
    return None


def _not_reachable(path: Path, error: OSError) -> FileUnusable | None:
    if isinstance(error, FileNotFoundError):
        return None
    if isinstance(error, PermissionError):
        return FileUnusable(f"{path} is in a directory that may not be entered", hint=_ASK_OWNER)
    if isinstance(error, NotADirectoryError):
        return FileUnusable(f"{path} is below a file that is not a directory")
    # A name that is too long, links in a circle.
    return FileUnusable(f"{path}: {error.strerror}")


_ASK_OWNER = (
    "ask its owner for the right to read it, or choose another file with --db FILE or WAXLOCAL_DB"
)
