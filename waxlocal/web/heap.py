"""Keeps the memory of a server that runs for months small, where it is glibc's."""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress

__all__ = ["keep_trimmed", "return_memory"]

# See mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Larger blocks come from the system and go back to it. By default glibc raises this limit, up to
# 32 MB, whenever it frees such a block.
LARGE_BYTES = 256 * 1024
# What may stay unused at the end of the heap.
UNUSED_BYTES = 1024 * 1024
# Seconds between two returns of what is unused in the middle of the heap. Each takes a
# millisecond, in which nobody else gets memory.
TRIM_S = 60.0


def return_memory() -> None:
    """Let the C library give freed memory back to the system; does nothing elsewhere.

    Without this, each reading thread has a heap of its own (an arena) that keeps what its largest
    question took. Before the threads start, and for the whole process.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none to be had
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, UNUSED_BYTES)


async def keep_trimmed(seconds: float = TRIM_S) -> None:
    """Give back, again and again, what is unused in the middle of the heap; ends when cancelled.

    By itself the heap shrinks only at its end, which one small block that stays prevents: in ten
    minutes of changing questions 5 MB of 92 had gathered.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none to be had
        trim = ctypes.CDLL(None).malloc_trim
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(trim, 0)
