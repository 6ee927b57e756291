"""The uploader of the file that lies at a path now; another one when the file is replaced."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from waxlocal.errors import StorageError
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.paths import FileId, file_id
from waxlocal_daemon.circuit import USUAL_PACE, Pace
from waxlocal_daemon.log import Log
from waxlocal_daemon.uploader import Progress, Uploader

__all__ = ["Delivery", "FileUploader", "Make", "make_uploader"]


class Delivery(Protocol):
    """What the daemon needs of an uploader."""

    @property
    def reason(self) -> str:
        """Why the upload is waiting; empty if it is not."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the server refuses the key."""
        ...

    def run(self, stop: threading.Event) -> float:
        """Upload what is due; return the seconds until more may be due."""
        ...

    def close(self) -> None:
        """Close the connections to the server and the file."""
        ...


Make = Callable[[Path, UploadSettings, Log, Callable[[Progress], None]], Delivery]


def make_uploader(
    path: Path,
    settings: UploadSettings,
    log: Log,
    on_progress: Callable[[Progress], None],
    *,
    pace: Pace = USUAL_PACE,
) -> Delivery:
    """Return an uploader of a file to a server. Raises `StorageError`."""
    return Uploader(path, settings, log=log, on_progress=on_progress, pace=pace)


class FileUploader:
    """Opens the uploader when it is needed, and adds up what one after the other has delivered.

    For one thread. `on_progress` is called after each report of progress.
    """

    def __init__(
        self, path: Path, log: Log, make: Make, on_progress: Callable[[Progress], None]
    ) -> None:
        self._path = path
        self._log = log
        self._make = make
        self._on_progress = on_progress
        self._open: Delivery | None = None
        self._identity: FileId | None = None
        self._delivered_before = 0
        self.progress = Progress(0, 0, 0, {}, 0)

    @property
    def delivered(self) -> int:
        """How many runs were delivered, by the present uploader and those before it."""
        return self._delivered_before + self.progress.delivered

    @property
    def refused(self) -> bool:
        """Whether there is an uploader, and the server refuses its key."""
        return self._open is not None and self._open.refused

    def replaced(self) -> bool:
        """Return whether the path leads to another file than that of the uploader."""
        return self._identity is not None and file_id(self._path) != self._identity

    def of_file(self, settings: UploadSettings) -> Delivery:
        """Return the uploader, opened now if there is none; `drop` it first if it was `replaced`.

        Raises `StorageError`.
        """
        if self._open is None:
            self._identity = file_id(self._path)
            self._open = self._make(self._path, settings, self._log, self._note)
        return self._open

    def drop(self) -> None:
        """Close the uploader, if there is one."""
        uploader, self._open = self._open, None
        self._identity = None
        self._delivered_before += self.progress.delivered
        self.progress = Progress(0, 0, 0, {}, 0)
        if uploader is not None:
            with suppress(StorageError, sqlite3.Error):
                uploader.close()

    def _note(self, progress: Progress) -> None:
        self.progress = progress
        self._on_progress(progress)
