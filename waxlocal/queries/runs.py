"""One run with all of its records, and its related runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from waxlocal.errors import NotFound
from waxlocal.ids import run_id_of
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.record_rows import Event, LlmCall, Score, Span, Step
from waxlocal.queries.rows import Process, RunDetail, RunLink, RunSummary
from waxlocal.queries.run_order import Neighbours, neighbours
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.summaries import SUMMARY, summary_of
from waxlocal.queries.texts import decoded
from waxlocal.queries.tree import span_tree
from waxlocal.records import EVENTS, LLM_CALLS, SCORES, SPANS, STEPS, Kind, Table
from waxlocal.storage.contents import expand

__all__ = ["get_run"]

_SUMMARY = SUMMARY + "WHERE r.run_id = ?"
_RUN = """
SELECT user_group, root_workflow_id, trace_id, interaction_mode, traceback, metadata, tags,
  process_id
FROM runs WHERE run_id = ?
"""
_PROCESS = "SELECT host, pid, program, python, waxlocal FROM processes WHERE process_id = ?"
_LINK = """
SELECT run_id, agent_name, workflow_name, status, process_id, started_at, duration FROM runs
"""
_PARENT = _LINK + "WHERE run_id = ?"
_CHILDREN = _LINK + "WHERE parent_workflow_id = ? ORDER BY started_at, id LIMIT 1000"


@in_snapshot
def get_run(
    conn: sqlite3.Connection, run_id: str, *, beside: Neighbours | None = None
) -> RunDetail:
    """Return a run with all of its records; raises `NotFound`.

    `beside`: its neighbours, from who knows them already.
    """
    gone = GoneProcesses(conn)
    row = conn.execute(_SUMMARY, (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"no run {run_id!r}")
    run = summary_of(row, gone)
    rest = conn.execute(_RUN, (run_id,)).fetchone()
    previous_run_id, next_run_id = beside or _neighbours(conn, run)
    return RunDetail(
        run=run,
        user_group=rest["user_group"],
        root_workflow_id=rest["root_workflow_id"],
        trace_id=rest["trace_id"],
        interaction_mode=rest["interaction_mode"],
        process=_process(conn, rest["process_id"], gone),
        traceback=rest["traceback"],
        inputs=decoded(row["inputs"]),
        result=decoded(row["result"]),
        metadata=decoded(rest["metadata"]),
        tags=decoded(rest["tags"]),
        llm_calls=tuple(map(_llm_call, _records(conn, LLM_CALLS, run_id))),
        steps=tuple(Step(**step) for step in _records(conn, STEPS, run_id)),
        spans=span_tree([Span(**span, children=()) for span in _records(conn, SPANS, run_id)]),
        scores=tuple(Score(**score) for score in _records(conn, SCORES, run_id)),
        events=tuple(Event(**event) for event in _records(conn, EVENTS, run_id)),
        parent=_parent(conn, run.parent_workflow_id, gone),
        children=tuple(
            _link(child, gone) for child in conn.execute(_CHILDREN, (run.workflow_id,)).fetchall()
        ),
        previous_run_id=previous_run_id,
        next_run_id=next_run_id,
    )


def _records(conn: sqlite3.Connection, table: Table, run_id: str) -> list[dict[str, Any]]:
    """Return a run's records of one table in order, their JSON decoded.

    A file of an earlier version lacks some columns; a file of a later version has more. The result
    has the columns of the table's description, with None where the file lacks one.
    """
    sql = f"SELECT * FROM {table.name} WHERE run_id = ? ORDER BY position"  # noqa: S608
    rows = [dict(row) for row in conn.execute(sql, (run_id,)).fetchall()]
    if table is LLM_CALLS:
        expand(conn, rows)
    return [_record(table, row) for row in rows]


def _record(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        column.name: decoded(row.get(column.name))
        if column.kind is Kind.JSON
        else row.get(column.name)
        for column in table.travelling
        if column.kind is not Kind.REVISION
    }


def _llm_call(record: dict[str, Any]) -> LlmCall:
    # A file of an earlier version does not say whether the tokens are known: they were always told.
    known = record["usage_known"] is None or bool(record["usage_known"])
    return LlmCall(**record | {"is_streaming": bool(record["is_streaming"]), "usage_known": known})


def _process(
    conn: sqlite3.Connection, process_id: int | None, gone: GoneProcesses
) -> Process | None:
    row = conn.execute(_PROCESS, (process_id,)).fetchone()
    return None if row is None else Process(**dict(row), gone=process_id in gone)


def _link(row: sqlite3.Row, gone: GoneProcesses) -> RunLink:
    columns = dict(row)
    columns["status"] = gone.shown_status(row["status"], columns.pop("process_id"))
    return RunLink(**columns)


def _parent(
    conn: sqlite3.Connection, workflow_id: str | None, gone: GoneProcesses
) -> RunLink | None:
    # workflow_id is computed from run_id and has no index.
    row = conn.execute(_PARENT, (run_id_of(workflow_id),)).fetchone()
    return None if row is None else _link(row, gone)


def _neighbours(conn: sqlite3.Connection, run: RunSummary) -> Neighbours:
    return (None, None) if run.session_id is None else neighbours(conn, run.session_id, run.id)
