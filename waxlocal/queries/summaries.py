"""Run summaries with totals: those asked for, the newest, and those after a cursor."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from waxlocal.queries.filters import checked_page
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.texts import answer_text, message_text
from waxlocal.records import KILLED, RunStatus

__all__ = [
    "SUMMARY",
    "last_runs",
    "recent_runs",
    "reread_runs",
    "summary_of",
    "these_runs",
    "unmetered_calls",
]

_COLUMNS = """r.id, r.run_id, r.workflow_id, r.parent_workflow_id, r.agent_name, r.workflow_name,
  r.session_id, r.user_id, r.started_at, r.completed_at, r.duration"""
_TOTALS = ("llm_calls", "tokens_in", "tokens_out", "total_tokens", "priced_tokens")
# Columns stored under the same name and type as in `RunSummary`.
_AS_STORED = (*(name.strip().partition(".")[2] for name in _COLUMNS.split(",")), *_TOTALS)
# All totals: a file of an earlier version has no `unmetered_calls`.
SUMMARY = f"""
SELECT {_COLUMNS}, r.status, r.error, r.error_type, r.process_id, r.inputs, r.result, t.*
FROM runs r JOIN run_totals t ON t.run_id = r.run_id
"""  # noqa: S608
_AFTER = SUMMARY + "WHERE r.id > :after ORDER BY r.id LIMIT :limit"
_LAST = SUMMARY + "ORDER BY r.id DESC LIMIT :limit"
_THESE = SUMMARY + "WHERE r.run_id IN (SELECT value FROM json_each(:wanted)) ORDER BY r.id"  # noqa: S608
_BY_ARRIVAL = SUMMARY + "WHERE r.id IN (SELECT value FROM json_each(:ids))"  # noqa: S608


def unmetered_calls(row: sqlite3.Row) -> int:
    """Return how many calls of a session or a run there are whose tokens nobody told.

    In a file of an earlier version there are none: its recorders were always told.
    """
    return row["unmetered_calls"] if "unmetered_calls" in row.keys() else 0  # noqa: SIM118


def recent_runs(
    conn: sqlite3.Connection, *, after_id: int = 0, limit: int = 100
) -> list[RunSummary]:
    """Return the runs that arrived after the one with `after_id`, in order of arrival.

    The `id` of the last one is the cursor for the next call. Raises `InvalidQuery` for a limit
    outside 1 to 1,000.
    """
    return _summaries(conn, _AFTER, {"after": after_id, **checked_page(limit)})


def last_runs(conn: sqlite3.Connection, *, limit: int = 10) -> list[RunSummary]:
    """Return the last runs to arrive, in order of arrival; raises as `recent_runs` does."""
    return _summaries(conn, _LAST, checked_page(limit))[::-1]


def reread_runs(conn: sqlite3.Connection, run_ids: Iterable[str]) -> list[RunSummary]:
    """Return the current state of these runs, in order of arrival."""
    return _summaries(conn, _THESE, {"wanted": json.dumps(list(run_ids))})


def these_runs(
    conn: sqlite3.Connection, ids: Sequence[int], gone: GoneProcesses
) -> tuple[RunSummary, ...]:
    """Return the runs with these orders of arrival, in this order, without those not there."""
    found = _summaries(conn, _BY_ARRIVAL, {"ids": json.dumps(list(ids))}, gone)
    by_id = {run.id: run for run in found}
    return tuple(by_id[one] for one in ids if one in by_id)


def _summaries(
    conn: sqlite3.Connection,
    sql: str,
    values: Mapping[str, object],
    gone: GoneProcesses | None = None,
) -> list[RunSummary]:
    rows = conn.execute(sql, values).fetchall()
    gone = gone or GoneProcesses(conn)
    gone.look_up(row["process_id"] for row in rows if row["status"] == RunStatus.RUNNING)
    return [summary_of(row, gone) for row in rows]


def summary_of(row: sqlite3.Row, gone: GoneProcesses) -> RunSummary:
    """Return the summary for a row of `SUMMARY`."""
    cost = row["total_cost"]
    status = gone.shown_status(row["status"], row["process_id"])
    error, error_type = row["error"], row["error_type"]
    if status != row["status"]:
        error, error_type = KILLED
    return RunSummary(
        **{name: row[name] for name in _AS_STORED},
        error=error,
        error_type=error_type,
        total_cost=0.0 if row["llm_calls"] == 0 else cost,
        unmetered_calls=unmetered_calls(row),
        status=status,
        message=message_text(row["inputs"]),
        answer=answer_text(row["result"]),
    )
