"""The WAL-reset bug of SQLite before 3.51.3, brought about on purpose: with our lock, and without.

python -m tests.crash.reset_race FILE [--seconds 3] [--unlocked]

A checkpoint reads how long the log is, and then how much of it was copied already. Should a writer
start the log anew between the two, after another checkpoint has copied all of it, the first one
takes the new log for copied, and what is in it never reaches the file
(https://sqlite.org/wal.html#walresetbug). By nature that moment is some nanoseconds long. Here it
lasts two milliseconds: a connection that maps the file into memory unmaps it just there, and a
library that is loaded before the system's lets `munmap` take its time. It needs `cc`.

Two programs record, one checkpoints all the time, and one has the long moment. Prints what is
missing and what is damaged as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.tools.patience import PATIENCE_S
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import checkpointer, open_writer
from waxlocal.storage.retry import while_busy

__all__ = ["Outcome", "build_library", "is_mended"]

LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <unistd.h>
int munmap(void *address, size_t length) {
  int (*real)(void *, size_t) = (int (*)(void *, size_t))dlsym(RTLD_NEXT, "munmap");
  int result = real(address, length);
  usleep(2000);
  return result;
}
"""
WRITERS = 2
# A writer, and which of its records is in the file; or `WRITERS`, and whether all was copied.
ACKNOWLEDGED = struct.Struct("<II")
INSERT = "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES (?, ?, '', 'e', ?)"
MAPPED_BYTES = 1 << 30
# Between two records on average, so that most checkpoints copy all of the log.
BETWEEN_S = 0.0015


class Outcome(NamedTuple):
    """What was acknowledged, and what the file holds of it."""

    acknowledged: int
    lost: int
    damage: list[str]
    checkpoints: int


def build_library(place: Path) -> dict[str, str]:
    """Return the environment in which the moment is long. Raises `OSError` where there is no cc."""
    source, library = place / "moment.c", place / "moment.so"
    source.write_text(LIBRARY)
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library)}


def is_mended(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Return whether a version of SQLite does not have the bug."""
    return (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )


class _Unlocked(Checkpointer):
    """One that keeps nobody from starting the log anew, as SQLite's own checkpoints."""

    def run(self, limit: int = 0) -> bool:
        self._pair = self._pair or self._open_pair()
        _, frames, copied = self._pair[0].execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(copied == frames)


def _write(path: Path, number: int, pipe: int, end: float) -> None:
    chance = random.Random(number)
    with closing(open_writer(path, wait=60)) as connection:
        position = 0
        while time.monotonic() < end:
            position += 1
            row = (f"w{number}", position, "x" * chance.randrange(50, 1_500))
            while_busy(partial(connection.execute, INSERT, row), end + PATIENCE_S)
            os.write(pipe, ACKNOWLEDGED.pack(number, position))
            time.sleep(chance.uniform(0, 2 * BETWEEN_S))


def _checkpoint(path: Path, locked: bool, mapped: bool, pipe: int, end: float) -> None:
    """Checkpoint by the product's own class; `mapped`: with the long moment."""
    opened: list[sqlite3.Connection] = []
    usual = checkpointer(path)._open

    def open_() -> sqlite3.Connection:
        connection = usual()
        connection.execute("PRAGMA synchronous = OFF")  # only processes end here
        if mapped:
            connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        opened.append(connection)
        return connection

    log = (Checkpointer if locked else _Unlocked)(path, open_)
    with closing(log):
        while time.monotonic() < end:
            for connection in opened if mapped else ():
                # Maps the file; what is written in the next moment makes the checkpoint unmap it.
                connection.execute("SELECT version FROM schema_version").fetchall()
            time.sleep(0.002 if mapped else 0.000_2)
            with suppress(sqlite3.OperationalError, OSError):
                os.write(pipe, ACKNOWLEDGED.pack(WRITERS, int(log.run())))


def _race(path: Path, *, locked: bool, seconds: float) -> Outcome:
    with closing(open_writer(path)):
        pass
    reading, writing = os.pipe()
    end = time.monotonic() + seconds
    work: list[Callable[[], None]] = [
        *(partial(_write, path, number, writing, end) for number in range(WRITERS)),
        *(partial(_checkpoint, path, locked, mapped, writing, end) for mapped in (False, True)),
    ]
    children = [_forked(one) for one in work]
    os.close(writing)
    said = b""
    while more := os.read(reading, 1 << 16):
        said += more
    os.close(reading)
    for child in children:
        os.waitpid(child, 0)
    whole = said[: len(said) // ACKNOWLEDGED.size * ACKNOWLEDGED.size]
    told = list(ACKNOWLEDGED.iter_unpack(whole))
    recorded = {(f"w{number}", position) for number, position in told if number < WRITERS}
    checkpoints = sum(complete for number, complete in told if number == WRITERS)
    return Outcome(len(recorded), *_found(path, recorded), checkpoints)


def _forked(work: Callable[[], None]) -> int:
    if not (child := os.fork()):
        try:
            # A damaged file ends them: the parent finds out what there is to say.
            with suppress(sqlite3.DatabaseError):
                work()
        finally:
            os._exit(0)
    return child


def _found(path: Path, recorded: set[tuple[str, int]]) -> tuple[int, list[str]]:
    """Return how many records are missing, and what SQLite says about the file."""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            stored = set(connection.execute("SELECT run_id, position FROM events").fetchall())
    except sqlite3.DatabaseError as error:
        return len(recorded), [str(error)]
    return len(recorded - stored), [] if said == ["ok"] else said


def main() -> None:
    """Race as the arguments say, and print the outcome as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--unlocked", action="store_true", help="checkpoint beside the writers")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        env = {**os.environ, **build_library(options.file.parent)}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:], "--inside"], env)
    outcome = _race(options.file, locked=not options.unlocked, seconds=options.seconds)
    json.dump(outcome._asdict(), sys.stdout)


if __name__ == "__main__":
    main()
