"""Spans: a row of the file as the original SDK sends it, and back.

Some have another name, another kind or other attributes on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.encode import dumps
from waxlocal.records import SPANS, RecordStatus
from waxlocal.wire.exact import told, written
from waxlocal.wire.span_kinds import Shape, StoredSpan, as_sent, as_stored, without
from waxlocal.wire.values import (
    Json,
    Start,
    as_content,
    as_number,
    as_object,
    as_text,
    fields_of,
    milliseconds_of,
    number_of,
    object_of,
    text_of,
)

__all__ = [
    "FIELDS",
    "columns_of_span",
    "exact_span",
    "is_message",
    "is_of_agent",
    "read_span",
    "shape_of",
    "span_body",
    "told_by_span",
    "wire_span",
]

# The fields of a span, each with what it holds.
FIELDS = {
    "name": "text",
    "kind": "text",
    "status": "text: ok or error",
    "duration_ms": "number",
    "position": "whole number",
    "start_offset_ms": "milliseconds since the run began",
    "parent_position": "whole number: the span around it",
    "attributes": "object",
    "input_data": "any",
    "output_data": "any",
    "events": "array: the exception that ended the run",
}

# The attributes that the original adds to a span opened by hand.
_OPEN_INFERENCE = {"tool": "TOOL", "llm": "LLM", "agent": "AGENT", "embedding": "EMBEDDING"}


def read_span(row: Mapping[str, Any]) -> StoredSpan:
    """Read a row of `spans`."""
    status = text_of(row["status"])
    return StoredSpan(
        text_of(row["name"]),
        text_of(row["kind"]),
        RecordStatus.OK if status == RecordStatus.RUNNING else status,
        text_of(row["error"]),
        number_of(row["duration_ms"]),
        fields_of(row["attributes"]),
        object_of(row["input"]),
        object_of(row["output"]),
        row["started_at"],
    )


def span_body(
    name: str,
    kind: str,
    position: int,
    offset_ms: int,
    attributes: Json,
    *,
    status: str = RecordStatus.OK,
    duration_ms: int | None = None,
    given: Json | None = None,
    answer: Json | None = None,
    parent: int | None = None,
) -> Json:
    """Return the fields of a span; `given` and `answer` are its data, `parent` a position."""
    return {
        "name": name,
        "kind": kind,
        "status": status,
        "duration_ms": duration_ms,
        "position": position,
        "start_offset_ms": offset_ms,
        "parent_position": parent,
        "attributes": attributes,
        "input_data": given,
        "output_data": answer,
    }


def wire_span(span: StoredSpan, position: int, start: Start, parent: int | None = None) -> Json:
    """Return a span as the original sends it."""
    span = as_sent(span)
    return span_body(
        span.name,
        span.kind,
        position,
        start.offset(span.started_at),
        _attributes(span),
        status=span.status,
        duration_ms=milliseconds_of(span.duration_ms),
        given=span.input,
        answer=span.output,
        parent=parent,
    )


def _attributes(span: StoredSpan) -> Json:
    attributes = span.attributes
    if span.kind in _OPEN_INFERENCE and not {"tool_type", "io.channel"} & attributes.keys():
        attributes = {"openinference.span.kind": _OPEN_INFERENCE[span.kind], **attributes}
    if span.error:
        attributes = {**attributes, "error": span.error}
    return attributes


# -- from the wire ---------------------------------------------------------------------------------


def is_of_agent(span: Json) -> bool:
    """Return whether a span stands for a run: the one it came with, or a child."""
    operation = as_object(span.get("attributes")).get("gen_ai.operation.name")
    return span.get("kind") == "agent" and operation == "invoke_agent"


def is_message(shape: Shape) -> bool:
    """Return whether a span is a message of a user, which alone the SDK does not number."""
    return shape.kind == "io" and shape.name == "user_message"


def shape_of(span: Json) -> Shape:
    """Return a span in the recorder's shape."""
    return as_stored(
        Shape(
            as_text(span.get("name")),
            as_text(span.get("kind")) or "custom",
            as_text(span.get("status")) or RecordStatus.OK,
            as_text(as_object(span.get("attributes")).get("error")),
            as_number(span.get("duration_ms")),
            without(as_object(span.get("attributes")), "openinference.span.kind"),
            span.get("input_data"),
            span.get("output_data"),
        )
    )


def columns_of_span(span: Json) -> Json:
    """Return the columns that a span gives, without its place and its time."""
    shape = shape_of(span)
    attributes = shape.attributes
    if shape.error and attributes.get("error") == shape.error:
        attributes = without(attributes, "error")  # where `wire_span` has put it
    return {
        "parent_position": None,
        "duration_ms": shape.duration_ms,
        "name": shape.name,
        "kind": shape.kind,
        "status": shape.status,
        "error": shape.error or None,
        "attributes": dumps(attributes) if attributes else None,
        "input": as_content(shape.input),
        "output": as_content(shape.output),
    }


def exact_span(span: Json, said: Json) -> Json:
    """Return the row of `spans` that a span carries. Raises `Refused`."""
    return written(SPANS, said, columns_of_span(span))


def told_by_span(body: Json, row: Mapping[str, Any]) -> Json | None:
    """Return the columns of its row that a span adds."""
    return told(SPANS, row, columns_of_span(body))
