"""One descriptor of each file, which stays open until the file is deleted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from waxlocal.storage import kept_files
from waxlocal.storage.kept_files import close_deleted, kept_open
from waxlocal.storage.paths import FileId, file_id

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced")


def made(path: Path) -> FileId:
    """Make a file; return its identity."""
    path.touch()
    identity = file_id(path)
    assert identity is not None
    return identity


def test_a_file_that_takes_the_place_of_another_keeps_its_one_descriptor(tmp_path: Path) -> None:
    """With a second one, the locks of the first could not be given back."""
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    replaced, kept = made(first), made(second)
    descriptor = kept_open(second, kept)
    second.replace(first)
    with pytest.raises(FileNotFoundError):
        kept_open(first, replaced)
    assert kept_open(first, kept) == descriptor
    first.unlink()
    close_deleted(kept_files._descriptors.keys() - {kept})  # not what other tests hold
    assert kept not in kept_files._descriptors
