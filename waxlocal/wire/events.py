"""Events: the program's own and those of approvals, which have a request of their own.

The original SDK sends all other events in other ways: in the state of the conversation, as a step,
as a request about a memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.encode import dumps
from waxlocal.records import EVENTS
from waxlocal.wire.exact import Item, told, without_key, written
from waxlocal.wire.values import Json, as_text, fields_of, text_of

__all__ = [
    "FIELDS",
    "columns_of_event",
    "data_of_event",
    "event_item",
    "exact_event",
    "is_sent",
    "late_event",
]

Row = Mapping[str, Any]

# The fields of an event, each with what it holds; the program's own may have any others.
FIELDS = {
    "event": "text: its name",
    "workflow_id": "text: that of the run",
    "agent_name": "text",
    "workflow_name": "text",
    "metadata": "object",
}
# What the recorder's events of approvals hold where the SDK sends only what was given.
_APPROVALS: dict[str, Json] = {
    "approval_requested": {
        "action_type": "",
        "approvers": [],
        "timeout_minutes": None,
        "reason": "",
    },
    "approval_granted": {
        "action_type": "",
        "decision": "",
        "approver": "",
        "elapsed_seconds": None,
    },
}
_APPROVALS["approval_denied"] = _APPROVALS["approval_granted"]


# -- to the wire -----------------------------------------------------------------------------------


def is_sent(row: Row) -> bool:
    """Return whether the original sends an event as such."""
    name = text_of(row["event"])
    return fields_of(row["data"]).get("event") == name or name.startswith("approval_")


def event_item(row: Row, run: Row, remote_workflow_id: str) -> Item:
    """Return an event, which names the run by the id that the server gave to its workflow."""
    local = _own_body(row, run)
    # Another waxlocal has the same ids as this file, so the columns are compared with those.
    said = told(EVENTS, row, columns_of_event(without_key(local), known=True))
    body = _named_there(local, text_of(run["workflow_id"]), remote_workflow_id)
    if said is not None and body.get("workflow_id") != remote_workflow_id:
        # The program named no run, or another one; still it is an event of this run.
        said = {"workflow_id": remote_workflow_id, **said}
    return Item(row["position"], body, said)


def late_event(row: Row, run: Row, remote_workflow_id: str) -> Item:
    """Return the item of an event that comes when its run has ended at the server."""
    body = {**_origin(run), "event": text_of(row["event"]), "metadata": fields_of(row["data"])}
    said = told(EVENTS, row, _columns_of_late(body))
    said = said and {"late": True, **said}
    return Item(row["position"], body | {"workflow_id": remote_workflow_id}, said)


def _own_body(row: Row, run: Row) -> Json:
    name, data = text_of(row["event"]), fields_of(row["data"])
    if data.get("event") == name:
        return data
    drop = {"reason", "timeout_minutes"} if name == "approval_requested" else set()
    said = {key: value for key, value in data.items() if key not in drop}
    if isinstance(minutes := data.get("timeout_minutes"), int | float):
        said["timeout_minutes"] = float(minutes)
    for key in ("approver", "elapsed_seconds"):
        if said.get(key) in ("", None):
            said.pop(key, None)
    decision = text_of(data.get("decision"))
    if decision and name != "approval_requested":
        name = "approval_granted" if decision == "approved" else f"approval_{decision}"
    return {**_origin(run), "event": name, "metadata": said}


def _origin(run: Row) -> Json:
    return {
        "workflow_id": text_of(run["workflow_id"]),
        "agent_name": text_of(run["agent_name"]),
        "workflow_name": text_of(run["workflow_name"]),
    }


def _named_there(body: Json, local: str, remote: str) -> Json:
    return {**body, "workflow_id": remote} if body.get("workflow_id") == local else body


# -- from the wire ---------------------------------------------------------------------------------


def data_of_event(event: Json, *, known: bool) -> tuple[str, Json]:
    """Return the name of an event and its data; `known`: it names a run that is here."""
    name = as_text(event.get("event")) or "event"
    if name in _APPROVALS and known and isinstance(event.get("metadata"), dict):
        return name, _APPROVALS[name] | event["metadata"]
    return name, event


def columns_of_event(event: Json, *, known: bool) -> Json:
    """Return the columns that an event gives."""
    name, data = data_of_event(event, known=known)
    return {"event": name, "data": dumps(data)}


def _columns_of_late(event: Json) -> Json:
    return {"event": as_text(event.get("event")), "data": dumps(event.get("metadata"))}


def exact_event(event: Json, said: Json) -> Json:
    """Return the row that an event carries. Raises `Refused`."""
    own = without_key(event)
    given = _columns_of_late(own) if said.get("late") else columns_of_event(own, known=True)
    return written(EVENTS, said, given)
