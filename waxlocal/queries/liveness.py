"""Whether a run stored as running is still running.

A killed process cannot record the end of its runs. They stay `running` in the file; a reader asks
the operating system whether the process that wrote them still exists.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from waxlocal.process import ProcessIdentity, is_gone
from waxlocal.queries.turns import NESTED
from waxlocal.records import RunStatus

__all__ = ["GoneProcesses", "IsGone", "ShownRuns"]

IsGone = Callable[[ProcessIdentity], bool]

_PROCESSES = """
SELECT process_id, host, boot_id, pid_namespace, pid, started FROM processes
WHERE process_id IN (SELECT value FROM json_each(?))
"""
# Open runs are few; the column `open_runs` finds them without a scan of all runs.
_WITH_OPEN_RUNS = """
SELECT DISTINCT r.process_id
FROM sessions s CROSS JOIN runs r ON r.session_id = s.session_id
WHERE s.open_runs > 0 AND r.status = 'running' AND r.process_id IS NOT NULL
"""
_TELLING_RUNS = f"""
SELECT r.session_id, r.status, r.process_id, {NESTED} AS nested FROM runs r
WHERE r.session_id IN (SELECT value FROM json_each(?))
  AND (r.status = 'running' OR r.status = 'interrupted')
"""  # noqa: S608


@dataclass(slots=True)
class ShownRuns:
    """What is displayed of a session's open and interrupted runs.

    `statuses` are those of open runs and of interrupted turns: a sub-agent that was interrupted is
    its turn's to say, for it may have been asked again. Of the runs stored as open, the processes
    of `left_open` have ended, and of these `left_turns` are turns. They count as what they are
    shown as, so that no count changes when somebody writes the interruption down.
    """

    statuses: set[str] = field(default_factory=set)
    left_open: int = 0
    left_turns: int = 0

    def add(self, stored: str, shown: str, nested: bool) -> None:
        """Count an open or interrupted run of the session."""
        if shown != stored:
            self.left_open += 1
            self.left_turns += not nested
        if shown == RunStatus.RUNNING or not nested:
            self.statuses.add(shown)

    def of_session(self, failed_turns: int) -> str:
        """Return the status of the session, given its failed turns."""
        for status in (RunStatus.RUNNING, RunStatus.INTERRUPTED):
            if status in self.statuses:
                return status
        return RunStatus.ERROR if failed_turns else RunStatus.SUCCESS


class GoneProcesses:
    """Knows which processes have ended; asks the operating system once per process."""

    def __init__(self, conn: sqlite3.Connection, gone: IsGone = is_gone) -> None:
        self._conn = conn
        self._is_gone = gone
        self._known: dict[int, bool] = {}

    def look_up(self, process_ids: Iterable[object]) -> None:
        """Look up all these processes with one query.

        Any program may have written a run, and SQLite keeps text or bytes in a column of numbers:
        what is not a whole number is nobody's id.
        """
        unknown = sorted({one for one in process_ids if type(one) is int} - self._known.keys())
        if not unknown:
            return
        self._known.update(dict.fromkeys(unknown, False))
        for row in self._conn.execute(_PROCESSES, (json.dumps(unknown),)).fetchall():
            self._known[row[0]] = self._is_gone(ProcessIdentity(*row[1:]))

    def __contains__(self, process_id: object) -> bool:
        """Whether the process has certainly ended; False if the file does not list it."""
        if not isinstance(process_id, int):
            return False
        self.look_up((process_id,))
        return self._known[process_id]

    def shown_status(self, status: str, process_id: object) -> str:
        """Return the status of a run to display."""
        if status == RunStatus.RUNNING and process_id in self:
            return RunStatus.INTERRUPTED
        return status

    def of_open_runs(self) -> list[int]:
        """Return the processes that ended and left a session's runs open."""
        ids = [row[0] for row in self._conn.execute(_WITH_OPEN_RUNS).fetchall()]
        self.look_up(ids)
        return [one for one in ids if one in self]

    def shown_runs(self, session_ids: list[str]) -> dict[str, ShownRuns]:
        """Return what is displayed of open and interrupted runs, by session that has any."""
        rows = self._conn.execute(_TELLING_RUNS, (json.dumps(session_ids),)).fetchall()
        self.look_up(row["process_id"] for row in rows)
        found: dict[str, ShownRuns] = {}
        for row in rows:
            shown = self.shown_status(row["status"], row["process_id"])
            of_session = found.setdefault(row["session_id"], ShownRuns())
            of_session.add(row["status"], shown, row["nested"])
        return found
