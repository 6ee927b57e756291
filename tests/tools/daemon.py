"""Runs the daemon as a process, and reads what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools.cli import PYTHON, environment, recorded
from tests.tools.patience import PATIENCE_S, killed_if_late

__all__ = ["KEY", "Running", "add_runs", "manager", "received", "running"]

KEY = "wax_sk_canary_5e1f0d"
COMMAND = (*PYTHON, "daemon", "run")


class Running:
    """A daemon in a process of its own, whose lines are read one by one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def line(self) -> str:
        """Return the next line; the process is killed if none comes."""
        assert self.process.stderr is not None
        with killed_if_late(self.process):
            line = self.process.stderr.readline()
        self.said.append(line)
        assert line, f"the daemon says no more: {self.said}"
        return line

    def event(self, name: str) -> dict[str, Any]:
        """Read on until an event; return its fields."""
        while True:
            line = self.line()
            if line.startswith("{") and (told := json.loads(line))["event"] == name:
                return dict(told)

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.send(number)
        assert self.process.stderr is not None
        status = self.process.wait(PATIENCE_S)
        self.said += self.process.stderr.readlines()
        return status


@contextmanager
def running(
    db: Path, url: str, *args: object, program: Sequence[str] = COMMAND, **env: str
) -> Iterator[Running]:
    """Start the daemon on a file; killed at the end of the block if it still runs."""
    command = [*program, "--db", str(db), "--log-format", "json", *map(str, args)]
    settings = {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY, "WAXLOCAL_SYNC_POLL": "0.5", **env}
    with subprocess.Popen(
        command,
        env=environment(HOME=str(db.parent), **settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def add_runs(db: Path, number: int, *, first: int = 1) -> None:
    """Add finished runs with a call each; `first` numbers their ids."""
    with recorded(db) as file:
        file._runs = first - 1
        for _ in range(number):
            file.llm(file.run(at=first), cost=0.001, at=0.5)


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """Listen as a service manager does; `address` may be abstract, with a NUL in front."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(PATIENCE_S)
        yield listening


def received(listening: socket.socket, prefix: str) -> str:
    """Return the next datagram that begins so."""
    while True:
        text = listening.recv(4096).decode()
        if text.startswith(prefix):
            return text
