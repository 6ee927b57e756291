"""Runs that begin and end by requests."""

from __future__ import annotations

import re
import sqlite3

from waxlocal.clock import utc_text
from waxlocal.encode import dumps
from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.ids import RunIds, daily_run_id, trace_id_of, workflow_id_of
from waxlocal.ingest.known_runs import Json, KnownRun, find_run
from waxlocal.ingest.lineage import Lineage, of_uploader, trusted
from waxlocal.ingest.origins import note_device
from waxlocal.ingest.positions import settle
from waxlocal.process import current_process
from waxlocal.records import (
    ENDED_STATUSES,
    NOT_FINAL_STATUSES,
    PROCESSES,
    RUNS,
    Kind,
    Phase,
    RunStatus,
    mode_of,
)
from waxlocal.storage.forgotten import Forgotten, has_forgotten_run
from waxlocal.storage.record_sql import BEGIN_DAILY_RUN, OR_TAKE_OVER, insert
from waxlocal.wire.columns import CHECKS, Refused
from waxlocal.wire.cut_values import CAN_BE_CUT, is_cut, is_cut_from
from waxlocal.wire.exact import KEY
from waxlocal.wire.runs import (
    OF_END,
    columns_of_end,
    exact_end,
    exact_process,
    exact_start,
)
from waxlocal.wire.values import (
    as_content,
    as_id,
    as_number,
    as_object,
    as_text,
    as_time,
    is_uuid,
)

__all__ = [
    "daily_run",
    "end_exactly",
    "end_run",
    "ended",
    "start_run",
]

_DEFAULTS = RUNS.defaults
# Our own uploader sends `completed_at` and `duration` with the start; the run still counts as open
# until its end arrives.
_BEGIN = insert(
    RUNS,
    (
        *("run_id", "status", *RUNS.names_of(Phase.START)),
        *("completed_at", "duration", "metadata", "tags"),
    ),
)
_ADD_RUN = insert(
    RUNS,
    (*(column.name for column in RUNS.travelling), "process_id"),
    on_conflict=OR_TAKE_OVER,
)
# A start that is sent again while the run is open: its uploader has lost track of the first, and
# the end that follows leaves out what this one has.
_START_AGAIN = """
UPDATE runs SET metadata = coalesce(:metadata, metadata), tags = coalesce(:tags, tags)
WHERE run_id = :run_id AND status = 'running'
"""
# The value of a column when another state of the run replaces the one in the file.
_REPLACING = {name: f"coalesce({name}, :{name})" for name in ("session_id", "process_id")}
# As bytes: SQLite keeps text that is not UTF-8, as another program may write it.
_CUTTABLE = f"""
SELECT {", ".join(f"CAST({name} AS BLOB)" for name in CAN_BE_CUT)} FROM runs WHERE run_id = ?
"""  # noqa: S608
_IS_HERE = "SELECT 1 FROM runs WHERE run_id = ?"
_ADD_PROCESS = insert(PROCESSES, on_conflict="DO NOTHING")
_END = f"""
UPDATE runs SET {", ".join(f"{name} = :{name}" for name in (*OF_END, "trace_id"))}
WHERE run_id = :run_id
"""  # noqa: S608
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_new_ids = RunIds()


