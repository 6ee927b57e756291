"""One run, whole: everything that it recorded, and the runs around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from waxlocal.errors import NotFound
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.rows import Event, LlmCall, Process, RunDetail, RunLink, Score, Span, Step
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.spoken import decoded
from waxlocal.queries.summaries import SUMMARY, summary_of
from waxlocal.queries.tree import span_tree

__all__ = ["get_run"]

_SUMMARY = SUMMARY + "WHERE r.run_id = ?"
_RUN = """
SELECT user_group, root_workflow_id, trace_id, interaction_mode, traceback, metadata, tags,
  process_id
FROM runs WHERE run_id = ?
"""
_LLM_CALLS = """
SELECT position, recorded_at, model, provider, task, tokens_in, tokens_out, cached_tokens,
  cache_write_tokens, cost, cost_source, duration_ms, ttft_ms, is_streaming, status, error_type,
  error_message, prompt_preview, response_preview, messages, response, details
FROM llm_calls WHERE run_id = ? ORDER BY position
"""
_STEPS = """
SELECT position, recorded_at, step_name, kind, output, attributes
FROM steps WHERE run_id = ? ORDER BY position
"""
_SPANS = """
SELECT position, parent_position, started_at, duration_ms, name, kind, status, error, attributes,
  input, output
FROM spans WHERE run_id = ? ORDER BY position
"""
_SCORES = """
SELECT position, recorded_at, name, data_type, numeric_value, string_value, comment
FROM scores WHERE run_id = ? ORDER BY position
"""
_EVENTS = "SELECT position, recorded_at, event, data FROM events WHERE run_id = ? ORDER BY position"
_PROCESS = "SELECT host, pid, program, python, waxlocal FROM processes WHERE process_id = ?"
_LINK = """
SELECT run_id, agent_name, workflow_name, status, process_id, started_at, duration FROM runs
"""
_PARENT = _LINK + "WHERE run_id = ?"
_CHILDREN = _LINK + "WHERE parent_workflow_id = ? ORDER BY started_at, id LIMIT 1000"
# Row values make these two a walk along runs_by_session.
_PREVIOUS = """
SELECT run_id FROM runs WHERE session_id = :session_id AND (started_at, id) < (:started_at, :id)
ORDER BY started_at DESC, id DESC LIMIT 1
"""
_NEXT = """
SELECT run_id FROM runs WHERE session_id = :session_id AND (started_at, id) > (:started_at, :id)
ORDER BY started_at, id LIMIT 1
"""


@in_snapshot
def get_run(conn: sqlite3.Connection, run_id: str) -> RunDetail:
    """Return everything that is known of a run; raises `NotFound`."""
    gone = GoneProcesses(conn)
    row = conn.execute(_SUMMARY, (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"no run {run_id!r}")
    run = summary_of(row, gone)
    rest = conn.execute(_RUN, (run_id,)).fetchone()
    place = {"session_id": run.session_id, "started_at": run.started_at, "id": run.id}
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
        llm_calls=tuple(map(_llm_call, _records(conn, _LLM_CALLS, run_id))),
        steps=tuple(map(_step, _records(conn, _STEPS, run_id))),
        spans=span_tree([_span(span) for span in _records(conn, _SPANS, run_id)]),
        scores=tuple(Score(**dict(score)) for score in _records(conn, _SCORES, run_id)),
        events=tuple(map(_event, _records(conn, _EVENTS, run_id))),
        parent=_parent(conn, run.parent_workflow_id, gone),
        children=tuple(_link(child, gone) for child in _records(conn, _CHILDREN, run.workflow_id)),
        previous_run_id=_neighbour(conn, _PREVIOUS, place),
        next_run_id=_neighbour(conn, _NEXT, place),
    )


def _records(conn: sqlite3.Connection, sql: str, key: str) -> list[sqlite3.Row]:
    return conn.execute(sql, (key,)).fetchall()


def _decode(row: sqlite3.Row, *names: str) -> dict[str, Any]:
    """Return a row's columns, those named decoded from JSON."""
    columns = dict(row)
    for name in names:
        columns[name] = decoded(columns[name])
    return columns


def _llm_call(row: sqlite3.Row) -> LlmCall:
    columns = _decode(row, "messages", "details")
    columns["is_streaming"] = bool(columns["is_streaming"])
    return LlmCall(**columns)


def _step(row: sqlite3.Row) -> Step:
    return Step(**_decode(row, "output", "attributes"))


def _span(row: sqlite3.Row) -> Span:
    return Span(**_decode(row, "attributes", "input", "output"), children=())


def _event(row: sqlite3.Row) -> Event:
    return Event(**_decode(row, "data"))


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
    # workflow_id is computed from run_id and has no index of its own.
    if workflow_id is None or not workflow_id.startswith("wf_"):
        return None
    row = conn.execute(_PARENT, (workflow_id.removeprefix("wf_"),)).fetchone()
    return None if row is None else _link(row, gone)


def _neighbour(conn: sqlite3.Connection, sql: str, place: Mapping[str, object]) -> str | None:
    row = conn.execute(sql, place).fetchone()
    return None if row is None else str(row[0])
