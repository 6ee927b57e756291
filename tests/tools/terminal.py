"""The command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess

from tests.tools.cli import PYTHON, environment
from tests.tools.patience import PATIENCE_S

__all__ = ["on_terminal"]


def on_terminal(*args: object, **env: str) -> tuple[int, str]:
    """Run the command; return its exit status and what the terminal shows."""
    leader, follower = pty.openpty()
    command = [*PYTHON, *map(str, args)]
    with subprocess.Popen(
        command, env=environment(**env), stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        said = b""
        # Not `select`: that takes no file beyond the first thousand of a process.
        ready = select.poll()
        ready.register(leader, select.POLLIN)
        while ready.poll(PATIENCE_S * 1_000):
            try:
                part = os.read(leader, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            said += part
        status = process.wait(PATIENCE_S)
    os.close(leader)
    return status, said.decode().replace("\r\n", "\n")
