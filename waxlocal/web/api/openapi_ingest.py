"""The OpenAPI operations that recorded programs and uploaders use."""

from __future__ import annotations

from waxlocal.web.api.openapi_parts import (
    body,
    gives,
    in_path,
    in_query,
    operation,
    ref,
    text,
)
from waxlocal.web.api.openapi_rows import Json, object_of
from waxlocal.wire import (
    calls,
    events,
    memory,
    paths,
    request_keys,
    runs,
    scores,
    spans,
    steps,
)
from waxlocal.wire.bulk import LINE_STATUSES

__all__ = ["ingest_paths", "ingest_schemas"]

_RUN_ID = in_path("run_id", "The run's id, from the response of runs/start/.")
_KEY: Json = {
    "name": request_keys.HEADER,
    "in": "header",
    "required": False,
    "description": "A repeated request with the same key and body gets the first response again.",
    "schema": {"type": "string", "maxLength": request_keys.MAX_CHARS},
}
_RECORDED = object_of({"recorded": {"type": "integer", "description": "The number of records."}})
# The schema of an item by stage, and the fields of each.
_SENT = {
    "llm-calls": "LlmCallSent",
    "steps": "StepSent",
    "spans": "SpanSent",
    "scores": "ScoreSent",
}
_KINDS = {
    "LlmCallSent": calls.FIELDS,
    "StepSent": steps.FIELDS,
    "SpanSent": spans.FIELDS,
    "ScoreSent": scores.FIELDS,
    "EventSent": events.FIELDS,
}
_EXACT = "object: the columns that the other fields cannot express, from another waxlocal"
_LENIENT = "A field of another type is converted as far as possible."


def ingest_paths() -> Json:
    """Return the operations by path and method."""
    records = {paths.stage_path(stage): {"post": _records(stage)} for stage in _SENT}
    return {
        paths.CONFIG: {"get": _config()},
        paths.POLICY_CHECK: {"post": _policy_check()},
        paths.POLICY_MANIFEST: {"get": _policy_manifest()},
        paths.PROMPTS + "{name}/": {"get": _prompt()},
        paths.PROMPT_GUARD: {"post": _prompt_guard()},
        paths.GOVERNANCE_DECISION: {"post": _governance_decision()},
        paths.EVENTS: {"post": _events()},
        paths.RUN_START: {"post": _start()},
        paths.RUN_OF_DAY: {"post": _daily()},
        paths.BULK: {"post": _bulk()},
        **records,
        paths.stage_path("complete"): {"post": _complete()},
        paths.stage_path("partial"): {"post": _partial()},
        **{paths.stage_path(tier): {"post": _memory(tier)} for tier in paths.MEMORY_STAGES},
    }


def _fields(**described: str) -> Json:
    """Return properties with their types as descriptions: they are not enforced."""
    return {name: {"description": said} for name, said in described.items()}


def _taking(schema: Json) -> Json:
    """Return the description of an object, which is optional if no field is required."""
    content = {"application/json": {"schema": {"type": "object", **schema}}}
    return {"required": "required" in schema, "content": content}


def _config() -> Json:
    bulk = object_of(
        {"path": text(""), "max_runs": {"type": "integer"}, "max_bytes": {"type": "integer"}}
    )
    answer = object_of({"bulk": bulk, "tenant_id": text(""), "tenant_slug": text("")})
    return operation(
        "getConfig",
        "Recording",
        "Return what this server offers.",
        {"200": gives(answer, "The offer.")},
    )


def _policy_check() -> Json:
    answer = object_of(
        {
            "action": {"const": "allow"},
            "reason": text(""),
            "metadata": {"type": "object"},
            "evaluations": {"type": "array", "items": {}},
        }
    )
    return operation(
        "checkPolicy",
        "Governance",
        "Allow the run: this server has no policies.",
        {"200": gives(answer, "The run may continue.")},
        sent=_any_json(),
    )


def _any_json() -> Json:
    return {"required": False, "content": {"application/json": {"schema": {}}}}


def _policy_manifest() -> Json:
    answer = object_of(
        {
            "manifest_version": text(""),
            "ttl_seconds": {"type": "integer"},
            "checkpoints": {"type": "array", "items": {}},
            "surfaces": {"type": "object"},
            "policies": {"type": "array", "items": {}},
        }
    )
    names = ("agent_name", "workflow_name", "user_group", "agent_id")
    return operation(
        "getPolicyManifest",
        "Governance",
        "List the policies; this server has none.",
        {"200": gives(answer, "No policies.")},
        parameters=tuple(in_query(name, text(""), "Makes no difference.") for name in names),
    )


def _prompt() -> Json:
    return operation(
        "getPrompt",
        "Governance",
        "Respond that the prompt does not exist: this server stores none.",
        {},
        parameters=(
            in_path("name", "The name."),
            in_query("label", text(""), "Makes no difference."),
            in_query("version", text(""), "Makes no difference."),
        ),
        failing=("404",),
    )


