"""Whole runs as they stand in the file, many at a time, for what sends them on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from waxlocal.records import LLM_CALLS, RECORD_TABLES
from waxlocal.storage.contents import expand
from waxlocal.storage.record_sql import run_of, workflow_of
from waxlocal.storage.transaction import any_text
from waxlocal.wire.recorded_run import ChildRun, Delegate, RecordedRun

__all__ = ["is_not_utf_8", "leniently", "load_children", "load_runs", "text_or_none"]

Row = dict[str, Any]
T = TypeVar("T")

# One parameter for any number of ids, and one statement that SQLite prepares once.
_THESE = "(SELECT value FROM json_each(?))"
# All columns that the file has: one of a later version goes on as it is, and a file of an earlier
# version, which a dry run only reads, lacks some.
_RUNS = f"SELECT * FROM runs WHERE run_id IN {_THESE}"  # noqa: S608
_PROCESSES = f"SELECT * FROM processes WHERE process_id IN {_THESE}"  # noqa: S608
_RECORDS = {
    table.name: f"SELECT * FROM {table.name} WHERE run_id IN {_THESE} ORDER BY run_id, position"  # noqa: S608
    for table in RECORD_TABLES
}
_DELEGATES = f"""
SELECT parent_workflow_id, agent_name, started_at, completed_at FROM runs
WHERE parent_workflow_id IN (SELECT {workflow_of("value")} FROM json_each(?))
ORDER BY started_at, id
"""  # noqa: S608
# A row that somebody else wrote may name its own child as its parent.
_DEEPEST = 100
_ANCESTORS = f"""
WITH RECURSIVE above (run_id, workflow_id, depth, agent_name) AS (
  SELECT run_id, parent_workflow_id, 0, NULL FROM runs
  WHERE run_id IN {_THESE} AND parent_workflow_id IS NOT NULL
  UNION ALL
  SELECT a.run_id, p.parent_workflow_id, a.depth + 1, p.agent_name
  FROM above a JOIN runs p ON p.run_id = {run_of("a.workflow_id")}
  WHERE p.workflow_id = a.workflow_id AND a.depth < {_DEEPEST})
SELECT run_id, depth, agent_name FROM above WHERE depth > 0
"""  # noqa: S608
# By `total`, which is a float and cannot overflow: one call with absurd counts would stop all.
_CHILDREN = """
WITH RECURSIVE below (child, run_id, workflow_id) AS (
  SELECT run_id, run_id, workflow_id FROM runs WHERE parent_workflow_id = :workflow_id
  UNION
  SELECT b.child, r.run_id, r.workflow_id
  FROM below b JOIN runs r ON r.parent_workflow_id = b.workflow_id),
used (child, tokens_in, tokens_out, cost, llm_calls) AS (
  SELECT b.child, CAST(total(c.tokens_in) AS INTEGER), CAST(total(c.tokens_out) AS INTEGER),
    sum(c.cost), count(c.position)
  FROM below b LEFT JOIN llm_calls c ON c.run_id = b.run_id GROUP BY b.child)
SELECT r.id, r.run_id, r.workflow_id, r.agent_name, r.workflow_name, r.session_id, r.status,
  r.started_at, r.completed_at, r.duration, r.inputs, r.result, r.error, r.error_type,
  u.tokens_in, u.tokens_out, u.cost, u.llm_calls
FROM used u JOIN runs r ON r.run_id = u.child ORDER BY r.started_at, r.id
"""


def load_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[RecordedRun]:
    """Return these runs in this order, without those that do not exist.

    A fixed number of queries however many runs are asked for. Text that is not UTF-8 is read with
    replacement characters.
    """
    return leniently(connection, lambda: _load_runs(connection, run_ids))


def _load_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[RecordedRun]:
    these = json.dumps(list(run_ids))
    runs = {row["run_id"]: row for row in _rows(connection, _RUNS, these)}
    read = {table: _rows(connection, query, these) for table, query in _RECORDS.items()}
    expand(connection, read[LLM_CALLS.name])
    records = {table: _by_run(rows) for table, rows in read.items()}
    processes = _processes(connection, runs.values())
    delegates = _delegates(connection, these)
    around = _around(connection, these, runs.values())
    return [
        RecordedRun(
            runs[run_id],
            processes.get(runs[run_id]["process_id"]),
            **{table: rows.get(run_id, []) for table, rows in records.items()},
            parent_agent=around[run_id][0] if run_id in around else None,
            depth=around[run_id][1] if run_id in around else 0,
            delegates=delegates.get(runs[run_id]["workflow_id"], ()),
        )
        for run_id in dict.fromkeys(run_ids)
        if run_id in runs
    ]


def load_children(connection: sqlite3.Connection, workflow_id: str) -> list[ChildRun]:
    """Return the runs that a run opened, by their start."""

    def load() -> list[ChildRun]:
        return [
            ChildRun(*row) for row in _tuples(connection, _CHILDREN, {"workflow_id": workflow_id})
        ]

    return leniently(connection, load)


def _processes(connection: sqlite3.Connection, runs: Iterable[Row]) -> dict[int, Row]:
    wanted = {run["process_id"] for run in runs if isinstance(run["process_id"], int)}
    if not wanted:
        return {}
    rows = _rows(connection, _PROCESSES, json.dumps(list(wanted)))
    return {row["process_id"]: row for row in rows}


def _delegates(connection: sqlite3.Connection, these: str) -> dict[str, list[Delegate]]:
    found: dict[str, list[Delegate]] = {}
    for parent, *delegate in _tuples(connection, _DELEGATES, (these,)):
        found.setdefault(parent, []).append(Delegate(*delegate))
    return found


def _around(
    connection: sqlite3.Connection, these: str, runs: Iterable[Row]
) -> dict[str, tuple[str | None, int]]:
    """Return the parent's agent and the depth of each run that has a parent in this file."""
    if not any(run["parent_workflow_id"] for run in runs):
        return {}
    found: dict[str, tuple[str | None, int]] = {}
    for run_id, depth, agent_name in _tuples(connection, _ANCESTORS, (these,)):
        parent, deepest = found.get(run_id, (None, 0))
        found[run_id] = (agent_name if depth == 1 else parent, max(depth, deepest))
    return found


def _by_run(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["run_id"], []).append(row)
    return found


def _rows(connection: sqlite3.Connection, query: str, these: str) -> list[Row]:
    cursor = connection.cursor()
    cursor.row_factory = None  # tuples, whatever the connection makes
    cursor.execute(query, (these,))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _tuples(
    connection: sqlite3.Connection, query: str, values: tuple[str] | dict[str, str]
) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(query, values).fetchall()


def leniently(connection: sqlite3.Connection, read: Callable[[], T]) -> T:
    """Return what `read` reads, with replacement characters where text is not valid UTF-8.

    SQLite stores any bytes as text. `read` is called a second time only if there are such bytes: a
    function for each text would slow down all others. Raises `sqlite3.Error`.
    """
    try:
        return read()
    except sqlite3.OperationalError as error:
        if not is_not_utf_8(error):
            raise
    with any_text(connection):
        return read()


def is_not_utf_8(error: sqlite3.Error) -> bool:
    """Return whether an error means that text which was to be read is not valid UTF-8."""
    return "decode" in str(error)


def text_or_none(raw: bytes) -> str | None:
    """Return the text that these bytes of the file are, None if they are not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
