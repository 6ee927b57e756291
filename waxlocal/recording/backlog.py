"""What could not be written yet: bounded, in order, and counted when it is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain, islice
from sys import getsizeof

from waxlocal.recording.notices import text_of
from waxlocal.recording.transactions import Unit, values_of
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["Backlog"]

MAX_RECORDS = 10_000
# How many units go into one transaction.
WRITTEN_AT_ONCE = 500
MAX_BYTES = 64 * 1024 * 1024


class Backlog:
    """Units waiting for the file, oldest first; not safe for threads by itself.

    When it is full the newest unit is refused: the oldest ones are the starts of runs, without
    which the rest says nothing.
    """

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self._units: deque[tuple[Unit, int]] = deque()
        self._bytes = 0
        self._max_records = max_records
        self._max_bytes = max_bytes
        # Records that were given up, and how many of them a report has told of.
        self.lost = 0
        self._reported = 0
        # Why records of runs that had not begun were given up: they have not waited for the file.
        self._why_early: Exception | None = None
        self.reason: Exception | None = None

    def __len__(self) -> int:
        return len(self._units)

    def clear(self) -> None:
        """Forget everything, counts included: it belongs to another process."""
        self._units.clear()
        self._bytes = self.lost = self._reported = 0
        self.reason = self._why_early = None

    def keep(self, unit: Unit, reason: Exception) -> None:
        """Add a unit at the end, or count it as lost when there is no room."""
        size = _size(unit)
        if len(self._units) >= self._max_records or self._bytes + size > self._max_bytes:
            self.lose(unit, reason)
            return
        self.note(reason)
        self._units.append((unit, size))
        self._bytes += size

    def first(self, number: int = 1) -> list[Unit]:
        """Return the units that have waited longest, up to that many."""
        return [unit for unit, _size in islice(self._units, number)]

    def remove_first(self, failure: Exception | None) -> None:
        """Take the first unit out: written, or (with a failure) never to be written."""
        unit, size = self._units.popleft()
        self._bytes -= size
        if failure is not None:
            self.lose(unit, failure)

    def write_many(self, write: Callable[[Unit], None]) -> None:
        """Write the oldest units in one transaction; none of them if one fails.

        With `durability="full"` ten thousand commits would hold up the caller for seconds.
        """
        units = self.first(WRITTEN_AT_ONCE)
        if not units:
            return
        try:
            write(tuple(chain.from_iterable(units)))
        except Exception as error:  # the next try with the first of them says what it is
            if raised_by_handler(error):
                raise
            return
        for _ in units:
            self.remove_first(None)

    def lose(self, _unit: Unit, reason: Exception) -> None:
        """Count a unit that will not be written."""
        self.lost += 1
        self.note(reason)

    def lose_early(self, reason: Exception) -> None:
        """Count a record that could not wait for the beginning of its run."""
        self.lost += 1
        self._why_early = reason

    def note(self, reason: Exception) -> None:
        """Remember why nothing can be written, without the frames it was raised through."""
        self.reason = reason.with_traceback(None)
        reason.__context__ = reason.__cause__ = None

    @property
    def why(self) -> str:
        """Why something waits or was lost, as text; empty if nothing ever was."""
        reason = self.reason or self._why_early
        return "" if reason is None else text_of(reason)

    def give_up(self) -> None:
        """Count everything that waits as lost."""
        self.lost += len(self._units)
        self._units.clear()
        self._bytes = 0

    def report(self) -> str:
        """Return one sentence on what was lost since the last report, empty if nothing was."""
        lost = self.lost - self._reported
        if not lost:
            return ""
        records = "1 record was" if lost == 1 else f"{lost} records were"
        hint = getattr(self.reason or self._why_early, "hint", "")
        self._reported = self.lost
        return f"{records} lost: {self.why}." + (f" Try: {hint}" if hint else "")


def _size(unit: Unit) -> int:
    return sum(getsizeof(value) for _sql, parameters in unit for value in values_of(parameters))
