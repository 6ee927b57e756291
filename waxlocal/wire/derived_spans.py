"""The spans that the original SDK sends and the file has no row for.

They stand for the run itself, the runs that it opened, steps, facts put into a memory, and going on
after a pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.records import RecordStatus, RunStatus
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.span_kinds import SUMMARY_CHARS, StoredSpan
from waxlocal.wire.spans import span_body
from waxlocal.wire.values import (
    Json,
    Start,
    api_status,
    fields_of,
    milliseconds_of,
    number_of,
    object_of,
    text_of,
)

__all__ = ["agent_span", "chain_span", "child_span", "memory_span", "resumed_span"]

# The original keeps so many characters of what a paused run is given.
PAYLOAD_CHARS = 500


def _agent_attributes(agent_name: object, workflow_name: object, session_id: object) -> Json:
    agent = text_of(agent_name)
    attributes: Json = {
        "agent_name": agent,
        "workflow_name": text_of(workflow_name),
        "gen_ai.agent.name": agent,
        "gen_ai.operation.name": "invoke_agent",
        "openinference.span.kind": "AGENT",
    }
    if session_id:
        attributes["gen_ai.conversation.id"] = text_of(session_id)
    return attributes


def _status(failed: bool) -> str:
    return RecordStatus.ERROR if failed else RecordStatus.OK


def agent_span(run: RecordedRun) -> Json:
    """Return the span of the run itself."""
    row = run.run
    failed = api_status(row["status"], row["error"], row["error_type"]) == RunStatus.ERROR
    name = f"{text_of(row['agent_name'])}.{text_of(row['workflow_name'])}"
    attributes = _agent_attributes(row["agent_name"], row["workflow_name"], row["session_id"])
    said = (text_of(row["error_type"]), text_of(row["error"]))
    if failed:
        attributes["error.type"], attributes["error.message"] = said
    body = span_body(
        name,
        "agent",
        0,
        0,
        attributes,
        status=_status(failed),
        duration_ms=milliseconds_of(_thousandfold(row["duration"])),
        given=object_of(row["inputs"]) or None,
        answer=object_of(row["result"]) or None,
    )
    if failed:
        names = ("exception.type", "exception.message", "exception.stacktrace")
        told = dict(zip(names, (*said, text_of(row["traceback"])), strict=True))
        body["events"] = [{"name": "exception", "attributes": told}]
    return body


def child_span(child: ChildRun, run_id: str, position: int, start: Start) -> Json:
    """Return the span of a run that this one opened, with the sums of it and all runs below it."""
    attributes = _agent_attributes(child.agent_name, child.workflow_name, child.session_id)
    attributes |= {
        "child_run_id": run_id,
        "tokens_in": child.tokens_in,
        "tokens_out": child.tokens_out,
        "total_tokens": child.tokens_in + child.tokens_out,
        "cost": round(float(number_of(child.cost) or 0.0), 6),
        "llm_calls": child.llm_calls,
    }
    return span_body(
        f"{text_of(child.agent_name)}.{text_of(child.workflow_name)}",
        "agent",
        position,
        start.offset(child.started_at),
        attributes,
        status=_status(api_status(child.status, child.error, child.error_type) == RunStatus.ERROR),
        duration_ms=milliseconds_of(_thousandfold(child.duration)),
        given=object_of(child.inputs) or None,
        answer=object_of(child.result) or None,
    )


def _thousandfold(seconds: object) -> float | None:
    number = number_of(seconds)
    return None if number is None else number * 1000


def chain_span(row: Mapping[str, Any], position: int, start: Start) -> Json:
    """Return the span of a step."""
    return span_body(
        text_of(row["step_name"]),
        text_of(row["kind"]),
        position,
        start.offset(row["recorded_at"]),
        fields_of(row["attributes"]),
        answer=object_of(row["output"]) or None,
    )


def memory_span(tier: str, slot_name: str, content: str, at: object) -> StoredSpan:
    """Return the span of a fact that was put into a memory."""
    return StoredSpan(
        f"memory.write:{slot_name}",
        "memory",
        RecordStatus.OK,
        "",
        0.0,
        {"waxell.memory.operation": "write", "waxell.memory.tier": tier},
        {"tier": tier, "slot_name": slot_name, "summary": content[:SUMMARY_CHARS]},
        {"tier": tier},
        at,
    )


def resumed_span(from_run_id: str, payload: Any, at: object) -> StoredSpan:
    """Return the span of a run that goes on where another one paused."""
    attributes = {"_phase": "post_resume"}
    given: Json | None = None
    if from_run_id:
        attributes["resumed_from_run_id"] = from_run_id
        given = {"from_run_id": from_run_id}
    answer = None if payload is None else {"payload": str(payload)[:PAYLOAD_CHARS]}
    return StoredSpan("resumed", "io", RecordStatus.OK, "", 0.0, attributes, given, answer, at)
