"""What a service manager hears, on a real socket."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.daemon import manager
from tests.tools.patience import PATIENCE_S
from waxlocal_daemon.notify import Notifier


@dataclass
class Clock:
    """A clock that is moved by hand."""

    seconds: float = 100.0

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return 0

    def monotonic_ns(self) -> int:
        """Return nanoseconds of the steady clock."""
        return int(self.seconds * 1e9)


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, socket_path: str) -> str:
    """Both kinds of address, as NOTIFY_SOCKET names them."""
    return socket_path if request.param == "path" else f"@waxlocal-test-{os.getpid()}"


def test_each_state_is_one_datagram(address: str) -> None:
    """READY, STATUS on one line and only when it is another, RELOADING with a time, STOPPING."""
    with manager(address.replace("@", "\0")) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address}, Clock())
        notifier.ready()
        notifier.status("3 pending\nREADY=0")
        notifier.status("3 pending\nREADY=0")
        notifier.reloading()
        notifier.stopping()
        notifier.close()
        heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == [
        "READY=1",
        "STATUS=3 pending READY=0",
        "RELOADING=1\nMONOTONIC_USEC=100000000",
        "STOPPING=1",
    ]


def test_the_watchdog_is_fed_at_half_its_time(socket_path: str) -> None:
    """At most one sign of life for each half of WATCHDOG_USEC, however often it is called."""
    address, clock = socket_path, Clock()
    with manager(address) as listening:
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000"}
        notifier = Notifier(environ | {"WATCHDOG_PID": str(os.getpid())}, clock)
        assert notifier.interval == 10
        for clock.seconds in (100.0, 105.0, 109.9, 110.0, 111.0, 120.0):
            notifier.alive()
        notifier.stopping()
        notifier.close()
        heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == ["WATCHDOG=1"] * 3 + ["STOPPING=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "0"},
    ],
)
def test_without_a_watchdog_there_is_no_interval(environ: dict[str, str]) -> None:
    """No socket, another process's watchdog, or a value that is none: nothing is fed."""
    notifier = Notifier(environ)
    notifier.alive()
    notifier.close()
    assert notifier.interval is None


def test_a_manager_that_does_not_read_stops_nobody(socket_path: str) -> None:
    """A full socket, and one that has gone, are passed by."""
    address = socket_path
    with manager(address):
        notifier = Notifier({"NOTIFY_SOCKET": address})
        done = threading.Event()

        def fill() -> None:
            for number in range(5_000):
                notifier.status(f"{number}")
            done.set()

        threading.Thread(target=fill, daemon=True).start()
        assert done.wait(PATIENCE_S)
    notifier.ready()
    Path(address).unlink()
    notifier.ready()
    notifier.close()
    notifier.ready()


def test_the_time_of_a_reload_is_that_of_the_steady_clock(socket_path: str) -> None:
    """systemd compares it with CLOCK_MONOTONIC."""
    address = socket_path
    with manager(address) as listening:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        told = int(listening.recv(4096).decode().rpartition("=")[2])
        notifier.close()
    assert before <= told <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
