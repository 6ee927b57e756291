"""Which runs are to be forgotten: those of a user or a session, or one, and all runs below."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from waxlocal.encode import text
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.records import RunStatus
from waxlocal.storage.forgotten import Tombstone
from waxlocal.storage.record_sql import workflow_of
from waxlocal.storage.transaction import any_text

__all__ = ["Choice", "ChosenRun", "Kind", "chosen_runs", "is_still_open", "tombstones"]


class Kind(Enum):
    """What may be forgotten."""

    USER = "user"
    SESSION = "session"
    RUN = "run"


class Choice(NamedTuple):
    """A user, a session or a run, by its whole id."""

    kind: Kind
    name: str

    @property
    def tombstone(self) -> Tombstone:
        """What bars it from coming back."""
        return Tombstone(self.kind.value)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


class ChosenRun(NamedTuple):
    """A run that was chosen; `is_open`: its program may still record into it."""

    id: int
    run_id: str
    session_id: str | None
    is_open: bool


# The sessions in which nobody else took part: there, runs that name nobody are the user's, too.
_ALONE = """
SELECT DISTINCT session_id FROM runs r WHERE user_id = :name AND session_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.session_id = r.session_id AND o.user_id <> :name)
"""
_FIRST = {
    Kind.RUN: "SELECT run_id FROM runs WHERE run_id = :name",
    Kind.SESSION: "SELECT run_id FROM runs WHERE session_id = :name",
    Kind.USER: f"""
      SELECT run_id FROM runs WHERE user_id = :name
      UNION SELECT run_id FROM runs WHERE session_id IN ({_ALONE})
    """,  # noqa: S608
}
# The last recorded first: most often those are below the others.
_CHOSEN = f"""
WITH RECURSIVE chosen (run_id) AS (
  {{first}}
  UNION
  SELECT below.run_id FROM chosen JOIN runs below
  ON below.parent_workflow_id = {workflow_of("chosen.run_id")})
SELECT id, run_id, session_id, status, process_id FROM chosen JOIN runs USING (run_id)
ORDER BY id DESC
"""  # noqa: S608


def chosen_runs(connection: sqlite3.Connection, choice: Choice) -> list[ChosenRun]:
    """Return the runs of a choice and all runs below them, whomever those name; no rows: none."""
    sql = _CHOSEN.format(first=_FIRST[choice.kind])
    with any_text(connection):
        rows = connection.execute(sql, {"name": text(choice.name)}).fetchall()
    gone = GoneProcesses(connection)
    gone.look_up(row[4] for row in rows)
    return [
        ChosenRun(id_, run_id, session_id, is_still_open(gone, status, process_id))
        for id_, run_id, session_id, status, process_id in map(tuple, rows)
    ]


def is_still_open(gone: GoneProcesses, status: str, process_id: object) -> bool:
    """Return whether a run with this status may still be recorded into by its process."""
    return gone.shown_status(status, process_id) == RunStatus.RUNNING


def tombstones(connection: sqlite3.Connection, choice: Choice) -> Iterator[tuple[Tombstone, str]]:
    """Yield what bars further runs of a choice; those of one run are barred one by one."""
    name = text(choice.name)
    if choice.kind is Kind.SESSION:
        yield Tombstone.SESSION, name
    elif choice.kind is Kind.USER:
        yield Tombstone.USER, name
        with any_text(connection):
            alone = connection.execute(_ALONE, {"name": name}).fetchall()
        yield from ((Tombstone.UNNAMED, str(row[0])) for row in alone)