def _prompt_guard() -> Json:
    answer = object_of(
        {
            "passed": {"const": True},
            "action": {"const": "allow"},
            "violations": {"type": "array", "items": {}},
        }
    )
    fields = _fields(text="text", agent_name="text", model="text")
    return operation(
        "guardPrompt",
        "Governance",
        "Allow a prompt, and record that it was checked.",
        {"200": gives(answer, "The prompt may be sent.")},
        sent=_taking({"properties": fields}),
    )


def _governance_decision() -> Json:
    fields = _fields(
        agent_name="text",
        workflow_id="text: the workflow id of the run",
        surface="text",
        decisions="array of decisions",
    )
    return operation(
        "recordGovernanceDecision",
        "Governance",
        "Record the decisions of a program's policies.",
        {"200": gives(_RECORDED, "Recorded.")},
        parameters=(_KEY,),
        sent=_taking({"properties": fields}),
        failing=("422",),
    )


def _events() -> Json:
    return operation(
        "recordEvents",
        "Recording",
        "Record events; `workflow_id` names the run of an event.",
        {"200": gives(_RECORDED, "Recorded.")},
        parameters=(_KEY,),
        sent=_taking(_array("events", "EventSent")),
        failing=("422",),
    )


def _array(field: str, of: str) -> Json:
    return {
        "required": [field],
        "properties": {field: {"type": "array", "items": ref(of)}},
        "description": _LENIENT,
    }


def _start() -> Json:
    answer = object_of(
        {
            "run_id": text("A new id."),
            "workflow_id": text("The workflow id, which lineage refers to."),
            "started_at": {"type": "string", "format": "date-time"},
        }
    )
    return operation(
        "startRun",
        "Recording",
        "Start a run.",
        {"201": gives(answer, "The run has started.")},
        parameters=(_KEY,),
        sent={"required": False, "content": {"application/json": {"schema": ref("RunStart")}}},
        failing=("422",),
        description=_LENIENT,
    )


def _daily() -> Json:
    answer = object_of(
        {
            "run_id": text(""),
            "workflow_id": text(""),
            "started_at": {"type": "string", "format": "date-time"},
            "date": {"type": "string"},
            "created": {"type": "boolean"},
        }
    )
    fields = _fields(
        agent_slug="text", agent_type="text", date="text: 2026-01-31, by default today"
    )
    return operation(
        "startDailyRun",
        "Recording",
        "Start the run of an agent for a day, or find it.",
        {"200": gives(answer, "The run of that day.")},
        parameters=(_KEY,),
        sent=_taking({"properties": fields}),
        failing=("422",),
    )


def _records(name: str) -> Json:
    return operation(
        f"record{name.title().replace('-', '')}",
        "Recording",
        f"Record {name.replace('-', ' ')} of a run.",
        {"200": gives(_RECORDED, "Recorded.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking(_array(paths.LIST_OF_STAGE[name], _SENT[name])),
        failing=("404", "422"),
    )


def _complete() -> Json:
    answer = object_of({"run_id": text(""), "duration": {"type": ["number", "null"]}})
    fields = _fields(**runs.END_FIELDS, waxlocal=_EXACT)
    return operation(
        "completeRun",
        "Recording",
        "End a run.",
        {"200": gives(answer, "The run has ended.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields, "description": _LENIENT}),
        failing=("404", "422"),
    )


def _partial() -> Json:
    fields = _fields(
        partial="text: the whole output so far",
        chunk_count="whole number",
        model="text",
        done="true or false",
    )
    return operation(
        "recordPartialOutput",
        "Recording",
        "Record the output so far of a running LLM call.",
        {"200": gives(_RECORDED, "Recorded.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields}),
        failing=("404", "422"),
    )


def _memory(tier: str) -> Json:
    fields = _fields(**memory.FIELDS[tier], waxlocal=_EXACT)
    return operation(
        f"remember{tier.title()}",
        "Recording",
        f"Record a change of an agent's {tier} memory.",
        {"200": gives({"type": "object"}, "Recorded.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields}),
        failing=("404", "422"),
    )


def _bulk() -> Json:
    result = object_of(
        {
            "run_id": text("Empty for a line that is not valid JSON."),
            "status": {"type": "string", "enum": list(LINE_STATUSES)},
            "reason": text("Why the line was refused."),
        },
        optional=("reason",),
    )
    answer = object_of({"results": {"type": "array", "items": result}})
    # Any text is accepted: lines that are not runs are refused one by one.
    lines = {
        "description": "One run on each line, as JSON. May be compressed: `Content-Encoding: gzip`."
    }
    return operation(
        "recordRuns",
        "Recording",
        "Record many complete runs.",
        {"200": gives(answer, "The result for each line, in order.")},
        parameters=(_KEY,),
        sent=body(lines, "application/x-ndjson"),
        failing=("422",),
    )


# -- schemas --------------------------------------------------------------------------------------


def ingest_schemas() -> Json:
    """Return the schemas of the operations, from the descriptions in `waxlocal.wire`."""
    return {
        "RunStart": {"type": "object", "properties": _fields(**runs.START_FIELDS)},
        **{name: {"properties": _fields(**_KINDS[name], waxlocal=_EXACT)} for name in _KINDS},
    }
