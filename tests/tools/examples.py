"""How thoroughly the tests look: a third of what is alike is tried, in CI all of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

__all__ = ["NOTHING_LEFT_OUT", "examples", "left_out", "some"]

# Of so many cases of one test, or tests of one of these folders, a third is tried.
_MANY = 3
_FOLDERS = ("tests/browser/",)

T = TypeVar("T")

# Read at the import: the settings of whoever runs the tests are hidden from them later.
NOTHING_LEFT_OUT = os.environ.get("WAXLOCAL_REQUIRE") == "all"


def examples(number: int) -> int:
    """Return how many examples of a property are tried, of the number that CI tries."""
    return number if NOTHING_LEFT_OUT else -(-number // 3)


def some(cases: Sequence[T]) -> Sequence[T]:
    """Return which of these cases are tried: where one is as good as another, each third."""
    return cases if NOTHING_LEFT_OUT else cases[::3]


def left_out(names: Sequence[str]) -> set[str]:
    """Return which of these tests are left out: two of three cases, and of the tests in a browser.

    Which ones, depends on their names alone: with several parameters, a fixed step would go
    through the values of the first with always the same one of the last.
    """
    if NOTHING_LEFT_OUT:
        return set()
    sizes = Counter(map(_kind_of, names))
    seen: set[str] = set()
    left: set[str] = set()
    for name in names:
        kind = _kind_of(name)
        if kind in seen and sizes[kind] >= _MANY and crc32(name.encode()) % 3:
            left.add(name)
        seen.add(kind)  # the first is always tried
    return left


def _kind_of(name: str) -> str:
    """Return what a test is one of: its folder, or the same with other cases."""
    folders = (folder for folder in _FOLDERS if name.startswith(folder))
    return next(folders, name.partition("[")[0])
