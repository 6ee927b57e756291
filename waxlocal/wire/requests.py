"""A run as the requests of the original SDK: start, records of each kind, end.

Pure functions from rows to bodies. The original counts LLM calls, steps, spans and the runs that
a run opens together, from 1, and leaves out scores and events; so do the bodies, whatever the
positions in the file are. Those are sent, too: see `exact`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from waxlocal.records import EVENTS, RunStatus
from waxlocal.wire.conversation_state import conversation_state
from waxlocal.wire.events import late_event
from waxlocal.wire.exact import KEY, Item
from waxlocal.wire.items import Items, Untold
from waxlocal.wire.order import in_order
from waxlocal.wire.paths import LIST_OF_STAGE
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.runs import exact_of_start, own_of_start, told_by_end
from waxlocal.wire.spans import read_span, told_by_span, wire_span
from waxlocal.wire.values import Json, Start, api_status, fields_of, text_of

__all__ = [
    "Recorded",
    "complete_body",
    "late_item",
    "recorded",
    "stage_body",
    "start_body",
]

# The state of a conversation grows with its run. A run that needs several requests sends it once,
# with the end.
MAX_RECORDS_WITH_STATE = 500


def start_body(
    run: RecordedRun,
    *,
    parent_workflow_id: str | None,
    root_workflow_id: str | None,
    exact: bool = True,
) -> Json:
    """Return the request that starts a run; the two ids are those of the server.

    `exact`: it also carries the columns of the run, and of its process, that nothing else gives.
    """
    row = run.run
    body: Json = {
        "agent_name": text_of(row["agent_name"]),
        "workflow_name": text_of(row["workflow_name"]),
        "inputs": fields_of(row["inputs"]),
        "metadata": fields_of(row["metadata"]),
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
    body |= {name: value for name, value in optional.items() if value}
    own = own_of_start(run)
    if exact:
        own |= exact_of_start(run, body, own)
    return body | {"metadata": {**body["metadata"], KEY: own}}


def complete_body(
    run: RecordedRun,
    *,
    exact: bool = True,
    untold: Sequence[Untold] = (),
    was_open: bool = False,
    with_state: bool = True,
) -> Json:
    """Return the request that ends a run, with the records that no other request carries.

    `was_open`: the run went on when its start was made, so its end has all columns of the run, as
    that of a changed run has. `with_state`: with the state of the conversation, which another
    waxlocal does not need.
    """
    row = run.run
    body: Json = {
        "result": fields_of(row["result"]),
        "status": api_status(row["status"], row["error"], row["error_type"]),
        "error": text_of(row["error"]),
        "steps": [],
    }
    if row["error_type"]:
        body["error_type"] = text_of(row["error_type"])
    if row["traceback"] and row["status"] != RunStatus.BLOCKED:
        body["traceback"] = text_of(row["traceback"])
    state = conversation_state(run) if with_state else None
    body |= {"conversation_state": state} if state else {}
    if not exact:
        return body
    whole = was_open or row.get("revision") is not None
    return body | {KEY: told_by_end(run, body, untold, whole=whole)}


def stage_body(
    stage: str,
    items: Sequence[Item],
    *,
    run: RecordedRun,
    hardware_uuid: str = "",
    exact: bool = True,
) -> Json:
    """Return the request that carries these items of a run; one item alone where one is a request.

    LLM calls and steps also have the state of the conversation, and the machine where it is sent.
    """
    bodies = [item.sent if exact else item.body for item in items]
    if stage not in LIST_OF_STAGE:
        (alone,) = bodies
        return alone
    body: Json = {LIST_OF_STAGE[stage]: bodies}
    if stage in ("llm-calls", "steps"):
        if hardware_uuid:
            body["hardware_uuid"] = hardware_uuid
        if len(run.spans) + len(run.events) + len(run.delegates) <= MAX_RECORDS_WITH_STATE:
            state = conversation_state(run)
            body |= {"conversation_state": state} if state else {}
    return body


class Recorded(NamedTuple):
    """What a run recorded: items by stage, each in the order of recording, and the rest."""

    items: dict[str, list[Item]]
    untold: list[Untold]


def recorded(
    run: RecordedRun, children: Sequence[ChildRun], remote_ids: Mapping[str, str]
) -> Recorded:
    """Return what a run recorded.

    `remote_ids`: the ids that the server gave the runs that this one opened, by their own; and its
    own workflow id there, by the one here, which events name. Without it the local ids stand.
    """
    items = Items(run, remote_ids)
    for take in in_order(run, children, items):
        take()
    return Recorded(items.result(), items.untold())


def late_item(untold: Untold, run: RecordedRun, remote_ids: Mapping[str, str]) -> tuple[str, Item]:
    """Return (stage, item) for a record that came when the end of its run had been sent."""
    row, own = untold.row, run.run
    if untold.table is EVENTS:
        local = text_of(own["workflow_id"])
        return "events", late_event(row, own, remote_ids.get(local, local))
    span = wire_span(read_span(row), row["position"], Start(own["started_at"]))
    return "spans", Item(row["position"], span, told_by_span(span, row))
