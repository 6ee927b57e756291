"""Damages the search index of a file, as a disk does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from waxlocal.search.index_file import index_path

__all__ = ["damage_from", "damage_words"]


def damage_from(path: Path, start: int, length: int | None = None) -> None:
    """Overwrite the index of a file from a byte on: so many bytes, or all that follow."""
    index = index_path(path)
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = bytearray(index.read_bytes())
    end = len(whole) if length is None else start + length
    whole[start:end] = b"\xff" * (end - start)
    index.write_bytes(whole)


def damage_words(path: Path) -> None:
    """Overwrite where the words are; the other tables stay whole."""
    root = "SELECT rootpage FROM sqlite_schema WHERE name = 'words_data'"
    with closing(sqlite3.connect(index_path(path))) as index:
        ((page,), (size,)) = (index.execute(sql).fetchone() for sql in (root, "PRAGMA page_size"))
    damage_from(path, (page - 1) * size, size)
