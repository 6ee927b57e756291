"""Run a command beside the server: start it, restart it if it exits, stop it at the end."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence

__all__ = ["Supervisor"]

# Seconds before a restart: doubled each time, from the first value up to the second.
RESTART_S = (1.0, 300.0)
# After a process ran this long, the wait starts again at the first value.
WELL_S = 60.0
# Seconds to stop by itself before it is killed; the daemon needs up to 10 seconds.
STOP_S = 12.0


class Supervisor:
    """Keeps a command running; its output goes to the server's stdout and stderr."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        say: Callable[[str], None],
        restart_s: tuple[float, float] = RESTART_S,
        well_s: float = WELL_S,
    ) -> None:
        self._command = list(command)
        self._say = say
        self._restart_s = restart_s
        self._well_s = well_s
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="waxlocal-supervisor", daemon=True)

    def start(self) -> None:
        """Start the command and supervise it."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the command, by force if it does not stop by itself, and wait for it."""
        with self._lock:
            self._ending.set()
            process = self._process
            if process is not None and process.poll() is None:
                process.terminate()
        if process is not None:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        wait, most = self._restart_s
        told = None
        while (process := self._start()) is not None:
            try:
                status: int | None = process.wait(self._well_s)
            except subprocess.TimeoutExpired:
                wait, told = self._restart_s[0], None
                status = process.wait()
            if self._ending.is_set():
                return
            if status != told:  # log each exit status once, not every restart
                self._say(f"event=companion-ended status={status} restart_s={wait:g}")
                told = status
            if self._ending.wait(wait):
                return
            wait = min(wait * 2, most)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ending.is_set():
                return None
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                self._command, stdin=subprocess.DEVNULL
            )
            return self._process
