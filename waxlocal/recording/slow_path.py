"""What happens to a record that did not get into the file at once.

It is tried again for a bounded while (`attempt`), then kept in the backlog, or counted as lost
where no later try can help; and people are told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from waxlocal.clock import monotonic
from waxlocal.errors import FileLocked
from waxlocal.recording.attempt import attempt
from waxlocal.recording.backlog import Backlog
from waxlocal.recording.notices import Notices, text_of
from waxlocal.recording.open_file import OpenFile, may_pass
from waxlocal.recording.transactions import Storable, Unit
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage.checkpoint import LONG_BYTES
from waxlocal.storage.retry import is_busy
from waxlocal.storage.storage_errors import storage_error

__all__ = ["SlowPath"]

# One that found the file locked takes others to be writing, too, for so many seconds.
CROWD_S = 1.0
# Far more frames than a record needs, also the one that opens the file.
FRAMES = 200
# One warning about an unwritable file in this time; the summary comes at exit.
WARN_S = 30.0


class SlowPath:
    """Gets units into a file that is busy or full; for the thread that has the store.

    `wait` says how many seconds a record may wait, `rest` rests between two tries, `on_kept` is
    called when a unit was put into the backlog.
    """

    def __init__(
        self,
        file: OpenFile,
        backlog: Backlog,
        notices: Notices,
        *,
        wait: Callable[[], float],
        rest: Callable[[float], None],
        on_kept: Callable[[], None],
    ) -> None:
        self._file = file
        self._backlog = backlog
        self._notices = notices
        self._wait = wait
        self._rest = rest
        self._on_kept = on_kept
        # Whether somebody has waited for the file in vain, and nothing was written since.
        self._stuck = False
        # Until when others are taken to be writing, too.
        self.crowded_until = 0.0
        self._warn_at = 0.0
        # The unit that was handed over, until it is written, kept, or counted as lost.
        self.unsettled: Unit | None = None

    def is_settled(self) -> bool:
        """Return whether the unit that was handed over is written, kept, or counted as lost."""
        return self.unsettled is None

    def not_written(self, unit: Unit, error: BaseException) -> None:
        """Act on what a statement of the hot path has raised; raises what belongs to the program.

        The slow path tells, keeps, or counts the unit as lost. Where the program is to end it has
        no time for that.
        """
        if not isinstance(error, Exception):
            self._keep_interrupted(unit)
            raise error
        if is_busy(error):  # not where the file is only to be opened
            self.crowded_until = monotonic() + CROWD_S
        self.write(unit)
        if raised_by_handler(error):
            raise error

    def write(self, unit: Unit) -> None:
        """Get a unit into the file, into the backlog, or into the count of what was lost."""
        self._file.roll_back()
        failure: Exception | None
        try:
            failure = self._write_patiently(unit)
        except BaseException as unexpected:  # a fault of ours must not become the program's
            if not isinstance(unexpected, Exception) or raised_by_handler(unexpected):
                self._keep_interrupted(unit)
                raise
            failure = unexpected
        if failure is None:
            self.unsettled = None
            self._file.let_through()
            return
        if not _may_be_kept(failure):
            self._backlog.lose(unit, failure)
            self.unsettled = None
            self._notices.append(f"a record could not be written: {text_of(failure)}")
            return
        self._stuck = True
        self._keep(unit, failure)
        self._warn(failure)

    def drain(self, deadline: float, then: Callable[[], object] = bool) -> bool:
        """Write what waits, until a time of `monotonic`; return whether nothing waits.

        `then` is called where nothing does.
        """
        while self._backlog:
            unit = self._backlog.first()[0]
            failure = attempt(self._file, unit, deadline, sleep=self._rest)
            if failure is not None and _may_be_kept(failure):
                self._backlog.note(failure)
                return False
            self._backlog.remove_first(failure)
            self._backlog.write_many(self._file.write)
            if self._file.log is not None:
                self._file.log.look(LONG_BYTES)
        self._stuck = False
        self._file.let_through()
        then()
        return True

    def _keep_interrupted(self, unit: Unit) -> None:
        """Keep a unit for the next record, the thread of the backlog or the exit.

        Ctrl-C or a signal handler has struck in the middle of it: what follows must not land in its
        transaction. If it was committed already, that will be noticed. A value that has raised by
        itself, as it was bound, must not do so again there.
        """
        self._file.roll_back()
        self._keep(Storable(unit), FileLocked(f"{self._file.path} is locked"))

    def _keep(self, unit: Unit, failure: Exception) -> None:
        self._backlog.keep(unit, failure)
        self.unsettled = None
        self._file.hold_back()
        self._on_kept()

    def _write_patiently(self, unit: Unit) -> Exception | None:
        """Try until the wait is over; return why it is still not written."""
        # The first to meet a locked file waits; while a backlog exists everyone tries just once.
        wait = 0.0 if self._backlog and self._stuck else self._wait()
        deadline = monotonic() + wait
        if not self.drain(deadline):
            return self._backlog.reason or FileLocked(f"{self._file.path} is locked")
        return attempt(self._file, unit, deadline, sleep=self._rest, wait=wait)

    def _warn(self, failure: Exception) -> None:
        now = monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_S
            said = storage_error(failure, self._file.path)
            self._notices.append(f"{said}; runs are kept in memory meanwhile. Try: {said.hint}")


def _may_be_kept(error: Exception) -> bool:
    """Return whether a later try from the backlog can succeed."""
    return may_pass(error) or _is_for_want_of_frames(error)


def _is_for_want_of_frames(error: Exception) -> bool:
    """Return whether the program is in so deep that a try from elsewhere can succeed.

    Else it is a value that recurses without end, and will do so again.
    """
    if not isinstance(error, RecursionError):
        return False
    frame: FrameType | None = sys._getframe()
    above = sys.getrecursionlimit() - FRAMES
    while frame is not None and above > 0:
        frame, above = frame.f_back, above - 1
    return above <= 0
