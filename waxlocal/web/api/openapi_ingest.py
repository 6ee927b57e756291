"""What the document says of the addresses that recorded programs and uploaders write to."""

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
from waxlocal.wire import calls, events, memory, paths, runs, scores, spans, steps

__all__ = ["ingest_paths", "ingest_schemas"]

_RUN_ID = in_path("run_id", "The id that runs/start/ answered.")
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body is answered as the first time.",
    "schema": {"type": "string", "maxLength": 255},
}
_RECORDED = object_of({"recorded": {"type": "integer", "description": "how many were taken"}})
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
_EXACT = "object: what another waxlocal says of the record beside the other fields"
_LENIENT = "A field of another type than the one named is taken as what can be made of it."


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
    """Return properties whose types are said, not enforced."""
    return {name: {"description": said} for name, said in described.items()}


def _taking(schema: Json) -> Json:
    """Return the description of an object; it may be left out where no field is required."""
    content = {"application/json": {"schema": {"type": "object", **schema}}}
    return {"required": "required" in schema, "content": content}


def _config() -> Json:
    bulk = object_of(
        {"path": text(""), "max_runs": {"type": "integer"}, "max_bytes": {"type": "integer"}}
    )
    answer = object_of({"bulk": bulk, "tenant_id": text(""), "tenant_slug": text("")})
    return operation(
        "getConfig", "Recording", "Say what this server offers.", {"200": gives(answer, "Offers.")}
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
        "Allow: there are no policies here.",
        {"200": gives(answer, "The run may go on.")},
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
        "List policies: none.",
        {"200": gives(answer, "No policies.")},
        parameters=tuple(in_query(name, text(""), "Makes no difference.") for name in names),
    )


def _prompt() -> Json:
    return operation(
        "getPrompt",
        "Governance",
        "Say that there are no prompts here.",
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
        "Let a prompt pass, and note that it was asked.",
        {"200": gives(answer, "The prompt may be sent.")},
        sent=_taking({"properties": fields}),
    )


def _governance_decision() -> Json:
    fields = _fields(
        agent_name="text",
        workflow_id="text: that of the run",
        surface="text",
        decisions="array of what was decided",
    )
    return operation(
        "recordGovernanceDecision",
        "Governance",
        "Record what a program decided by its policies.",
        {"200": gives(_RECORDED, "Recorded.")},
        parameters=(_KEY,),
        sent=_taking({"properties": fields}),
        failing=("422",),
    )


def _events() -> Json:
    return operation(
        "recordEvents",
        "Recording",
        "Record events; `workflow_id` says which run one belongs to.",
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
            "workflow_id": text("The same, as lineage names it."),
            "started_at": {"type": "string", "format": "date-time"},
        }
    )
    return operation(
        "startRun",
        "Recording",
        "Begin a run.",
        {"201": gives(answer, "It has begun.")},
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
        "Begin the run of an agent for a day, or find the one that has begun.",
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
        {"200": gives(answer, "It has ended.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields, "description": _LENIENT}),
        failing=("404", "422"),
    )


def _partial() -> Json:
    fields = _fields(
        partial="text: all that there is by now",
        chunk_count="whole number",
        model="text",
        done="true or false",
    )
    return operation(
        "recordPartialOutput",
        "Recording",
        "Show output while it is being made.",
        {"200": gives(_RECORDED, "Shown.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields}),
        failing=("404", "422"),
    )


def _memory(tier: str) -> Json:
    fields = _fields(**memory.FIELDS[tier], waxlocal=_EXACT)
    return operation(
        f"remember{tier.title()}",
        "Recording",
        f"Record what an agent put into its {tier} memory.",
        {"200": gives({"type": "object"}, "Recorded.")},
        parameters=(_RUN_ID, _KEY),
        sent=_taking({"properties": fields}),
        failing=("404", "422"),
    )


def _bulk() -> Json:
    result = object_of(
        {
            "run_id": text("Empty for a line that is not valid JSON."),
            "status": {"type": "string", "enum": ["stored", "merged", "refused"]},
            "reason": text("Why it was refused."),
        },
        optional=("reason",),
    )
    answer = object_of({"results": {"type": "array", "items": result}})
    # Any text is taken: what is not a run is refused line by line.
    lines = {
        "description": "One run on each line, as JSON. May be compressed: `Content-Encoding: gzip`."
    }
    return operation(
        "recordRuns",
        "Recording",
        "Record many whole runs.",
        {"200": gives(answer, "What became of each, in their order.")},
        parameters=(_KEY,),
        sent=body(lines, "application/x-ndjson"),
        failing=("422",),
    )


# -- schemas --------------------------------------------------------------------------------------


def ingest_schemas() -> Json:
    """Return the schemas that the operations refer to, as `waxlocal.wire` describes each kind."""
    return {
        "RunStart": {"type": "object", "properties": _fields(**runs.START_FIELDS)},
        **{name: {"properties": _fields(**_KINDS[name], waxlocal=_EXACT)} for name in _KINDS},
    }
