"""LLM calls. The SDK sends each twice: as a call, and as a span with what the call leaves out.

The call has no provider, no duration and no full texts. The span has them; it is sent at the end of
a run.
`llm_calls` holds both in one row. So the item of the call carries the row without its longest
columns, and the span adds those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.encode import dumps
from waxlocal.records import LLM_CALLS, CostSource, RecordStatus
from waxlocal.wire.exact import told, written
from waxlocal.wire.spans import span_body
from waxlocal.wire.values import (
    Json,
    Start,
    as_content,
    as_count,
    as_milliseconds,
    as_number,
    as_object,
    as_text,
    count_of,
    fields_of,
    milliseconds_of,
    number_of,
    text_of,
    value_of,
)

__all__ = [
    "DETAILS",
    "FIELDS",
    "LATE",
    "call_body",
    "columns_of_call",
    "columns_of_span",
    "exact_call",
    "exact_span",
    "is_llm_span",
    "llm_span",
    "told_by_call",
    "told_by_span",
]

Row = Mapping[str, Any]

# The fields of a call, each with what it holds.
FIELDS = {
    "model": "text",
    "tokens_in": "whole number",
    "tokens_out": "whole number",
    "cost": "dollars; 0 means not given",
    "task": "text",
    "prompt_preview": "text",
    "response_preview": "text",
    "status": "text: ok or error",
    "error_type": "text",
    "error_message": "text",
    "prompt_hash": "text",
}
_DEFAULTS = LLM_CALLS.defaults
_TOKEN_COUNTS = [(column.name, column.default) for column in LLM_CALLS.token_counts]
# The columns that come with the span alone.
LATE = ("messages", "response", "details", "tools")
# What `details` may hold, and what the span calls it.
DETAILS = {
    "framework": "waxell.framework",
    "prompt_hash": "waxell.prompt.hash",
    "config": "waxell.llm.config",
    "prompt_variables": "waxell.prompt.variables",
    "chunk_count": "gen_ai.stream.chunk_count",
}
# Those that the span of every call may have, in the order of the original.
_OF_ALL = ("framework", "prompt_hash", "prompt_variables", "config")
# The original guesses the provider of a model by how its name begins.
_PROVIDERS = (
    ("gpt-", "openai"),
    ("chatgpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("claude", "anthropic"),
    ("gemini", "google"),
    ("mistral", "mistral"),
    ("llama", "meta"),
)


# -- to the wire -----------------------------------------------------------------------------------


def call_body(row: Row) -> Json:
    """Return a row of `llm_calls` as a call."""
    body: Json = {
        "model": text_of(row["model"]),
        "tokens_in": count_of(row["tokens_in"]),
        "tokens_out": count_of(row["tokens_out"]),
        "cost": float(number_of(row["cost"]) or 0.0),
        "task": text_of(row["task"]),
        "prompt_preview": text_of(row["prompt_preview"]),
        "response_preview": text_of(row["response_preview"]),
        "status": text_of(row["status"]),
        "error_type": text_of(row["error_type"]),
        "error_message": text_of(row["error_message"]),
    }
    if prompt_hash := fields_of(row["details"]).get("prompt_hash"):
        body["prompt_hash"] = prompt_hash
    return body


def told_by_call(body: Json, row: Row) -> Json | None:
    """Return the columns of its row that a call adds, without those that its span adds."""
    return told(LLM_CALLS, row, _given_by_call(body), leave=LATE)


def llm_span(row: Row, context: Json, position: int, start: Start) -> Json:
    """Return the span of a call; `context` counts the conversation before it."""
    model, status = text_of(row["model"]), text_of(row["status"])
    tokens_in, tokens_out = count_of(row["tokens_in"]), count_of(row["tokens_out"])
    attributes: Json = {
        "model": model,
        "gen_ai.provider.name": text_of(row["provider"]) or _provider(model),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "cost": float(number_of(row["cost"]) or 0.0),
        "task": text_of(row["task"]) or None,
        **context,
    }
    details = fields_of(row["details"])
    if row["is_streaming"]:
        attributes |= _streaming(row, details)
    for name in _OF_ALL:
        if details.get(name) not in (None, "", {}):
            attributes[DETAILS[name]] = details[name]
    if status != RecordStatus.OK:
        attributes["error.type"] = text_of(row["error_type"])
        attributes["exception.message"] = text_of(row["error_message"])
    lasted = milliseconds_of(row["duration_ms"])
    return span_body(
        f"chat {model}",
        "llm",
        position,
        start.offset(row["recorded_at"], lasted or 0),
        attributes,
        status=RecordStatus.OK if status == RecordStatus.OK else RecordStatus.ERROR,
        duration_ms=lasted,
        given=_said("prompt_preview", row, "full_messages", value_of(row["messages"])),
        answer=_said("response_preview", row, "full_response", text_of(row["response"])),
    )


def _provider(model: str) -> str:
    lower = model.lower()
    return next((name for start, name in _PROVIDERS if lower.startswith(start)), "")


def _streaming(row: Row, details: Json) -> Json:
    found: Json = {"gen_ai.is_streaming": True}
    if row["ttft_ms"] is not None:
        found["gen_ai.server.time_to_first_token_ms"] = milliseconds_of(row["ttft_ms"])
    if details.get("chunk_count") is not None:
        found[DETAILS["chunk_count"]] = details["chunk_count"]
    return found


def _said(preview: str, row: Row, full: str, content: Any) -> Json | None:
    found: Json = {}
    if row[preview]:
        found[preview] = text_of(row[preview])
    if content:
        found[full] = content
    return found or None


def told_by_span(body: Json, row: Row) -> Json | None:
    """Return the columns that the span of a call adds: of the whole row, for it may come first."""
    exact = told(LLM_CALLS, row, _given_by_span(body))
    return None if exact is None else {"table": LLM_CALLS.name, **exact}


# -- from the wire ---------------------------------------------------------------------------------


def is_llm_span(span: Json) -> bool:
    """Return whether a span is the second half of a call."""
    said = as_object(span.get("attributes"))
    return span.get("kind") == "llm" and "model" in said and "tokens_in" in said


def columns_of_call(call: Json) -> Json:
    """Return the columns that a call gives, with the cost that it names."""
    details = {name: call[name] for name in DETAILS if call.get(name) not in (None, "", {})}
    return {
        **_DEFAULTS,
        "model": as_text(call.get("model")),
        "provider": as_text(call.get("provider")),
        "task": as_text(call.get("task")),
        **_token_counts(call),
        "cost": as_number(call.get("cost")),
        "duration_ms": as_milliseconds(call.get("duration_ms")),
        "ttft_ms": as_milliseconds(call.get("ttft_ms")),
        "is_streaming": 1 if call.get("is_streaming") else 0,
        "status": as_text(call.get("status")) or RecordStatus.OK,
        "error_type": as_text(call.get("error_type")) or None,
        "error_message": as_text(call.get("error_message")) or None,
        "prompt_preview": as_text(call.get("prompt_preview")) or None,
        "response_preview": as_text(call.get("response_preview")) or None,
        "messages": as_content(call.get("full_messages")),
        "response": as_text(call.get("full_response")) or None,
        "details": dumps(details) if details else None,
    }


def columns_of_span(span: Json) -> Json:
    """Return the columns that the span of a call gives."""
    attributes = as_object(span.get("attributes"))
    asked, answered = as_object(span.get("input_data")), as_object(span.get("output_data"))
    details = {
        name: attributes[said]
        for name, said in DETAILS.items()
        if attributes.get(said) not in (None, "", {})
    }
    return {
        **_DEFAULTS,
        "model": as_text(attributes.get("model")),
        "provider": as_text(attributes.get("gen_ai.provider.name")),
        "task": as_text(attributes.get("task")),
        **_token_counts(attributes),
        "cost": as_number(attributes.get("cost")),
        "duration_ms": as_milliseconds(span.get("duration_ms")),
        "ttft_ms": as_milliseconds(attributes.get("gen_ai.server.time_to_first_token_ms")),
        "is_streaming": 1 if attributes.get("gen_ai.is_streaming") else 0,
        "status": as_text(span.get("status")) or RecordStatus.OK,
        "error_type": as_text(attributes.get("error.type")) or None,
        "error_message": as_text(attributes.get("exception.message")) or None,
        "prompt_preview": as_text(asked.get("prompt_preview")) or None,
        "response_preview": as_text(answered.get("response_preview")) or None,
        "messages": as_content(asked.get("full_messages")),
        "response": as_text(answered.get("full_response")) or None,
        "details": dumps(details) if details else None,
    }


def _token_counts(said: Json) -> Json:
    return {
        name: default if default is None and said.get(name) is None else as_count(said.get(name))
        for name, default in _TOKEN_COUNTS
    }


def _given_by_call(call: Json) -> Json:
    return _costing(columns_of_call(call)) | dict.fromkeys(LATE)


def _given_by_span(span: Json) -> Json:
    return _costing(columns_of_span(span))


def _costing(given: Json) -> Json:
    # Another waxlocal sends the cost of its row, mostly computed from a price, and 0 if it is
    # unknown or free: which of these, its exact columns say.
    cost = given["cost"] or None
    return given | {"cost": cost, "cost_source": cost and CostSource.PRICE}


def exact_call(call: Json, said: Json) -> Json:
    """Return the row that a call carries, without what its span brings. Raises `Refused`."""
    return written(LLM_CALLS, said, _given_by_call(call))


def exact_span(span: Json, said: Json) -> Json:
    """Return the row that the span of a call carries. Raises `Refused`."""
    return written(LLM_CALLS, said, _given_by_span(span))
