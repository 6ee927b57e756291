"""The order of the runs of a session: that of the conversation, also after a clock was put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from waxlocal.queries.turns import TURN, Place, places

__all__ = [
    "IN_ORDER",
    "MOST_IN_ORDER",
    "RUNS",
    "Neighbours",
    "PlacedRun",
    "beside",
    "neighbours",
    "runs_by_start",
    "runs_in_order",
]

# The runs `r` of a session. Their order is that of their starts. But the ids that a process gives
# its runs increase however its clock jumps (UUIDv7, version 7 in their place 15): a run that ended
# before one with a smaller id began was recorded after the clock was put back. It and what comes
# after it take the place behind that one, until the clock has caught up. Ids that somebody else
# gave say nothing.
_IS_OURS = "process_id IS NOT NULL AND substr(run_id, 15, 1) = '7'"
_OF_PROCESS = f"(PARTITION BY {_IS_OURS}, process_id ORDER BY run_id"
RUNS = f"""(
  SELECT *, iif(is_put_back AND started_at <= latest_before, 1, 0) AS is_behind,
    iif(is_put_back, max(started_at, latest_before), started_at) AS place_at
  FROM (
    SELECT *, {_IS_OURS} AND max(started_at < latest_before
      AND coalesce(completed_at, started_at) <= latest_before)
      OVER {_OF_PROCESS} ROWS UNBOUNDED PRECEDING) AS is_put_back
    FROM (
      SELECT id, run_id, parent_workflow_id, agent_name, process_id, started_at, completed_at,
        duration, max(started_at)
        OVER {_OF_PROCESS} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest_before
      FROM runs WHERE session_id = :session_id))) r"""  # noqa: S608
IN_ORDER = "r.place_at, r.is_behind, r.id"
_PARENTS = f"SELECT r.id, r.run_id, r.parent_workflow_id FROM {RUNS} ORDER BY {IN_ORDER}"  # noqa: S608

# To order the runs of a session, all are read: 20,000 take 0.1 s. A longer one goes by their start,
# for which there is an index.
MOST_IN_ORDER = 20_000
_BY_START = """
SELECT id, run_id FROM runs WHERE session_id = :session_id
ORDER BY started_at, id LIMIT :limit OFFSET :offset
"""
_IS_LONG = "SELECT run_count > :most FROM sessions WHERE session_id = :session_id"
# Comparing row values lets both queries use the index runs_by_session.
_BEFORE = f"""
SELECT r.run_id FROM runs r WHERE r.session_id = :session_id AND {TURN} AND
  (r.started_at, r.id) < (SELECT started_at, id FROM runs WHERE id = :id)
ORDER BY r.started_at DESC, r.id DESC LIMIT 1
"""  # noqa: S608
_AFTER = f"""
SELECT r.run_id FROM runs r WHERE r.session_id = :session_id AND {TURN} AND
  (r.started_at, r.id) > (SELECT started_at, id FROM runs WHERE id = :id)
ORDER BY r.started_at, r.id LIMIT 1
"""  # noqa: S608


class PlacedRun(NamedTuple):
    """A run of a session: its order of arrival in the file, and its place in the conversation."""

    id: int
    run_id: str
    place: Place


# The ids of the runs before and after one, None where there is none.
Neighbours = tuple[str | None, str | None]


def runs_in_order(conn: sqlite3.Connection, session_id: str) -> list[PlacedRun]:
    """Return all runs of a session in order, each with its place among the turns."""
    rows = conn.execute(_PARENTS, {"session_id": session_id}).fetchall()
    found = places((run_id, parent) for _, run_id, parent in rows)
    return [PlacedRun(number, run_id, found[run_id]) for number, run_id, _ in rows]


def runs_by_start(
    conn: sqlite3.Connection, session_id: str, limit: int, offset: int
) -> list[PlacedRun]:
    """Return some runs of a session without sub-agents by their start, whatever its length."""
    page = {"session_id": session_id, "limit": limit, "offset": offset}
    return [
        PlacedRun(number, run_id, Place(turn, nested=False))
        for turn, (number, run_id) in enumerate(conn.execute(_BY_START, page), offset + 1)
    ]


def beside(runs: Sequence[PlacedRun]) -> Mapping[int, Neighbours]:
    """Return the neighbours of each run of a session, given in order, by its order of arrival.

    Of a turn, they are the turns before and after it; of a sub-agent's run, those in its turn.
    """
    rows: dict[Place | None, list[PlacedRun]] = {}
    for run in runs:
        rows.setdefault(run.place if run.place.nested else None, []).append(run)
    return {
        run.id: (
            row[at - 1].run_id if at else None,
            row[at + 1].run_id if at + 1 < len(row) else None,
        )
        for row in rows.values()
        for at, run in enumerate(row)
    }


def neighbours(conn: sqlite3.Connection, session_id: str, number: int) -> Neighbours:
    """Return the neighbours of the run with this order of arrival, as `beside` does.

    In a session of more than 20,000 runs they are the turns that began before and after it.
    """
    given = {"session_id": session_id, "id": number, "most": MOST_IN_ORDER}
    row = conn.execute(_IS_LONG, given).fetchone()
    if row is None or not row[0]:
        return beside(runs_in_order(conn, session_id)).get(number, (None, None))
    before, after = (conn.execute(sql, given).fetchone() for sql in (_BEFORE, _AFTER))
    return before and before[0], after and after[0]
