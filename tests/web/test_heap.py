"""What the C library of a server keeps of freed memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal.web import heap

# An arena of a thread reserves 64 MB of addresses, of which the unused part cannot be read.
COUNT_ARENAS = """
import sys, threading
from waxlocal.web.heap import return_memory

if sys.argv[1] == "small":
    return_memory()
waiting = threading.Barrier(4)

def allocate():
    waiting.wait()  # all at once, so that each thread wants memory while others have theirs
    for _ in range(200):
        kept = [bytes(2_000) for _ in range(500)]

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with open("/proc/self/maps") as maps:
    ends = [line.split()[0].split("-") for line in maps if " ---p " in line]
print(sum((int(end, 16) - int(start, 16)) >> 20 in range(32, 65) for start, end in ends))
"""


def arenas(how: str) -> int:
    """Return how many heaps the threads of a process have beside its own."""
    program = [sys.executable, "-c", COUNT_ARENAS, how]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the heap of glibc")
def test_the_threads_of_a_server_share_a_heap() -> None:
    """Each of them would keep what its largest question took."""
    assert arenas("as usual") > 0
    assert arenas("small") == 0


# What is freed between blocks that stay is not at the end of the heap.
FREE_BETWEEN = """
import asyncio, os, sys
from waxlocal.web.heap import keep_trimmed, return_memory

def in_use():
    with open("/proc/self/statm") as figures:
        return int(figures.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def once():
    trimming = asyncio.create_task(keep_trimmed(0.0))
    before = in_use()
    while in_use() > before - 20_000_000:
        await asyncio.sleep(0.01)
    trimming.cancel()

return_memory()
kept = [bytes(2_000) for _ in range(20_000)]
kept = kept[::100]
asyncio.run(once())
print("given back")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the heap of glibc")
def test_what_is_unused_between_blocks_that_stay_goes_back() -> None:
    """By itself the heap keeps it: 36 of the 40 MB."""
    program = [sys.executable, "-c", FREE_BETWEEN]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("given back\n", "")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no such setting."""
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.return_memory()
    asyncio.run(heap.keep_trimmed())
