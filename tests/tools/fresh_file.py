"""A file with the schema and nothing else: to make one takes ten times as long as to copy it."""

from __future__ import annotations

import functools
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from waxlocal.storage.connection import open_writer

__all__ = ["lay_out"]


@functools.cache
def _image() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "fresh.db"
        open_writer(path).close()
        return path.read_bytes()


def lay_out(path: Path) -> None:
    """Put a new file there, as the first one to record makes it, unless there is one already."""
    with suppress(FileExistsError, FileNotFoundError):  # nor where there is no directory
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(_image())
