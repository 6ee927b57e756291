"""Several processes that record flat out into one file and are killed at random; what they left.

python -m tests.crash.writers FILE [--writers 8] [--kills 100] [--seconds 10] [--limit BYTES]

Each writer acknowledges each call that has returned by a few bytes in a pipe. It ends after
so many kills, or so many seconds where nobody is killed, and prints what is missing as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sqlite3
import struct
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from waxlocal import WaxellContext
from waxlocal.storage.connection import log_keeper, open_writer

__all__ = ["Outcome", "run_writers"]

# A writer, the number of one of its runs, and how many of the run's three calls have returned.
ACKNOWLEDGED = struct.Struct("<III")
# Between two kills: so long on average, and until so many calls have returned.
BETWEEN_KILLS_S = 0.05
BETWEEN_KILLS = 20


class Outcome(NamedTuple):
    """What was killed, what had been acknowledged, and what the file holds of it."""

    kills: int
    acknowledged: int
    lost: int
    damage: list[str]
    largest_log: int


def _write(number: int, pipe: int) -> None:
    """Record runs of one step and one call each until killed or told to stop by SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _frame: stopped.append(signum))
    run_number = 0
    while not stopped:
        run_number += 1
        with WaxellContext(f"w{number}", workflow_name=str(run_number), session_id="s") as run:
            os.write(pipe, ACKNOWLEDGED.pack(number, run_number, 1))
            run.record_llm_call(model="m", tokens_in=1, tokens_out=1, cost=0.5, task="t" * 200)
            os.write(pipe, ACKNOWLEDGED.pack(number, run_number, 2))
        os.write(pipe, ACKNOWLEDGED.pack(number, run_number, 3))
    os._exit(0)


def _checkpoint(path: Path) -> None:
    """Checkpoint without a pause."""
    with closing(open_writer(path, wait=60)):
        keeper = log_keeper(path)
        keeper._rest = (0.0, 0.0)
        keeper._limit = 0
        signal.sigwait({signal.SIGTERM})
        keeper.close()
    os._exit(0)


class _Writers:
    """The writers that are alive, and what all of them have acknowledged."""

    def __init__(self, path: Path) -> None:
        self._log = f"{path}-wal"
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._unread = b""
        self.alive: dict[int, int] = {}
        # Of each writer: the run it was last heard of, and how far that was.
        self.last: dict[int, tuple[int, int]] = {}
        self.heard = 0
        self.largest_log = 0

    def start(self) -> None:
        number = len(self.last)
        self.last[number] = (0, 0)
        if not (pid := os.fork()):
            try:
                os.close(self._reading)
                _write(number, self._writing)
            finally:
                os._exit(1)
        self.alive[pid] = number

    def listen(self, seconds: float) -> None:
        """Take acknowledgements for so long, and look at the log meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(OSError):
                self.largest_log = max(self.largest_log, os.stat(self._log).st_size)
            if select.select([self._reading], [], [], min(left, 0.005))[0]:
                self._take()

    def _take(self) -> None:
        with suppress(BlockingIOError):
            while more := os.read(self._reading, 1 << 16):
                self._unread += more
                whole = len(self._unread) // ACKNOWLEDGED.size * ACKNOWLEDGED.size
                for number, run, calls in ACKNOWLEDGED.iter_unpack(self._unread[:whole]):
                    self.last[number] = (run, calls)
                    self.heard += 1
                self._unread = self._unread[whole:]

    def kill(self, how_many: int) -> None:
        for pid in random.sample(list(self.alive), how_many):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del self.alive[pid]

    def stop(self) -> None:
        for pid in self.alive:
            os.kill(pid, signal.SIGTERM)
        while self.alive:
            self.listen(0.01)
            for pid in list(self.alive):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self.alive[pid]
        self.listen(0.01)


def _lost(path: Path, last: dict[int, tuple[int, int]]) -> int:
    """Return how many acknowledged calls are not in the file."""
    with closing(sqlite3.connect(path, timeout=60)) as conn:
        stored = {
            (agent, int(number)): (1, calls, status == "success")
            for agent, number, calls, status in conn.execute(
                "SELECT agent_name, workflow_name, (SELECT count(*) FROM llm_calls c"
                " WHERE c.run_id = r.run_id), status FROM runs r"
            )
        }
    lost = 0
    for number, (last_run, last_calls) in last.items():
        for run in range(1, last_run + 1):
            wanted = 3 if run < last_run else last_calls
            lost += max(0, wanted - sum(stored.get((f"w{number}", run), (0, 0, False))))
    return lost


def _damage(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, timeout=60)) as conn:
        said = [row[0] for row in conn.execute("PRAGMA integrity_check")]
    return [] if said == ["ok"] else said


def run_writers(
    path: Path, *, writers: int, kills: int, seconds: float, copiers: int = 0
) -> Outcome:
    """Let writers record, kill and replace them; return what is left.

    Forks: to be called in a process that has no threads and has not yet recorded.
    """
    all_writers = _Writers(path)
    others = []
    for _ in range(copiers):
        if not (pid := os.fork()):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            _checkpoint(path)
        others.append(pid)
    for _ in range(writers):
        all_writers.start()
    killed = 0
    deadline = time.monotonic() + seconds
    while killed < kills or time.monotonic() < deadline:
        heard = all_writers.heard
        all_writers.listen(random.uniform(0.2, 1.8) * BETWEEN_KILLS_S)
        while all_writers.heard < heard + BETWEEN_KILLS:
            all_writers.listen(0.005)
        if killed < kills:
            chosen = min(random.choice((1, 1, 1, 2, writers)), kills - killed)
            all_writers.kill(chosen)
            killed += chosen
            for _ in range(chosen):
                all_writers.start()
    all_writers.stop()
    for pid in others:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    acknowledged = sum(3 * max(run - 1, 0) + calls for run, calls in all_writers.last.values())
    damage = _damage(path)
    lost = _lost(path, all_writers.last)
    return Outcome(killed, acknowledged, lost, damage, all_writers.largest_log)


def main() -> None:
    """Run the writers that the arguments describe, and print the outcome as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--copiers", type=int, default=0, help="processes that only checkpoint")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--limit", type=int, help="bytes of log; looked at after each commit")
    parser.add_argument("--unsynced", action="store_true", help="synchronous = OFF")
    options = parser.parse_args()
    os.environ["WAXLOCAL_DB"] = str(options.file)
    if options.limit is not None:
        from waxlocal.recording import slow_path, store

        for module, name, value in (
            (store, "LOOK_S", 0.0),
            (store, "LONG_BYTES", options.limit),
            (slow_path, "LONG_BYTES", options.limit),
        ):
            setattr(module, name, value)
    if options.unsynced:
        from waxlocal.storage import connection

        connection._SYNCHRONOUS["normal"] = "OFF"
    outcome = run_writers(
        options.file,
        writers=options.writers,
        kills=options.kills,
        seconds=options.seconds,
        copiers=options.copiers,
    )
    json.dump(outcome._asdict(), sys.stdout)


if __name__ == "__main__":
    main()
