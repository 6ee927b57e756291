"""The spans that have a row in the file, as the original SDK sends them.

Some have another name, another kind or other attributes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from waxlocal.wire.values import (
    Json,
    Start,
    fields_of,
    milliseconds_of,
    number_of,
    object_of,
    text_of,
)

__all__ = [
    "SUMMARY_CHARS",
    "Code",
    "StoredSpan",
    "code_of",
    "is_communication",
    "read_span",
    "span_body",
    "wire_span",
]

# How much of a text the original keeps in its spans.
SHOWN_CHARS = 2_000
QUERY_NAME_CHARS = 40
ERROR_CHARS = 500
SUMMARY_CHARS = 200

# What a span opened by hand says of itself besides.
_OPEN_INFERENCE = {"tool": "TOOL", "llm": "LLM", "agent": "AGENT", "embedding": "EMBEDDING"}


class StoredSpan(NamedTuple):
    """A row of `spans` with its JSON read, or what is to be sent like one."""

    name: str
    kind: str
    status: str
    error: str
    duration_ms: float | None
    attributes: Json
    input: Json | None
    output: Json | None
    started_at: object


def read_span(row: Mapping[str, Any]) -> StoredSpan:
    """Read a row of `spans`."""
    status = text_of(row["status"])
    return StoredSpan(
        text_of(row["name"]),
        text_of(row["kind"]),
        "ok" if status == "running" else status,
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
    status: str = "ok",
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
    shape = _SHAPES.get(span.kind)
    if shape is not None:
        span = shape(span)
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


class Code(NamedTuple):
    """Code that was run; `seconds` as it was said."""

    language: str
    code: str
    output: str
    error: str
    seconds: float
    size_kb: Any
    paths: list[Any]
    packages: list[Any]


def code_of(span: StoredSpan) -> Code | None:
    """Return what code a span tells of; None if it is of another kind."""
    told = span.attributes
    if span.kind != "tool" or "language" not in told:
        return None
    if told.get("tool_type", "code_execution") != "code_execution":
        return None
    given, answer = span.input or {}, span.output or {}
    source = given if "tool_type" in told else told  # as the original has them, or as we do
    return Code(
        text_of(told["language"]),
        text_of(given.get("code")),
        text_of(answer.get("output")),
        span.error or text_of(answer.get("error")),
        (span.duration_ms or 0.0) / 1000,
        (answer if "tool_type" in told else told).get("output_size_kb") or 0,
        _list(source.get("paths")),
        _list(source.get("packages")),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def is_communication(span: StoredSpan) -> bool:
    """Return whether a span is of a message to someone."""
    return span.kind == "tool" and "io.channel" in span.attributes


def _tool(span: StoredSpan) -> StoredSpan:
    if is_communication(span):
        names = ("io.direction", "io.channel")
        attributes = {name: span.attributes[name] for name in names if name in span.attributes}
        given = span.input
        if given and isinstance(given.get("body"), str):
            given = {**given, "body": given["body"][:SHOWN_CHARS]}
        return span._replace(
            duration_ms=span.duration_ms or 0.0, attributes=attributes, input=given
        )
    code = code_of(span)
    return span if code is None else _code(span, code)


def _code(span: StoredSpan, code: Code) -> StoredSpan:
    answer = None
    if code.output or code.error:
        answer = {
            "output": code.output[:SHOWN_CHARS] or None,
            "error": code.error[:ERROR_CHARS] or None,
            "execution_time": code.seconds,
            "output_size_kb": code.size_kb,
        }
    attributes = {
        "tool_type": "code_execution",
        "language": code.language,
        "code_length": len(code.code),
    }
    given = {
        "language": code.language,
        "code": code.code[:SHOWN_CHARS],
        "packages": code.packages,
        "paths": code.paths,
    }
    name = f"code_exec:{code.language}"
    return span._replace(name=name, error="", attributes=attributes, input=given, output=answer)


def _retriever(span: StoredSpan) -> StoredSpan:
    told = span.attributes
    if "doc_count" not in told:
        return span
    attributes = dict(told)
    name = span.name if span.name != "retrieve:" else "retrieve:search"
    if told.get("source"):
        attributes["waxell.retrieval.source"] = told["source"]
    if told.get("top_k") is not None:
        attributes["waxell.retrieval.limit"] = told["top_k"]
    query = (span.input or {}).get("query")
    if query is not None:
        attributes["waxell.retrieval.query"] = query
    attributes["waxell.retrieval.results_count"] = told["doc_count"]
    output = span.output
    if output and not output.get("scores", True):
        output = {key: value for key, value in output.items() if key != "scores"}
    return span._replace(name=name, attributes=attributes, output=output)


def _retry(span: StoredSpan) -> StoredSpan:
    if "attempt" not in span.attributes:
        return span
    failed = (span.input or {}).get("original_error")
    return span._replace(status="error" if failed else "ok", error="")


def _io(span: StoredSpan) -> StoredSpan:
    if span.name != "human_turn" or "io.direction" not in span.attributes:
        return span
    action = span.attributes.get("io.action")
    output = span.output if (span.output or {}).get("response") else None
    return span._replace(name=f"human_turn:{action}" if action else span.name, output=output)


def _pause(span: StoredSpan) -> StoredSpan:
    reason = text_of(span.attributes.get("reason"))
    attributes = {"_phase": "pause_marker", "pause_reason": reason}
    attributes |= {
        f"pause.{name}": value for name, value in span.attributes.items() if name != "reason"
    }
    said = {"reason": reason}
    return span._replace(name="paused", kind="io", attributes=attributes, input=said, output=said)


def _memory(span: StoredSpan) -> StoredSpan:
    told = span.attributes
    if not span.name.startswith("memory.recall:") or "results_count" not in told:
        return span
    tier, query = text_of(told.get("tier")), text_of((span.input or {}).get("query"))
    slot = span.name.removeprefix("memory.recall:")
    slot = slot if slot != tier else query[:QUERY_NAME_CHARS] or "recall"
    found = {"hit": bool(told["results_count"]), "results_count": told["results_count"]}
    attributes: Json = {"waxell.memory.operation": "read", "waxell.memory.tier": tier}
    if told.get("store"):
        attributes["waxell.memory.store"] = told["store"]
    attributes["waxell.memory.hit"] = found["hit"]
    attributes["waxell.memory.recall_results_count"] = found["results_count"]
    if told.get("top_score") is not None:
        attributes["waxell.memory.recall_top_score"] = told["top_score"]
    return span._replace(
        name=f"memory.read:{slot}",
        duration_ms=0.0,
        attributes=attributes,
        input={"tier": tier, "slot_name": slot, "summary": query[:SUMMARY_CHARS]},
        output={**found, "top_score": told.get("top_score")},
    )


def _prompt(span: StoredSpan) -> StoredSpan:
    if "version" not in span.attributes or not span.name.startswith("prompt.use:"):
        return span
    told = {"name": span.name.removeprefix("prompt.use:"), **span.attributes}
    attributes = {f"waxell.prompt.{name}": value for name, value in told.items() if value}
    answer = {"version": told["version"]}
    return span._replace(duration_ms=0.0, attributes=attributes, input=told, output=answer)


_SHAPES: dict[str, Callable[[StoredSpan], StoredSpan]] = {
    "tool": _tool,
    "retriever": _retriever,
    "retry": _retry,
    "io": _io,
    "pause": _pause,
    "memory": _memory,
    "prompt": _prompt,
}
