"""A process that uploads until nothing is pending, or until it kills itself where it is told to.

python uploading.py FILE URL single|bulk [POINT NTH]

Prints a line when it begins. It ends by SIGKILL at the NTH passage of one of the uploader's named
points; for the point `statement`, just before the NTH statement within its transactions.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path
from typing import Any

from tests.crash.files import environment
from tests.tools.sync import QUICK, settings_for
from waxlocal import WaxellContext
from waxlocal_daemon.lock import exclusive
from waxlocal_daemon.log import Log
from waxlocal_daemon.uploader import Uploader

__all__ = ["POINTS", "STATEMENT", "record_runs", "start", "upload"]

STATEMENT = "statement"
# Where an uploader says that it is, and how often it passes there at least in a cycle: run by run,
# and in bulk, which freezes no requests.
POINTS = {
    "admitted": (1, 1),
    "marked": (8, 1),
    "frozen": (8, 0),
    "sending": (180, 2),
    "answered": (30, 2),
    "settled": (30, 2),
    STATEMENT: (1_200, 240),
}
# More records than one request takes.
LONG = 700


def record_runs(count: int, chance: random.Random) -> int:
    """Record about so many runs of all kinds; return how many.

    Among them are runs inside of others, a large one, and one with more records than a request
    takes.
    """
    recorded = _record(chance, text="x" * 100_000)
    while recorded < count - 1:
        recorded += _record(chance, runs_inside=chance.random() < 0.1)
    with WaxellContext("archivist", session_id="sess_long") as run:
        for number in range(LONG):
            run.record_step("read", {"page": number})
    return recorded + 1


def _record(chance: random.Random, *, text: str = "", runs_inside: bool = False) -> int:
    recorded = 1
    session = f"sess_{chance.randrange(50)}"
    with WaxellContext("librarian", session_id=session, inputs={"text": text}) as run:
        run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.001)
        for _ in range(chance.randint(1, 2) if runs_inside else 0):
            recorded += _record(chance, runs_inside=chance.random() < 0.2)
        run.record_step("think", {"n": chance.randrange(1_000)})
        run.record_score("quality", chance.random())
    return recorded


def start(path: Path, url: str, *arguments: object) -> subprocess.Popen[str]:
    """Start an upload in a process of its own; return it once it has begun."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(path), url, *map(str, arguments)],
        env=environment(path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def upload(path: Path, url: str, kind: str, point: str = "", nth: int = 0) -> None:
    """Upload until nothing is pending, under the lock of the file."""
    passed = 0

    def at(reached: str) -> None:
        nonlocal passed
        passed += reached == point
        if nth and passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = settings_for(url, bulk=kind == "bulk")
    with exclusive(path):
        uploader = Uploader(path, settings, log=Log(StringIO()), pace=QUICK, at=at)
        if point == STATEMENT:
            connection: sqlite3.Connection = uploader._outbox.connection
            connection.set_trace_callback(
                lambda _sql: at(STATEMENT) if connection.in_transaction else None
            )
        print("begun", flush=True)
        stop = threading.Event()
        while True:
            rest = uploader.run(stop)
            if not uploader.progress().pending:
                break
            stop.wait(min(rest, 0.1))
        uploader.close()


def _main(path: str, url: str, kind: str, *where: Any) -> None:
    upload(Path(path), url, kind, *where[:1], *map(int, where[1:]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
