"""A file that may not be written, read with the costs that its calls would get in it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import StorageError
from waxlocal.prices.table import can_price, price_pending
from waxlocal.storage.connection import open_writer, reader
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import file_size, is_full, may_write

__all__ = ["MOST_BYTES", "Readable", "priced"]

# A copy of so many bytes takes about a second, for each command.
MOST_BYTES = 512 * 1024 * 1024


class Readable(NamedTuple):
    """The file to read; `unpriced` says why calls in it have no cost that could have one."""

    path: Path
    unpriced: str = ""


@contextmanager
def priced(path: Path, clock: Clock = SYSTEM_CLOCK) -> Iterator[Readable]:
    """Price the calls of a file that wait for it, and yield the file to read them from.

    Of a file that may not be written, or lies on a full disk, that is a copy, which only this user
    can read, and only in the block: the totals of runs and sessions are part of the file, and
    follow its calls. A file without such calls is not copied. Raises nothing of its own.
    """
    if may_write(path) and not is_full(path):
        price_pending(path, clock)
        yield Readable(path)
        return
    with ExitStack() as left:
        yield _priced_copy(path, left, clock)


def _priced_copy(path: Path, left: ExitStack, clock: Clock) -> Readable:
    """Return the copy, which `left` removes; the file itself if it needs none or gets none."""
    try:
        with reader(path) as connection:
            if not can_price(connection, clock):
                return Readable(path)
            if file_size(path) + log_size(path) > MOST_BYTES:
                return Readable(path, "it is too large to be copied for that")
            # Only this user can read the directory.
            place = tempfile.TemporaryDirectory(prefix="waxlocal-", ignore_cleanup_errors=True)
            copy = Path(left.enter_context(place)) / path.name
            with closing(open_writer(copy)) as target:
                connection.backup(target)
    except (OSError, StorageError, sqlite3.Error) as error:
        return Readable(path, str(error))
    price_pending(copy, clock)
    return Readable(copy)
