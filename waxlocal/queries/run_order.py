"""The order of the runs of a session: that of the conversation, also after a clock was put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from waxlocal.queries.turns import Place, places

__all__ = ["IN_ORDER", "RUNS", "PlacedRun", "neighbours", "runs_in_order"]

# The runs `r` of a session. Their order is that of their starts. But the ids that a process gives
# its runs increase however its clock jumps: a run that ended before one with a smaller id began was
# recorded after the clock was put back, and takes the place behind that one.
RUNS = """(
  SELECT *, iif(process_id IS NOT NULL AND coalesce(completed_at, started_at) < latest_before,
    latest_before, started_at) AS place_at
  FROM (
    SELECT id, run_id, parent_workflow_id, agent_name, process_id, started_at, completed_at,
      duration, max(started_at) OVER (PARTITION BY process_id ORDER BY run_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest_before
    FROM runs WHERE session_id = :session_id)) r"""
IN_ORDER = "r.place_at, r.place_at > r.started_at, r.id"
_PARENTS = f"SELECT r.id, r.run_id, r.parent_workflow_id FROM {RUNS} ORDER BY {IN_ORDER}"  # noqa: S608


class PlacedRun(NamedTuple):
    """A run of a session: its order of arrival in the file, and its place in the conversation."""

    id: int
    run_id: str
    place: Place


def runs_in_order(conn: sqlite3.Connection, session_id: str) -> list[PlacedRun]:
    """Return the runs of a session in order, each with its place among the turns."""
    rows = conn.execute(_PARENTS, {"session_id": session_id}).fetchall()
    found = places((run_id, parent) for _, run_id, parent in rows)
    return [PlacedRun(number, run_id, found[run_id]) for number, run_id, _ in rows]


def neighbours(runs: Sequence[PlacedRun], number: int) -> tuple[str | None, str | None]:
    """Return the ids of the runs before and after the one with this order of arrival.

    Of a turn, they are the turns before and after it; of a sub-agent's run, those in its turn.
    """
    place = next((run.place for run in runs if run.id == number), None)
    if place is None:
        return None, None
    beside = [
        run for run in runs if run.place.nested == place.nested
        and (not place.nested or run.place.turn == place.turn)
    ]  # fmt: skip
    at = next(index for index, run in enumerate(beside) if run.id == number)
    before, after = beside[at - 1 : at] if at else [], beside[at + 1 : at + 2]
    return (before[0].run_id if before else None), (after[0].run_id if after else None)
