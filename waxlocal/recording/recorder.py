"""What all runs of a process share: settings, the store, clocks and ids."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.ids import RunIds
from waxlocal.recording.statements import BEGIN_RUN, INTERRUPT_RUN
from waxlocal.recording.store import Store
from waxlocal.recording.transactions import Parameters, Unit
from waxlocal.settings.config import Settings
from waxlocal.storage.around_forks import in_forked_child
from waxlocal.storage.log_file import log_size
from waxlocal.storage.paths import database_path, file_size

if TYPE_CHECKING:
    from waxlocal.recording.masking import Mask

__all__ = ["Health", "Recorder", "configure", "current_recorder", "health", "use_recorder"]

# The words of the original SDK.
_AT_EXIT = "process interrupted before run completion (atexit)"


class Health(NamedTuple):
    """Whether what this process records reaches its file."""

    #: False where recording is switched off (`WAXELL_OBSERVE=false`).
    enabled: bool
    #: The file that new runs go to.
    file: Path
    #: Its size in bytes, 0 while there is none.
    file_bytes: int
    #: The size of its write-ahead log (`FILE-wal`).
    log_bytes: int
    #: Records that are only in memory, because the file could not be written. They are written as
    #: soon as that is possible; until then they are lost if this process is killed.
    in_memory: int
    #: Records of this process that were given up and are in no file.
    lost: int
    #: Why a record could not be written, the last time that happened; None if it never has.
    reason: str | None

    @property
    def ok(self) -> bool:
        """Whether every record whose call has returned is in the file."""
        return not self.in_memory and not self.lost


class Recorder:
    """One file to record into, and how.

    Nothing is opened until the first run. A recorder may be shared by all threads; after a fork
    the child goes on with it as if it were its own.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock = SYSTEM_CLOCK, ids: RunIds | None = None
    ) -> None:
        self.settings = settings
        self.enabled = settings.enabled
        self.capture_content = settings.capture_content
        # Whether there is a session or a user for runs that have none.
        self.grouped = bool(settings.session_id or settings.user_id)
        self.clock = clock
        self.ids = RunIds() if ids is None else ids
        self._mask: Mask | None = None
        self.store = self._new_store()
        # How many forks lie between this process and the one that made the recorder.
        self.generation = 0
        # Runs of this process that have not ended, with the steady time of their start, and the row
        # that was written then.
        self.open_runs: dict[str, tuple[int, Parameters]] = {}

    def _starts(self) -> list[Unit]:
        return [((BEGIN_RUN, row),) for _steady_ns, row in list(self.open_runs.values())]

    def _new_store(self) -> Store:
        settings = self.settings
        make: Callable[..., Store] = Store
        if settings.mask is not None:
            from waxlocal.recording.masking import Mask, MaskedStore  # few programs have one

            self._mask = Mask(settings.mask)
            make = partial(MaskedStore, self._mask)
        return make(
            settings.db,
            durability=settings.durability,
            wait=settings.wait,
            clock=self.clock,
            starts=self._starts,
        )

    def masked_lists(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row of a call as it may be recorded as far as it is stored by keys."""
        return row if self._mask is None else self._mask.lists(row)

    def interrupt_open_runs(self) -> None:
        """End, as interrupted, the runs that this process leaves open."""
        now_ns, steady_ns = self.clock.time_ns(), self.clock.monotonic_ns()
        for run_id, (started, _row) in list(self.open_runs.items()):
            duration = (steady_ns - started) / 1e9
            self.store.write(INTERRUPT_RUN, (utc_text(now_ns), duration, _AT_EXIT, run_id))
        self.open_runs.clear()

    def health(self) -> Health:
        """Return whether what is recorded reaches the file; opens nothing and waits for nobody."""
        backlog, path = self.store.backlog, self.store.file
        return Health(
            enabled=self.enabled,
            file=path,
            file_bytes=file_size(path),
            log_bytes=log_size(path),
            in_memory=self.store.in_memory,
            lost=backlog.lost,
            reason=backlog.why or None,
        )

    def close(self) -> None:
        """Write what waits, say what was lost, close the file; recording can go on afterwards."""
        self.store.close()


_recorder: Recorder | None = None
# Recorders that were replaced while runs were open in them.
_left: list[Recorder] = []
# Reentrant: a signal handler may record while the first recorder is being made.
_making = threading.RLock()


def current_recorder() -> Recorder:
    """Return the process's recorder; made at the first call, from the environment."""
    return _recorder or _make()


def _make() -> Recorder:
    global _recorder
    with _making:
        if _recorder is None:
            _recorder = Recorder(Settings.from_environment())
        return _recorder


def health() -> Health:
    """Return whether what this process records reaches its file.

    A record that could not be written when its call returned is kept in memory and written later:
    `in_memory` counts those, `lost` the ones that were given up, `reason` says why. Opens nothing,
    waits for nobody and raises nothing; safe from any thread. The counts are those of this process
    (a forked child begins with 0), for the file that it records into now.
    """
    return current_recorder().health()


def use_recorder(recorder: Recorder | None) -> Recorder | None:
    """Let the process record with this one; return the one before, still open.

    With None the next run makes a new one from the environment.
    """
    global _recorder
    before, _recorder = _recorder, recorder
    return before


def configure(*, db: str | os.PathLike[str] | None = None, **changes: Any) -> Recorder:
    """Change settings of this process; a field of `Settings` left out keeps its value.

    Runs that are open go on in the file they began in. Raises `ConfigurationError`.
    """
    settings = current_recorder().settings
    path: Path = settings.db if db is None else database_path(db)
    changed = settings._replace(db=path, **changes).checked()
    if changed == settings:
        return current_recorder()
    recorder = Recorder(changed, clock=current_recorder().clock)
    before = use_recorder(recorder)
    if before is not None and before.open_runs:
        _left.append(before)
    elif before is not None:
        before.close()
    return recorder


def _at_exit() -> None:
    for recorder in (*_left, _recorder):
        if recorder is not None:
            recorder.interrupt_open_runs()
            recorder.store.end()


def _after_fork_in_child() -> None:
    global _making
    _making = threading.RLock()
    for recorder in (*_left, _recorder):
        if recorder is not None:
            recorder.open_runs.clear()  # they are the parent's to end
            recorder.ids.reseed()
            recorder.generation += 1


atexit.register(_at_exit)
in_forked_child(_after_fork_in_child)
