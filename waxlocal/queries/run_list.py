"""List and count runs across sessions, filtered and paged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from waxlocal.ids import first_run_id
from waxlocal.queries.criteria import Criteria
from waxlocal.queries.filters import check_ordering, checked_page
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.run_conditions import as_recorded, range_conditions, run_conditions
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.summaries import reread_runs
from waxlocal.records import RunStatus

__all__ = [
    "ALL_RUNS",
    "RUN_ORDERINGS",
    "Begun",
    "RunFilter",
    "begun_between",
    "count_runs",
    "list_runs",
    "run_ids",
    "runs_by_id",
]

RUN_ORDERINGS = ("id", "started_at", "duration")

# Open runs of ended processes count as interrupted. `GoneProcesses.of_open_runs` covers only runs
# with a session, so this query finds the processes itself.
_OPEN_PROCESSES = """
SELECT DISTINCT process_id FROM runs WHERE status = 'running' AND process_id IS NOT NULL
"""
_CONDITIONS = {
    "session_id": "r.session_id = :session_id",
    "user_id": "r.user_id = :user_id",
    "agent": "r.agent_name = :agent",
    "since": "r.started_at >= :since",
    "until": "r.started_at <= :until",
}
# Of the run alone; that of no calls is known: 0.
_COST = """(SELECT iif(count(*) = 0, 0.0, sum(c.cost))
  FROM llm_calls c WHERE c.run_id = r.run_id)"""
_AMOUNTS = {"cost": _COST, "duration": "r.duration"}
_IS_GONE = "r.process_id IN (SELECT value FROM json_each(:gone))"
_BY_STATUS = {
    RunStatus.RUNNING: f"r.status = 'running' AND (r.process_id IS NULL OR NOT {_IS_GONE})",
    RunStatus.INTERRUPTED: f"r.status = 'interrupted' OR (r.status = 'running' AND {_IS_GONE})",
    RunStatus.SUCCESS: "r.status = 'success'",
    RunStatus.ERROR: "r.status = 'error'",
    RunStatus.BLOCKED: "r.status = 'blocked'",
    RunStatus.CANCELLED: "r.status = 'cancelled'",
}


@dataclass(frozen=True)
class RunFilter(Criteria):
    """A filter on runs: a run matches if it meets every condition that is set.

    Cost and duration are those of the run alone, `since` and `until` are of its start;
    `no_session` leaves the runs without one. Raises `InvalidQuery`.
    """

    session_id: str | None = None
    no_session: bool = False


ALL_RUNS = RunFilter()

# By their ids, which begin with the time and have an index.
_BEGUN = """
SELECT count(*), count(session_id) FROM runs WHERE run_id >= :since AND run_id < :until
"""


class Begun(NamedTuple):
    """How many runs began in a time, and how many of them are in a session."""

    runs: int
    in_sessions: int


def begun_between(conn: sqlite3.Connection, since_ns: int, until_ns: int) -> Begun:
    """Return how many runs began between two moments, in nanoseconds since 1970.

    To the millisecond, and only those that waxlocal has named, in any process. Fast in a file of
    any size.
    """
    until = first_run_id(until_ns + 1_000_000)
    row = conn.execute(_BEGUN, {"since": first_run_id(since_ns), "until": until}).fetchone()
    return Begun(*row)


@in_snapshot
def list_runs(
    conn: sqlite3.Connection,
    *,
    filter: RunFilter = ALL_RUNS,
    ordering: str = "-id",
    limit: int = 20,
    offset: int = 0,
) -> list[RunSummary]:
    """Return one page of the runs that match the filter.

    Ordering by `id` (order of arrival) is fast in a file of any size. `limit` is 1 to 1,000. Open
    runs come last when ordered by duration. Raises `InvalidQuery`.
    """
    page = checked_page(limit, offset)
    order = _order_by(ordering)
    condition, values = _where(conn, filter)
    sql = f"SELECT r.run_id FROM runs r {condition} {order} LIMIT :limit OFFSET :offset"  # noqa: S608
    return runs_by_id(conn, [row[0] for row in conn.execute(sql, values | page).fetchall()])


def run_ids(
    conn: sqlite3.Connection, *, filter: RunFilter = ALL_RUNS, ordering: str = "-id"
) -> Iterator[str]:
    """Return the ids of the runs that match the filter, in order; raises `InvalidQuery`."""
    order = _order_by(ordering)
    condition, values = _where(conn, filter)
    sql = f"SELECT r.run_id FROM runs r {condition} {order}"  # noqa: S608
    return (row[0] for row in conn.execute(sql, values))


def runs_by_id(conn: sqlite3.Connection, ids: Sequence[str]) -> list[RunSummary]:
    """Return these runs in this order, without ids that do not exist."""
    found = {run.run_id: run for run in reread_runs(conn, ids)}
    return [found[one] for one in ids if one in found]


@in_snapshot
def count_runs(conn: sqlite3.Connection, *, filter: RunFilter = ALL_RUNS) -> int:
    """Return how many runs match the filter."""
    condition, values = _where(conn, filter)
    sql = f"SELECT count(*) FROM runs r {condition}"  # noqa: S608
    return int(conn.execute(sql, values).fetchone()[0])


def _where(conn: sqlite3.Connection, filter: RunFilter) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {
        name: value for name in _CONDITIONS if (value := getattr(filter, name))
    }
    conditions = [_CONDITIONS[name] for name in values]
    conditions += run_conditions(conn, filter, values).values()
    conditions += range_conditions(filter, _AMOUNTS, values)
    if filter.no_session:
        conditions.append("r.session_id IS NULL")
    if filter.status:
        conditions.append(_BY_STATUS[filter.status])
        if filter.status in (RunStatus.RUNNING, RunStatus.INTERRUPTED):
            values["gone"] = json.dumps(_gone(conn))
    clause = " AND ".join(f"({condition})" for condition in conditions)
    return f"WHERE {clause}" if clause else "", as_recorded(values)


def _gone(conn: sqlite3.Connection) -> list[int]:
    processes = [row[0] for row in conn.execute(_OPEN_PROCESSES).fetchall()]
    gone = GoneProcesses(conn)
    gone.look_up(processes)
    return [one for one in processes if one in gone]


def _order_by(ordering: str) -> str:
    column = check_ordering(ordering, RUN_ORDERINGS)
    direction = "DESC" if ordering.startswith("-") else "ASC"
    open_last = "r.duration IS NULL, " if column == "duration" else ""
    return f"ORDER BY {open_last}r.{column} {direction}, r.id {direction}"
