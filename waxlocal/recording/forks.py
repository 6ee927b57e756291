"""Forks of a process that records: files are closed before, and parent and child open them anew.

SQLite must have no handle on a file at the moment of a fork: the child would think it holds the
locks that only its parent holds (https://sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import sys
import threading
from _weakrefset import WeakSet  # all of `weakref` takes a millisecond to import
from collections.abc import Callable
from typing import Protocol

__all__ = ["Forking", "close_with_multiprocessing", "follow_forks"]


class Forking(Protocol):
    """What has to know of the forks of its process."""

    def before_fork(self) -> bool:
        """Let go of the file, and keep it so until the fork is done; return whether it is."""

    def after_fork_in_parent(self) -> None:
        """Go on; called where `before_fork` has returned True."""

    def after_fork_in_child(self) -> tuple[object, ...]:
        """Begin anew; return what could not be closed before the fork, to be kept for good."""


_following: WeakSet[Forking] = WeakSet()
# Closed, and held until the fork is done: by the thread that forks, for several may fork at once.
_held: dict[int, list[Forking]] = {}
# Connections that could not be closed before a fork. The child must not close them either: it
# would undo, in the shared memory of the WAL, what the parent is just writing.
_inherited: list[object] = []


def follow_forks(store: Forking) -> None:
    """Tell a store of each fork of this process, for as long as there is the store."""
    _following.add(store)


def close_with_multiprocessing(close: Callable[[], None]) -> None:
    """Have what waits written at the end of a multiprocessing child, which runs no atexit."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)


def _before_fork() -> None:
    held = _held[threading.get_ident()] = []
    held.extend(store for store in list(_following) if store.before_fork())


def _after_fork_in_parent() -> None:
    for store in _held.pop(threading.get_ident(), ()):
        store.after_fork_in_parent()


def _after_fork_in_child() -> None:
    _held.clear()
    for store in list(_following):
        _inherited.extend(store.after_fork_in_child())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
