"""A run as the requests of the original SDK: start, records of each kind, end.

Pure functions from rows to bodies. The original counts LLM calls, steps, spans and the runs that
a run opens together, from 1, and leaves out scores and events; so do the bodies, whatever the
positions in the file are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waxlocal.wire.conversation_state import conversation_state
from waxlocal.wire.exact import Item
from waxlocal.wire.items import Walk
from waxlocal.wire.order import in_order
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.values import Json, fields_of, number_of, object_of, text_of

__all__ = ["Item", "complete_body", "record_items", "stage_body", "start_body"]

# The list of a stage's items in its body.
_LISTS = {
    "llm-calls": "calls",
    "steps": "steps",
    "spans": "spans",
    "scores": "scores",
    "events": "events",
}
# The state of a conversation grows with its run; one that needs several requests tells it once,
# with the end.
MAX_RECORDS_WITH_STATE = 500


def start_body(
    run: RecordedRun, *, parent_workflow_id: str | None, root_workflow_id: str | None
) -> Json:
    """Return the request that starts a run; the two ids are those of the server."""
    row = run.run
    body: Json = {
        "agent_name": text_of(row["agent_name"]),
        "workflow_name": text_of(row["workflow_name"]),
        "inputs": fields_of(row["inputs"]),
        "metadata": {**fields_of(row["metadata"]), "waxlocal": _own(run)},
        "trace_id": text_of(row["trace_id"]),
        "interaction_mode": text_of(row["interaction_mode"]),
    }
    optional = {
        "user_id": text_of(row["user_id"]),
        "user_group": text_of(row["user_group"]),
        "session_id": text_of(row["session_id"]),
        "parent_workflow_id": text_of(parent_workflow_id),
        "root_workflow_id": text_of(root_workflow_id),
    }
    return body | {name: value for name, value in optional.items() if value}


def _own(run: RecordedRun) -> Json:
    """Return what the server's API has no place for, or stamps itself."""
    row, process = run.run, run.process or {}
    told: Json = {
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
    if row["status"] == "running":
        told["completed_at"] = told["duration"] = None
    return {name: value for name, value in told.items() if value is not None and value != ""}


def complete_body(run: RecordedRun) -> Json:
    """Return the request that ends a run."""
    row = run.run
    body: Json = {
        "result": fields_of(row["result"]),
        "status": text_of(row["status"]),
        "error": text_of(row["error"]),
        "steps": [],
    }
    if row["error_type"]:
        body["error_type"] = text_of(row["error_type"])
    if row["traceback"] and row["status"] != "blocked":
        body["traceback"] = text_of(row["traceback"])
    state = conversation_state(run)
    return body | ({"conversation_state": state} if state else {})


def stage_body(
    stage: str, items: Sequence[Item], *, run: RecordedRun, hardware_uuid: str = ""
) -> Json:
    """Return the request that carries these items of a run; one item alone where one is a request.

    LLM calls and steps also tell the machine, if it is to be told, and the conversation's state.
    """
    if stage not in _LISTS:
        (item,) = items
        return item.body
    body: Json = {_LISTS[stage]: [item.body for item in items]}
    if stage in ("llm-calls", "steps"):
        if hardware_uuid:
            body["hardware_uuid"] = hardware_uuid
        if len(run.spans) + len(run.events) + len(run.delegates) <= MAX_RECORDS_WITH_STATE:
            state = conversation_state(run)
            body |= {"conversation_state": state} if state else {}
    return body


def record_items(
    run: RecordedRun, children: Sequence[ChildRun], remote_ids: Mapping[str, str]
) -> dict[str, list[Item]]:
    """Return what a run recorded, by stage, each in the order of recording.

    `remote_ids`: the ids that the server gave the runs that this one opened, by their own; and its
    own workflow id there, by the one here, which events name. Without it the local ids stand.
    """
    walk = Walk(run, remote_ids)
    for take in in_order(run, children, walk):
        take()
    return walk.result()
