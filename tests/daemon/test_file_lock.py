"""Locks on open files, also as Windows has them."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import multiprocessing
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from waxlocal_daemon import file_lock


def _locking(descriptor: int, mode: int, length: int) -> None:
    """Lock bytes from where the descriptor stands, as msvcrt does; by locks of processes."""
    kind = {1: fcntl.LOCK_EX | fcntl.LOCK_NB, 0: fcntl.LOCK_UN}[mode]
    try:
        fcntl.lockf(descriptor, kind, length, 0, os.SEEK_CUR)
    except OSError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def _on_windows() -> types.ModuleType:
    """Return the module as it is there; msvcrt is stood in for by locks of POSIX."""
    msvcrt = types.ModuleType("msvcrt")
    vars(msvcrt).update(locking=_locking, LK_NBLCK=1, LK_UNLCK=0)
    spec = importlib.util.spec_from_file_location("file_lock_on_windows", file_lock.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "msvcrt", msvcrt)
        patch.setitem(sys.modules, "fcntl", None)
        patch.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module


Way = Callable[[], types.ModuleType]
WAYS = pytest.mark.parametrize("way", [lambda: file_lock, _on_windows], ids=["posix", "windows"])


def _free_elsewhere(way: Way, path: Path) -> bool:
    """Return whether another process can lock the file."""
    asking, telling = multiprocessing.get_context("fork").Pipe(duplex=False)

    def ask() -> None:
        descriptor = os.open(path, os.O_RDWR)
        telling.send(way().try_lock(descriptor))

    process = multiprocessing.get_context("fork").Process(target=ask)
    process.start()
    free: bool = asking.recv()
    process.join()
    return free


@WAYS
def test_a_locked_file_is_nobody_elses_until_it_is_unlocked(way: Way, tmp_path: Path) -> None:
    """Refused at once, and free again at once; what is written in the file can be read."""
    path = tmp_path / "lock"
    path.write_text("who")
    descriptor = os.open(path, os.O_RDWR)
    try:
        assert way().try_lock(descriptor)
        assert not _free_elsewhere(way, path)
        assert path.read_text() == "who"
        way().unlock(descriptor)
        assert _free_elsewhere(way, path)
    finally:
        os.close(descriptor)


def test_shared_locks_do_not_shut_each_other_out(tmp_path: Path) -> None:
    """Any number may ask at a time."""
    path = tmp_path / "lock"
    path.touch()
    first, second = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        assert file_lock.try_lock(first, shared=True)
        assert file_lock.try_lock(second, shared=True)
    finally:
        os.close(first)
        os.close(second)
