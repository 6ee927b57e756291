"""Reports the state of the daemon to systemd: sd_notify(3), without a library."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

from waxlocal.clock import SYSTEM_CLOCK, Clock

__all__ = ["Notifier"]


class Notifier:
    """Sends datagrams to `NOTIFY_SOCKET`; does nothing if that is not set.

    Never waits and never raises, even if the service manager does not listen.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._clock = clock
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address is not None and sys.platform != "win32":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self.interval = _interval(environ) if self._socket else None
        self._pinged_ns = 0
        self._status = ""

    def ready(self) -> None:
        """Report that the daemon has started, or is ready again after `reloading`."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Report in one line what the daemon does; a repeated line is not sent."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog when it is due; may be called at any rate."""
        if self.interval is None:
            return
        now = self._clock.monotonic_ns()
        if not self._pinged_ns or now - self._pinged_ns >= self.interval * 1e9:
            self._pinged_ns = now
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Report that the settings are being read again; `ready` ends that."""
        # systemd expects CLOCK_MONOTONIC, which is Python's monotonic clock on Linux.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={self._clock.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket; later reports are dropped."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is not None and self._address is not None:
            with suppress(OSError):
                self._socket.sendto(message.encode("utf-8", "replace"), self._address)


def _address(given: str) -> str | None:
    if given.startswith("@"):  # the abstract namespace of Linux
        return "\0" + given[1:]
    return given if given.startswith("/") else None


def _interval(environ: Mapping[str, str]) -> float | None:
    """Return the seconds between two watchdog messages: half of the watchdog's timeout."""
    if environ.get("WATCHDOG_PID", "") not in ("", str(os.getpid())):
        return None  # it is for the process that started this one
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 2e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None
