"""Metrics of the upload as Prometheus text."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waxlocal._version import __version__
from waxlocal.clock import SYSTEM_CLOCK, Clock, stored_ns
from waxlocal.delivery.accounts import current_status
from waxlocal.delivery.status import TargetStatus, count_unsynced, delivery_status
from waxlocal.errors import StorageError
from waxlocal.storage.connection import reader
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import file_size, real_path
from waxlocal_daemon.file_lock import PLAIN
from waxlocal_daemon.log import Log

__all__ = [
    "Figures",
    "MetricsFile",
    "Scrape",
    "exposition",
    "read_figures",
    "write_file",
]

# Seconds between two counts, however often the metrics are requested.
FRESH_S = 1.0
# Seconds between two writes of the metrics file.
WRITE_S = 15.0


@dataclass(frozen=True)
class Figures:
    """The figures to expose; an unknown one is None and left out. Times are ns since 1970."""

    pending: int | None = None
    oldest_pending_ns: int | None = None
    uploaded: int | None = None
    parked: int | None = None
    paused: bool | None = None
    last_success_ns: int | None = None
    database_bytes: int = 0
    wal_bytes: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)


def read_figures(path: Path, url: str, failures: Mapping[str, int]) -> Figures:
    """Return the figures of the upload to one server; only sizes if the file cannot be read."""
    sizes: dict[str, Any] = {
        "database_bytes": file_size(path),
        "wal_bytes": log_size(path),
        "failures": dict(failures),
    }
    try:
        with reader(path) as connection:
            found = current_status(delivery_status(connection), url)
            if found is None:
                return Figures(pending=count_unsynced(connection), uploaded=0, parked=0, **sizes)
    except StorageError:
        return Figures(**sizes)
    return _of_target(found, sizes)


def _of_target(target: TargetStatus, sizes: dict[str, Any]) -> Figures:
    return Figures(
        pending=target.pending,
        oldest_pending_ns=stored_ns(target.oldest_pending_at),
        uploaded=target.delivered,
        parked=target.parked,
        paused=target.paused_at is not None,
        last_success_ns=stored_ns(target.last_success_at),
        **sizes,
    )


# Name below `waxlocal_`, type, help; in the order of the text.
_HELP = (
    ("build_info", "gauge", "Versions; always 1."),
    ("pending_runs", "gauge", "Runs to be delivered."),
    ("oldest_pending_seconds", "gauge", "Age of the oldest pending run; 0 without one."),
    ("uploaded_runs_total", "counter", "Runs delivered to this server so far."),
    ("upload_failures_total", "counter", "Failed requests since the daemon started, by reason."),
    ("parked_runs", "gauge", "Runs that the server refused; see: waxlocal sync parked."),
    ("paused", "gauge", "1 while the server refuses the key."),
    ("last_success_timestamp_seconds", "gauge", "Time of the last success."),
    ("database_bytes", "gauge", "Size of the file."),
    ("wal_bytes", "gauge", "Size of its write-ahead log."),
)


def exposition(figures: Figures, clock: Clock = SYSTEM_CLOCK) -> str:
    """Return the figures as text in the exposition format 0.0.4."""
    now = clock.time_ns()
    waiting = max(now - (figures.oldest_pending_ns or now), 0) / 1e9
    success = figures.last_success_ns
    versions = {
        "version": __version__,
        "sqlite": sqlite3.sqlite_version,
        "python": platform.python_version(),
    }
    samples: dict[str, list[tuple[Mapping[str, str], float | None]]] = {
        "build_info": [(versions, 1)],
        "pending_runs": [({}, figures.pending)],
        "oldest_pending_seconds": [({}, None if figures.pending is None else waiting)],
        "uploaded_runs_total": [({}, figures.uploaded)],
        "upload_failures_total": [
            ({"reason": reason}, count) for reason, count in sorted(figures.failures.items())
        ],
        "parked_runs": [({}, figures.parked)],
        "paused": [({}, figures.paused)],
        "last_success_timestamp_seconds": [({}, None if success is None else success / 1e9)],
        "database_bytes": [({}, figures.database_bytes)],
        "wal_bytes": [({}, figures.wal_bytes)],
    }
    lines: list[str] = []
    for name, kind, text in _HELP:
        lines += [f"# HELP waxlocal_{name} {text}", f"# TYPE waxlocal_{name} {kind}"]
        lines += [
            f"waxlocal_{name}{_labels(labels)} {_number(value)}"
            for labels, value in samples[name]
            if value is not None
        ]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) else f"{value:.3f}"


def write_file(path: Path, text: str) -> None:
    """Replace a file atomically, readable by all, so that a collector never sees half of it.

    For the textfile collector of node_exporter, which reads `*.prom`. Raises `OSError`.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        half.unlink()
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o644)
    try:
        with open(descriptor, "w", encoding="utf-8") as out:  # noqa: PTH123 (an open descriptor)
            if sys.platform != "win32":
                os.fchmod(out.fileno(), 0o644)
            out.write(text)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


class MetricsFile:
    """Writes the metrics to a file at intervals; logs a file that cannot be written."""

    def __init__(
        self, path: Path, text: Callable[[], str], log: Log, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._path = path
        self._text = text
        self._log = log
        self._clock = clock
        self._written_ns: int | None = None

    def refresh(self) -> None:
        """Write the file if it is due."""
        now = self._clock.monotonic_ns()
        if self._written_ns is None or now - self._written_ns >= WRITE_S * 1e9:
            self._written_ns = now
            self.write()

    def write(self) -> None:
        """Write the file now."""
        try:
            write_file(self._path, self._text())
        except OSError as error:
            self._log.once("metrics_file_failed", path=self._path, reason=error.strerror)


class Scrape:
    """The metrics of one daemon; safe for use by any thread."""

    def __init__(self, path: Path, url: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.url = url
        self._path = real_path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._text, self._made_ns = "", -(10**12)
        self._before: Counter[str] = Counter()
        self._now: Mapping[str, int] = {}

    def count_failure(self, reason: str) -> None:
        """Count a failure other than that of a request."""
        with self._lock:
            self._before[reason] += 1

    def failures(self, of_uploader: Mapping[str, int] | None) -> None:
        """Set the failures of the present uploader so far; None when it ends."""
        with self._lock:
            if of_uploader is None:
                self._before.update(self._now)
            self._now = of_uploader or {}

    def text(self) -> str:
        """Return the exposition, at most a second old."""
        with self._lock:
            now = self._clock.monotonic_ns()
            if now - self._made_ns >= FRESH_S * 1e9:
                failures = self._before + Counter(self._now)
                self._text = exposition(read_figures(self._path, self.url, failures), self._clock)
                self._made_ns = self._clock.monotonic_ns()
            return self._text
