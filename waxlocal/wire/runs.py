"""What the start and the end of a run hold of it beside the fields of the original SDK.

The start has that in `metadata.waxlocal`, which every server stores and shows; the end has it in
`waxlocal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from waxlocal.encode import dumps
from waxlocal.ids import process_id_of, trace_id_of
from waxlocal.records import (
    ENDED_STATUSES,
    EVENTS,
    PROCESS_ID_COLUMNS,
    PROCESSES,
    RECORD_TABLES,
    RUNS,
    Phase,
    RunStatus,
    Table,
    mode_of,
)
from waxlocal.wire.columns import Refused
from waxlocal.wire.conversation_state import events_of_state
from waxlocal.wire.exact import KEY, told, written
from waxlocal.wire.items import Untold
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.values import (
    Json,
    as_content,
    as_id,
    as_list,
    as_object,
    as_text,
    as_time,
    number_of,
    object_of,
    text_of,
)

__all__ = [
    "END_FIELDS",
    "OF_END",
    "START_FIELDS",
    "columns_of_end",
    "end_with",
    "ends_run",
    "exact_end",
    "exact_of_start",
    "exact_process",
    "exact_start",
    "only_records",
    "own_of_start",
    "process_id",
    "records_of_end",
    "told_by_end",
    "untold_of_end",
]

Row = Mapping[str, Any]

# The fields of the two requests, each with what it holds.
START_FIELDS = {
    "agent_name": "text",
    "workflow_name": "text",
    "inputs": "object",
    "metadata": "object",
    "session_id": "text",
    "user_id": "text",
    "user_group": "text",
    "parent_workflow_id": "text: the run that opens this one",
    "root_workflow_id": "text",
    "interaction_mode": "text: interactive or autonomous",
    "trace_id": "text: 32 hexadecimal digits",
}
END_FIELDS = {
    "result": "object",
    "status": "text: success, error, blocked, interrupted or cancelled",
    "error": "text",
    "error_type": "text",
    "traceback": "text",
    "steps": "array",
    "trace_id": "text: 32 hexadecimal digits",
    "root_span_id": "text: 16 hexadecimal digits",
    "conversation_state": "object",
}
# What the request that ends a run says of it: its end, and what it returned. The rest of what may
# change at any time goes with the start.
OF_END = (*RUNS.names_of(Phase.END), "result")
# All that can change in a run: it keeps its id.
OF_RUN = tuple(column.name for column in RUNS.travelling if column.name != "run_id")
_PROCESS_COLUMNS = [column.name for column in PROCESSES.travelling]
_identity = itemgetter(*map(_PROCESS_COLUMNS.index, PROCESS_ID_COLUMNS))
# The columns of a process that have another name in what every server shows.
_SHOWN = {"host": "device", "program": "program", "waxlocal": "version"}


# -- to the wire -----------------------------------------------------------------------------------


def own_of_start(run: RecordedRun) -> Json:
    """Return what the API has no place for, and the times that a server would set itself."""
    row, process = run.run, run.process or {}
    shown: Json = {
        "run_id": text_of(row["run_id"]),
        "started_at": text_of(row["started_at"]),
        "completed_at": text_of(row["completed_at"]),
        "duration": number_of(row["duration"]),
        "parent_workflow_id": text_of(row["parent_workflow_id"]),
        "tags": object_of(row["tags"]),
        "device": text_of(process.get("host")),
        "program": text_of(process.get("program")),
        "version": text_of(process.get("waxlocal")),
    }
    if row["status"] == RunStatus.RUNNING:
        shown["completed_at"] = shown["duration"] = None
    return {name: value for name, value in shown.items() if value is not None and value != ""}


def exact_of_start(run: RecordedRun, body: Json, own: Json) -> Json:
    """Return the columns of a run and its process that differ from what its start gives."""
    leave = (*OF_END, "run_id")
    said = told(RUNS, run.run, _columns_of_start(body, own), leave=leave)
    if said is None:
        return {}
    return {"run": said, **_told_of_process(run.process, own)}


def _told_of_process(process: Row | None, own: Json) -> Json:
    """Return the columns of a process that differ from what stands beside them."""
    if process is None:
        return {}
    said = told(PROCESSES, process, _process_shown(own)) or {}
    known = process.get("process_id")
    return {"process": {"process_id": known, **said} if type(known) is int else said}


def told_by_end(
    run: RecordedRun, body: Json, untold: Sequence[Untold], *, whole: bool = False
) -> Json:
    """Return what the end of a run holds of it, and the records that no other request carries.

    `whole`: of all of the run, because its start did not know all or somebody changed it since.
    """
    row, given = run.run, columns_of_end(body)
    said = told(RUNS, row, given, only=OF_RUN) if whole else None
    if said is None:  # or somebody wrote what cannot be stored again
        found: Json = {"run": told(RUNS, row, given, only=OF_END) or {}}
    else:
        found = {"run": said, "whole": True, **_told_of_process(run.process, {})}
    records = _untold(untold, body) if untold else {}
    return found | ({"records": records} if records else {})


def _untold(untold: Iterable[Untold], body: Json) -> Json:
    """Return the rows of these records by table, without data that the state of the body gives."""
    records: dict[str, list[Json]] = {}
    state = _StateEvents(body)
    for table, row in untold:
        said = told(table, row, state.given(table, row))
        if said is not None:
            state.take(table, row)
            records.setdefault(table.name, []).append(said)
    return records


def records_of_end(body: Json) -> list[tuple[str, Json]]:
    """Return (table, what is said of the row) for each record that the end of a run carries.

    Each is whole: it can go without the state of the body.
    """
    records = as_object(as_object(body.get(KEY)).get("records"))
    state = _StateEvents(body)
    found: list[tuple[str, Json]] = []
    for table in RECORD_TABLES:
        for said in records.get(table.name, ()):
            found.append((table.name, {**state.given(table, said), **said}))
            state.take(table, said)
    return found


def end_with(body: Json, records: Iterable[tuple[str, Json]]) -> Json:
    """Return the end of a run with these records in place of those that it carries."""
    said = {name: value for name, value in body[KEY].items() if name != "records"}
    carried = _by_table(records)
    return {**body, KEY: {**said, "records": carried} if carried else said}


def only_records(records: Iterable[tuple[str, Json]]) -> Json:
    """Return a request to the same endpoint that brings records and ends nothing.

    Only another waxlocal knows it: `ends_run` tells it from an end.
    """
    return {KEY: {"records": _by_table(records)}}


def _by_table(records: Iterable[tuple[str, Json]]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for table, said in records:
        found.setdefault(table, []).append(said)
    return found


class _StateEvents:
    """The events in the state of a body: of each name, one after the other."""

    def __init__(self, body: Json) -> None:
        state = as_object(body.get("conversation_state"))
        self._left = {event.event: list(event.data) for event in events_of_state(state)}

    def given(self, table: Table, row: Row) -> Json:
        """Return what the state gives of the next event with the name of this row."""
        left = self._of(table, row)
        return {"data": dumps(left[0])} if left else {}

    def take(self, table: Table, row: Row) -> None:
        """Go on to the event after it."""
        if left := self._of(table, row):
            del left[0]

    def _of(self, table: Table, row: Row) -> list[Json]:
        name = row.get("event") if table is EVENTS else None
        return self._left.get(name, []) if isinstance(name, str) else []


# -- from the wire ---------------------------------------------------------------------------------


def _columns_of_start(body: Json, own: Json) -> Json:
    metadata = as_object(body.get("metadata"))
    given = {name: value for name, value in metadata.items() if name != KEY}
    return {
        "agent_name": as_text(body.get("agent_name")),
        "workflow_name": as_text(body.get("workflow_name")) or "default",
        "session_id": as_id(body.get("session_id")),
        "user_id": as_id(body.get("user_id")),
        "user_group": as_text(body.get("user_group")) or None,
        "parent_workflow_id": as_text(own.get("parent_workflow_id")) or None,
        "trace_id": as_text(body.get("trace_id")),
        "interaction_mode": as_text(body.get("interaction_mode")),
        "started_at": as_time(own.get("started_at")),
        "metadata": as_content(given),
        "tags": as_content(as_object(own.get("tags"))),
        "inputs": as_content(body.get("inputs")),
    }


def exact_start(body: Json, own: Json) -> Json:
    """Return the row of a run that begins, all columns that travel. Raises `Refused`."""
    said = {**as_object(own.get("run")), "run_id": own.get("run_id"), "status": RunStatus.RUNNING}
    # Where an uploader says at once when the run has ended; it counts as open until its end comes.
    said |= {name: own[name] for name in ("completed_at", "duration") if name in own}
    row = written(RUNS, said, _columns_of_start(body, own))
    row["trace_id"] = row["trace_id"] or trace_id_of(row["run_id"])
    row["interaction_mode"] = row["interaction_mode"] or mode_of(row["session_id"])
    return row


def _process_shown(own: Json) -> Json:
    return {name: as_text(own.get(shown)) for name, shown in _SHOWN.items()}


def exact_process(own: Json) -> Json | None:
    """Return the row of the process that recorded a run; None if it has none. Raises `Refused`."""
    said = own.get("process")
    if not isinstance(said, dict):
        return None
    row = written(PROCESSES, said, _process_shown(own))
    return {"process_id": process_id(said, list(row.values())), **row}


def process_id(said: Json, columns: Sequence[object]) -> int:
    """Return the id of a process: the one that its row says, or else the one that its columns give.

    `columns`: those that travel, in their order.
    """
    known = said.get("process_id")
    if type(known) is int and 0 < known < 1 << 56:
        return known
    return process_id_of(*map(str, _identity(columns)))


def columns_of_end(body: Mapping[str, Any]) -> Json:
    """Return the columns that the end of a run gives, without its time."""
    return {
        "status": as_text(body.get("status")) or RunStatus.SUCCESS,
        "error": as_text(body.get("error")) or None,
        "error_type": as_text(body.get("error_type")) or None,
        "traceback": as_text(body.get("traceback")) or None,
        "result": as_content(body.get("result")),
    }


def ends_run(said: Json) -> bool:
    """Return whether a request that says this ends its run, and does not only bring records."""
    return "run" in said or "records" not in said


def exact_end(body: Json, said: Json) -> Json:
    """Return the columns that the end of a run sets: all of the run where it says so.

    Raises `Refused`.
    """
    only = OF_RUN if said.get("whole") is True else OF_END
    row = written(RUNS, as_object(said.get("run")), columns_of_end(body), only=only)
    if row["status"] not in ENDED_STATUSES:
        raise Refused("the status is not that of a run that has ended")
    return row


def untold_of_end(body: Json, said: Json) -> list[tuple[Table, Json]]:
    """Return the records that the end of a run carries. Raises `Refused`."""
    records = as_object(said.get("records"))
    state = _StateEvents(body)
    found: list[tuple[Table, Json]] = []
    for table in RECORD_TABLES:
        for one in as_list(records.get(table.name)):
            row = as_object(one)
            found.append((table, written(table, row, state.given(table, row))))
            state.take(table, row)
    return found
