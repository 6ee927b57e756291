"""Uploads until nothing is pending: what `waxlocal sync` does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.delivery.target import TargetConnection
from waxlocal.maintenance.upkeep import keep_up
from waxlocal.prices.table import price_pending
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.circuit import USUAL_PACE, Pace
from waxlocal_daemon.lock import exclusive
from waxlocal_daemon.log import Log
from waxlocal_daemon.uploader import Progress, Uploader

__all__ = ["Drained", "drain"]


class Drained(NamedTuple):
    """The result of an upload by hand.

    `reason`: why it ended while runs were pending; empty if none is. `key_refused`: because the
    server refuses the key.
    """

    progress: Progress
    parked_before: int
    seconds: float
    reason: str
    key_refused: bool = False


def drain(
    path: Path,
    settings: UploadSettings,
    *,
    log: Log,
    patience: float,
    stop: threading.Event,
    on_progress: Callable[[Progress], None] | None = None,
    pace: Pace = USUAL_PACE,
) -> Drained:
    """Upload until nothing is pending, `stop` is set, or `patience` seconds pass without progress.

    Tries at once, whatever waits earlier failures have left, and then at growing intervals. Takes
    the lock of the file. Raises `UploaderRunning`, `StorageError`.
    """
    began = time.monotonic()
    with exclusive(path, command="waxlocal sync"):
        keep_up(path)
        interrupt_gone(path, stop, all_runs=True)
        price_pending(path)
        with TargetConnection(path, settings.api_url) as target:
            target.forget_waits()  # whoever types it does not want to wait for what failed before
        uploader = Uploader(path, settings, log=log, pace=pace, on_progress=on_progress)
        try:
            reason = _until_done(path, uploader, patience, stop)
            seconds = time.monotonic() - began
            before = uploader.parked_before
            return Drained(uploader.progress(), before, seconds, reason, uploader.refused)
        finally:
            uploader.close()


def _until_done(path: Path, uploader: Uploader, patience: float, stop: threading.Event) -> str:
    """Return why it ended before all was delivered; empty if all is."""
    last, since = -1, time.monotonic()
    while not stop.is_set():
        rest = uploader.run(stop)
        now = uploader.progress()
        if not now.pending:
            if interrupt_gone(path, stop):  # runs that this upload has just taken in
                continue
            return uploader.why_unknown
        if uploader.refused and uploader.reason:
            return uploader.reason
        if now.delivered + now.parked > last:
            last, since = now.delivered + now.parked, time.monotonic()
        left = since + patience - time.monotonic()
        if left <= 0:
            why = uploader.reason or uploader.last_failure
            return why or "the remaining runs wait for their next attempt"
        stop.wait(min(rest, left))
    return "stopped"
