"""A log that is long, and what is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from waxlocal.storage.connection import open_writer
from waxlocal.storage.log_file import log_size

__all__ = ["INSERT", "KIB", "generation", "written"]

KIB = 1024
INSERT = (
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES ('', ?, '', 'e', ?)"
)


@contextmanager
def written(path: Path, *, size: int = 800 * KIB) -> Iterator[sqlite3.Connection]:
    """Give a writing connection that has filled the log to this size."""
    with closing(open_writer(path, wait=10)) as conn:
        position = 0
        while log_size(path) < size:
            position += 1
            conn.execute(INSERT, (position, "x" * 4_000))
        yield conn


def generation(path: Path) -> bytes:
    """Return the salts of the log, which are others each time it starts anew."""
    with open(f"{path}-wal", "rb") as log:
        return log.read(24)[16:]