def start_run(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
    """Begin a run; return the response.

    With `metadata.waxlocal`, our own uploader gives its id and times. A run that has ended here
    stays as it is.
    """
    metadata = as_object(body.get("metadata"))
    own = as_object(metadata.get(KEY))
    if is_uuid(own.get("run_id")) or (own.get("run_id") and isinstance(own.get("run"), dict)):
        return _start_uploaded(connection, body, own, now_ns)
    run_id = _new_ids.next(now_ns)
    lineage = trusted(
        connection,
        as_text(body.get("parent_workflow_id")),
        as_text(body.get("root_workflow_id")),
        as_id(body.get("session_id")),
    )
    _begin(connection, run_id, body, lineage, utc_text(now_ns), {}, now_ns)
    return _started(run_id, utc_text(now_ns))


def _start_uploaded(connection: sqlite3.Connection, body: Json, own: Json, now_ns: int) -> Json:
    try:
        run_id: str = CHECKS[Kind.RUN_ID](own["run_id"])
    except ValueError as error:
        raise InvalidQuery(f"the run_id of metadata.waxlocal is {error}") from None
    if isinstance(own.get("run"), dict):
        return _start_exactly(connection, body, own)
    try:
        return _started(run_id, find_run(connection, run_id).started_at)
    except NotFound:
        pass
    lineage = of_uploader(connection, own.get("parent_workflow_id"), body.get("root_workflow_id"))
    started_at = as_time(own.get("started_at")) or utc_text(now_ns)
    _begin(connection, run_id, body, lineage, started_at, own, now_ns)
    return _started(run_id, started_at)


def _start_exactly(connection: sqlite3.Connection, body: Json, own: Json) -> Json:
    """Begin a run from the rows of run and process that the uploader sends.

    If its records arrived before the start, their run gets the columns of the start.
    """
    try:
        row, process = exact_start(body, own), exact_process(own)
    except Refused as error:
        raise InvalidQuery(f"a run that cannot be stored: {error}") from None
    if _is_barred(connection, row):
        return _started(row["run_id"], row["started_at"])
    if process is not None:
        connection.execute(_ADD_PROCESS, process)
    row |= {"process_id": process and process["process_id"]}
    if not connection.execute(_ADD_RUN, row).rowcount:
        connection.execute(_START_AGAIN, row)
        _fill(connection, row["run_id"], row)
    return _started(row["run_id"], find_run(connection, row["run_id"]).started_at)


def _started(run_id: str, started_at: str) -> Json:
    return {"run_id": run_id, "workflow_id": workflow_id_of(run_id), "started_at": started_at}


def _begin(
    connection: sqlite3.Connection,
    run_id: str,
    body: Json,
    lineage: Lineage,
    started_at: str,
    own: Json,
    now_ns: int,
) -> None:
    """Begin a run, unless it was deleted here on purpose; `own`: what our own uploader says."""
    session_id = as_id(body.get("session_id"))
    mode = as_text(body.get("interaction_mode"))
    metadata = as_object(body.get("metadata"))
    given = {name: value for name, value in metadata.items() if not own or name != KEY}
    row = {
        **_DEFAULTS,
        "run_id": run_id,
        "agent_name": as_text(body.get("agent_name")) or as_text(body.get("agent_slug")),
        "workflow_name": as_text(body.get("workflow_name")) or "default",
        "session_id": session_id,
        "user_id": as_id(body.get("user_id")),
        "user_group": as_id(body.get("user_group")),
        "parent_workflow_id": lineage.parent_workflow_id,
        "root_workflow_id": lineage.root_workflow_id,
        "trace_id": _trace_id(body) or lineage.trace_id or trace_id_of(run_id),
        "interaction_mode": mode or mode_of(session_id),
        "status": RunStatus.RUNNING,
        "started_at": started_at,
        "completed_at": as_time(own.get("completed_at")),
        "duration": as_number(own.get("duration")),
        "metadata": as_content(given),
        "tags": as_content(as_object(own.get("tags"))),
        "inputs": as_content(body.get("inputs")),
    }
    if not _is_barred(connection, row | _above(body, own)):
        process_id = note_device(connection, own, now_ns) if own else None
        connection.execute(_BEGIN, row | {"process_id": process_id})


def _above(body: Json, own: Json) -> Json:
    """Return the parent and the root that a start names, whether they are trusted or not."""
    given = {name: as_text(body.get(name)) for name in ("parent_workflow_id", "root_workflow_id")}
    named = as_text(own.get("parent_workflow_id"))
    return given | ({"parent_workflow_id": named} if named else {})


def _is_barred(connection: sqlite3.Connection, row: Json) -> bool:
    """Return whether a run that begins was deleted here on purpose, or belongs to such a one."""
    forgotten = Forgotten(connection)
    return bool(forgotten) and not _is_here(connection, row["run_id"]) and forgotten.take(row)


def _is_here(connection: sqlite3.Connection, run_id: str) -> bool:
    return connection.execute(_IS_HERE, (run_id,)).fetchone() is not None


def _trace_id(body: Json) -> str | None:
    trace_id = as_text(body.get("trace_id"))
    return trace_id if _TRACE_ID.fullmatch(trace_id) else None


def end_run(connection: sqlite3.Connection, run: KnownRun, body: Json, now_ns: int) -> Json:
    """End a run, with the duration that the uploader sent, else with the one that the server saw.

    A run that has ended stays as it is, unless it was taken for interrupted.
    """
    duration = run.duration
    if run.status in NOT_FINAL_STATUSES:
        duration = _end(connection, run, body, now_ns)
        settle(connection, run.run_id)
    return ended(run, duration)


def ended(run: KnownRun, duration: float | None) -> Json:
    """Return the response to the end of a run."""
    return {"run_id": run.run_id, "duration": duration, "governance": {"action": "allow"}}


def _end(connection: sqlite3.Connection, run: KnownRun, body: Json, now_ns: int) -> float | None:
    given = columns_of_end(body)
    # Any program may have written the start: of one that is not a time, no duration is known.
    ended_ns = now_ns if run.started_ns is None else max(now_ns, run.started_ns)
    lasted = None if run.started_ns is None else (ended_ns - run.started_ns) / 1e9
    known = run.is_open  # our own uploader sent the end with the start
    duration = run.duration if known and run.duration is not None else lasted
    row = {
        **given,
        "run_id": run.run_id,
        "status": given["status"] if given["status"] in ENDED_STATUSES else RunStatus.ERROR,
        "completed_at": (known and run.completed_at) or utc_text(ended_ns),
        "duration": duration,
        "trace_id": _trace_id(body) or run.trace_id,
    }
    connection.execute(_END, row)
    return duration


def end_exactly(connection: sqlite3.Connection, run: KnownRun, body: Json, said: Json) -> Json:
    """End a run with the exact columns that its uploader sends.

    A run that has ended here stays as it is, unless the new state is newer, or the run was taken
    for interrupted.
    """
    try:
        end, process = exact_end(body, said), exact_process(said)
    except Refused as error:
        raise InvalidQuery(f"an end that cannot be stored: {error}") from None
    corrected = run.status in NOT_FINAL_STATUSES and end["status"] not in NOT_FINAL_STATUSES
    if run.is_open or corrected or (end.get("revision") or 0) > run.revision:
        _replace(connection, run.run_id, end, process)
    else:
        _fill(connection, run.run_id, end)
    return ended(run, end["duration"])


def _replace(connection: sqlite3.Connection, run_id: str, row: Json, process: Json | None) -> None:
    """Set columns of a run; it keeps its session and its process, if it has them.

    A whole value stays if the new one is the same, cut.
    """
    if process is not None:
        connection.execute(_ADD_PROCESS, process)
        row = row | {"process_id": process["process_id"]}
    row = row | _whole_there(connection, run_id, row)
    changed = ", ".join(f"{name} = {_REPLACING.get(name, f':{name}')}" for name in row)
    statement = f"UPDATE runs SET {changed} WHERE run_id = :run_id"  # noqa: S608
    connection.execute(statement, row | {"run_id": run_id})


def _whole_there(connection: sqlite3.Connection, run_id: str, row: Json) -> Json:
    """Return the values of the run that are in this row the same, cut.

    Compared here: the length that SQLite gives of a text ends at a NUL character.
    """
    if not any(is_cut(row.get(name)) for name in CAN_BE_CUT):
        return {}
    there = _cuttable(connection, run_id)
    return {name: value for name, value in there.items() if is_cut_from(row.get(name), value)}


def _fill(connection: sqlite3.Connection, run_id: str, row: Json) -> None:
    """Replace cut values of a run by whole ones.

    A sender cuts values that a server refuses as too large (see `wire.cut_values`). The whole
    value, sent later to a server that takes more, is not a newer state of the run.
    """
    there = _cuttable(connection, run_id)
    whole = {
        name: row[name]
        for name in CAN_BE_CUT
        if is_cut(there[name]) and row.get(name) is not None and not is_cut(row[name])
    }
    if whole:
        changed = ", ".join(f"{name} = :{name}" for name in whole)
        changed += ", revision = coalesce(revision, 0) + 1"
        statement = f"UPDATE runs SET {changed} WHERE run_id = :run_id"  # noqa: S608
        connection.execute(statement, whole | {"run_id": run_id})


def _cuttable(connection: sqlite3.Connection, run_id: str) -> Json:
    (values,) = connection.execute(_CUTTABLE, (run_id,)).fetchall()
    texts = (None if value is None else value.decode(errors="replace") for value in values)
    return dict(zip(CAN_BE_CUT, texts, strict=True))


def daily_run(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
    """Return the run of an agent's day (UTC), which is created if it does not exist."""
    slug, agent_type = as_text(body.get("agent_slug")), as_text(body.get("agent_type")) or "mcp"
    now = utc_text(now_ns)
    date = as_text(body.get("date")) or now[:10]
    # The recorder makes the id in the same way, so both get the same run on this host.
    run_id = daily_run_id(current_process().host, agent_type, slug, date)
    metadata = {"agent_type": agent_type, "date": date}
    if region := as_text(body.get("execution_region")):
        metadata["execution_region"] = region
    row = {
        "run_id": run_id,
        "agent_name": slug,
        "trace_id": trace_id_of(run_id),
        "started_at": now,
        "metadata": dumps(metadata),
    }
    if has_forgotten_run(connection, run_id) and not _is_here(connection, run_id):
        return {**_started(run_id, now), "date": date, "created": False}
    created = connection.execute(BEGIN_DAILY_RUN.sql, row).rowcount == 1
    started_at = find_run(connection, run_id).started_at
    return {**_started(run_id, started_at), "date": date, "created": created}
