"""The second half of `waxlocal demo`: upload to a local server, interrupted and resumed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from waxlocal.cli.demo_recording import make_room
from waxlocal.cli.output import ACCENT, DIM, Screen
from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.status import delivery_status, recent_receipts
from waxlocal.errors import DeliveryError
from waxlocal.queries import recent_runs
from waxlocal.storage.connection import reader, writer

__all__ = ["Hub", "hub", "travel", "wait_for"]

HUB_NAME = "demo-hub.db"
# A local server on loopback accepts any key; a Waxell server needs a real one.
KEY = "wax_sk_demo"
# Seconds; far longer than any step takes.
LONGEST_S = 60.0
# About half of the requests that the upload needs.
HALF = 60
_ALL = 1_000


@dataclass(frozen=True)
class Hub:
    """The local server: its process, URL and file."""

    url: str
    path: Path
    process: subprocess.Popen[str]


@contextmanager
def hub(demo: Path) -> Iterator[Hub]:
    """Serve a second file, beside the demo's, from a separate process."""
    path = demo.with_name(HUB_NAME)
    make_room(path)
    with writer(path):  # the server would note that the file is new
        pass
    command = _command(path, "serve", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise DeliveryError("the local server did not start")
            yield Hub(url, path, process)
        finally:
            process.terminate()


def travel(screen: Screen, demo: Path, to: Hub) -> None:
    """Upload the demo, kill the upload half-way, and resume it."""
    _title(screen, "A local server", "serve")
    screen.write(screen.text(f"{to.url} serves {to.path.name}; it speaks the Waxell API."))
    _title(screen, "Upload, killed half-way", "sync")
    _cut_off(demo, to)
    screen.write(screen.text(f"kill -9 during the upload: {_state(demo)}."))
    _title(screen, "Upload, resumed", "sync")
    screen.put(_said(demo, to, "sync"))
    screen.write(screen.text(_arrived(demo, to)))
    _title(screen, "Did every run arrive?", "sync verify")
    screen.put(_said(demo, to, "sync", "verify"))


def wait_for(to: Hub) -> None:
    """Wait until the server exits or Ctrl-C stops it."""
    with suppress(KeyboardInterrupt):
        to.process.wait()


def _title(screen: Screen, title: str, command: str) -> None:
    screen.gap()
    screen.write(screen.text((title, f"bold {ACCENT}"), (f"    waxlocal {command}", DIM)))
    screen.gap()


def _command(path: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "waxlocal", "--db", os.fspath(path), *args]


def _environment(to: Hub) -> dict[str, str]:
    own = {"WAXELL_API_URL": to.url, "WAXELL_API_KEY": KEY, "WAXLOCAL_LOG_LEVEL": "error"}
    return {**{name: value for name, value in os.environ.items() if "WAX" not in name}, **own}


def _cut_off(demo: Path, to: Hub) -> None:
    """Kill an upload after some of its requests were answered."""
    # One request at a time; a single batch would have no half-way point.
    slowly = {"WAXLOCAL_SYNC_BULK": "0", "WAXLOCAL_SYNC_CONCURRENCY": "1"}
    process = subprocess.Popen(  # noqa: S603
        _command(demo, "sync"),
        env={**_environment(to), **slowly},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + LONGEST_S
    while process.poll() is None and time.monotonic() < end and _answered(demo) < HALF:
        time.sleep(0.001)
    process.kill()
    process.wait()


def _answered(demo: Path) -> int:
    with reader(demo) as connection:
        receipts = recent_receipts(connection, _ALL)
    return sum(receipt.state == RequestState.DELIVERED for receipt in receipts)


def _state(demo: Path) -> str:
    with reader(demo) as connection:
        (target,) = delivery_status(connection)
    return f"{target.delivered} runs delivered, {target.pending} pending"


def _arrived(demo: Path, to: Hub) -> str:
    """Compare the two files run by run, and return the result as a sentence."""
    there, here = _run_ids(to.path), _run_ids(demo)
    if sorted(there) != sorted(here):
        raise DeliveryError(f"{len(here)} runs were recorded, but {len(there)} arrived")
    return f"{len(there)} runs recorded, {len(there)} on the server, each exactly once."


def _run_ids(path: Path) -> list[str]:
    with reader(path) as connection:
        return [run.run_id for run in recent_runs(connection, limit=_ALL)]


def _said(demo: Path, to: Hub, *args: str) -> list[str]:
    done = subprocess.run(  # noqa: S603
        _command(demo, *args),
        env=_environment(to),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise DeliveryError(f"{shlex.join(('waxlocal', *args))}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n").split("\n")
