"""Starts servers fast: one process has everything loaded, and each server is a fork of it.

To start Python and import what a server needs takes longer than most tests then take with it.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from tests.tools.patience import PATIENCE_S

__all__ = ["Nursery", "Started", "serve_forks"]

ROOT = Path(__file__).parents[2]
# A request or an answer has a few hundred bytes.
_MOST_BYTES = 65_536


class Started(NamedTuple):
    """A server's process, which is a child of the nursery, and its pipes."""

    pid: int
    stdin: TextIO
    stdout: TextIO


class Nursery:
    """The other process, seen from the one that runs the tests; for any thread."""

    def __init__(self, module: str) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--fork", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._owner = os.getpid()
        atexit.register(self._close)

    def start(self, arguments: Sequence[str]) -> Started:
        """Start a server; it ends once its `stdin` is closed."""
        its_stdin, stdin = os.pipe()
        stdout, its_stdout = os.pipe()
        try:
            with self._lock:
                request = json.dumps(arguments).encode()
                socket.send_fds(self._channel, [request], [its_stdin, its_stdout])
                pid = self._answer()
        finally:
            os.close(its_stdin)
            os.close(its_stdout)
        return Started(pid, os.fdopen(stdin, "w"), os.fdopen(stdout))

    def wait(self, pid: int) -> int:
        """Wait for the end of a server, killed if it does not come; return its exit status."""
        with self._lock:
            self._channel.send(json.dumps(pid).encode())
            return self._answer()

    def _answer(self) -> int:
        said = self._channel.recv(_MOST_BYTES)
        assert said, "the process that starts servers has ended"
        return int(said)

    def _close(self) -> None:
        self._channel.close()
        if os.getpid() == self._owner:  # and not a test's fork of it
            self._process.wait(PATIENCE_S)


def serve_forks(descriptor: int, run: Callable[[Sequence[str]], None]) -> None:
    """Answer a nursery's requests until its end is closed: `run` serves, in a fork."""
    with socket.socket(fileno=descriptor) as channel:
        while True:
            said, pipes, _, _ = socket.recv_fds(channel, _MOST_BYTES, 2)
            if not said:
                return
            asked = json.loads(said)
            if isinstance(asked, int):
                channel.send(str(_status(asked)).encode())
                continue
            pid = os.fork()
            if pid == 0:
                channel.close()
                _run(run, asked, pipes)
            for pipe in pipes:
                os.close(pipe)
            channel.send(str(pid).encode())


def _run(run: Callable[[Sequence[str]], None], arguments: Sequence[str], pipes: list[int]) -> None:
    """Be a server of its own, with these pipes as its standard input and output."""
    status = 1
    try:
        for standard, pipe in enumerate(pipes):
            os.dup2(pipe, standard)
            os.close(pipe)
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
        run(arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _status(pid: int) -> int:
    until = time.monotonic() + PATIENCE_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
