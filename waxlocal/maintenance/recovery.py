"""Puts a sound file in the place of a damaged one, and keeps the damaged one beside it."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import DiskFull, FileLocked, FileMissing, NotADatabase, StorageError
from waxlocal.maintenance.saved_rows import save_rows
from waxlocal.storage.connection import exclusive, reader, without_log
from waxlocal.storage.log_file import log_path, log_size
from waxlocal.storage.paths import (
    beside,
    file_size,
    make_private,
    real_path,
    unusable,
)
from waxlocal.storage.storage_errors import storage_error

__all__ = ["Recovered", "is_sound", "recover"]

_HINTS: dict[type[StorageError], str] = {
    FileLocked: "stop the programs that have it open, also server and daemon: fuser FILE",
    DiskFull: "free as much as the file takes twice, and run waxlocal recover again",
}
_MAGIC = b"SQLite format 3\0"
_ENDINGS = ("", "-wal", "-shm")


class Recovered(NamedTuple):
    """What a recovery came to.

    `rows`, `unread` and `refused`: as in `SavedRows`. `kept`: the copy of the damaged file, or of
    its log alone if nothing else was left; None where the file was sound and stays as it is.
    `log`: the file itself was sound, and its log was put away.
    """

    rows: dict[str, int]
    unread: int
    refused: int
    kept: Path | None
    log: bool = False


def recover(path: Path, *, clock: Clock = SYSTEM_CLOCK) -> Recovered:
    """Put a file that can be read in the place of a damaged one, which stays beside it.

    Needs room for two copies of the file. Nobody may have the file open; where somebody has, it
    stays as it is, but for the length that a file which was cut off gets again. After a kill at any
    point the file is the damaged one or the new one. Raises `FileLocked` if somebody has it open,
    `NotADatabase` where its beginning is lost or it is no file, and `StorageError`.
    """
    if (reason := unusable(path)) is not None:  # a directory, a device: nothing to move away
        raise reason
    if not file_size(path) and log_size(path):  # SQLite deletes the log of an empty file
        return Recovered({}, 1, 0, _keep_log(path, clock))
    if is_sound(path):
        return Recovered({}, 0, 0, None)
    _need_beginning(path)
    kept = _free_name(path, clock)
    try:
        _keep(path, kept)
        return _put_in_place(path, kept)
    except StorageError as error:  # the damaged file is still in its place
        _remove(kept)
        error.name_file(str(path))
        error.propose(_HINTS.get(type(error), error.hint))
        raise


def _put_in_place(path: Path, kept: Path) -> Recovered:
    only_log = log_path(kept).exists() and _is_sound_without_log(kept)
    if not only_log:
        _lengthen(path)
    with _nobody_else(path, kept) as damaged, _new_beside(path) as new:
        if only_log:
            with _errors(path):
                _copy(kept, new)
            _replace(new, path)
            return Recovered({}, 0, 0, kept, log=True)
        make_private(new, like=path)
        saved = save_rows(damaged, new)
        _replace(new, path)
        return Recovered(*saved, kept)


def is_sound(path: Path) -> bool:
    """Return whether nothing is damaged in a file, which is read whole; raises `StorageError`."""
    try:
        with reader(path) as connection:
            return _passes(connection)
    except FileMissing:  # empty: whoever records next begins it
        return True
    except NotADatabase:
        return False


def _passes(connection: sqlite3.Connection) -> bool:
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.OperationalError:  # busy, or the disk
        raise
    except sqlite3.DatabaseError:
        return False
    return [tuple(row) for row in found] == [("ok",)]


def _is_sound_without_log(path: Path) -> bool:
    """Return whether a file is sound as far as its last checkpoint; its log is not looked at."""
    with without_log(path) as connection:
        return _passes(connection)


def _need_beginning(path: Path) -> None:
    """Raise `NotADatabase` where the file does not begin as SQLite's do: then nothing is read."""
    with _errors(path), path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return
    there, away = shlex.quote(str(path)), shlex.quote(f"{path}.damaged")
    raise NotADatabase(
        f"{path} does not begin as a database does: it is something else, or nothing can be read",
        hint=f"if it held recordings, keep it elsewhere, and record anew: mv {there} {away}",
    )


def _lengthen(path: Path) -> None:
    """Give a file that was cut off its length again, with zeros: SQLite opens no shorter one.

    The header has the size of a page at byte 16, and the number of pages at byte 28
    (https://sqlite.org/fileformat2.html#the_database_header).
    """
    with _errors(path), path.open("rb+") as file:
        header = file.read(32)
        size = int.from_bytes(header[16:18], "big")
        whole = (65_536 if size == 1 else size) * int.from_bytes(header[28:32], "big")
        if file.seek(0, os.SEEK_END) < whole:
            file.truncate(whole)


# -- files -----------------------------------------------------------------------------------------


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def _keep(path: Path, kept: Path) -> None:
    """Copy a file and its log as they are."""
    with _errors(path):
        _copy(real_path(path), kept)
        if log_size(path):
            _copy(log_path(path), log_path(kept))


def _remove(path: Path) -> None:
    """Remove a file of ours, and what SQLite has beside it."""
    for ending in _ENDINGS:
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _keep_log(path: Path, clock: Clock) -> Path:
    """Copy the log alone, to a name by which SQLite does not look for it; it would delete it."""
    kept = _free_name(path, clock, ".log")
    with _errors(path):
        _copy(log_path(path), kept)
    return kept


def _free_name(path: Path, clock: Clock, ending: str = "") -> Path:
    moment = datetime.fromtimestamp(clock.time_ns() / 1e9, timezone.utc)
    named = beside(path, f".damaged-{moment:%Y%m%dT%H%M%SZ}")
    names = (f"{named}{ending}", *(f"{named}.{number}{ending}" for number in range(2, 1_000)))
    # `lexists`: nothing is made where a link leads.
    return Path(next(one for one in names if not os.path.lexists(one)))


def _copy(source: Path, target: Path) -> None:
    """Copy a file, which nobody else may read meanwhile, and bring it to the disk."""
    make_private(target, like=source)
    shutil.copyfile(source, target)
    shutil.copystat(source, target)
    with target.open("rb+") as copied:
        os.fsync(copied.fileno())


@contextmanager
def _new_beside(path: Path) -> Iterator[Path]:
    """Give a name for the new file, without anything that a killed recovery has left there."""
    new = beside(path, ".recovering")
    try:
        _remove(new)
        yield new
    finally:
        _remove(new)


@contextmanager
def _nobody_else(path: Path, kept: Path) -> Iterator[sqlite3.Connection]:
    """Keep all others out of a damaged file, so that another may take its place; give it open.

    Where the damage is such that SQLite cannot even lock it, its copy is given without its log.
    """
    with ExitStack() as stack:
        try:
            held = stack.enter_context(exclusive(path))
        except NotADatabase:
            held = stack.enter_context(without_log(kept))
        yield held


def _replace(new: Path, path: Path) -> None:
    """Put a file in the place of a damaged one, with its mode, and its log away."""
    there = real_path(path)
    with _errors(path):
        shutil.copymode(there, new)
        for ending in _ENDINGS[1:]:
            beside(path, ending).unlink(missing_ok=True)
        new.replace(there)
        _sync_directory(there.parent)


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):  # not every system opens directories
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
