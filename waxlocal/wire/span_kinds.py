"""How each kind of span differs between the wire and the file.

`as_sent` turns a span of the file into what the original SDK sends; `as_stored` does the reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from waxlocal.records import RecordStatus
from waxlocal.wire.values import RAW, Json, as_number, as_object, as_text, text_of

__all__ = [
    "SUMMARY_CHARS",
    "Code",
    "Shape",
    "StoredSpan",
    "as_sent",
    "as_stored",
    "code_of",
    "is_communication",
    "without",
]

# How much of a text the original keeps in its spans.
SHOWN_CHARS = 2_000
QUERY_NAME_CHARS = 40
ERROR_CHARS = 500
SUMMARY_CHARS = 200


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


class Shape(NamedTuple):
    """A span without its place and its time.

    `is_end`: the span was recorded when it was over, so its time is its end.
    """

    name: str
    kind: str
    status: str = RecordStatus.OK
    error: str = ""
    duration_ms: float | None = None
    attributes: Any = None
    input: Any = None
    output: Any = None
    is_end: bool = False


def as_sent(span: StoredSpan) -> StoredSpan:
    """Return a span of the file as it is on the wire."""
    change = _SENT.get(span.kind)
    return span if change is None else change(span)


def as_stored(shape: Shape) -> Shape:
    """Return a span of the wire as the recorder has it."""
    change = _STORED.get(shape.kind)
    return shape if change is None else change(shape)


def without(attributes: Json, *names: str, prefix: str = "\0") -> Json:
    """Return the attributes without those that have one of these names or this prefix."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in names and not name.startswith(prefix)
    }


# -- tools, messages to somebody, code that was run ------------------------------------------------


def is_communication(span: StoredSpan) -> bool:
    """Return whether a span stands for a message to someone."""
    return span.kind == "tool" and "io.channel" in span.attributes


def _sent_tool(span: StoredSpan) -> StoredSpan:
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
    return span if code is None else _sent_code(span, code)


def _stored_tool(shape: Shape) -> Shape:
    if shape.name.startswith("comm:"):
        return shape._replace(duration_ms=shape.duration_ms or None)
    if shape.name.startswith("code_exec:"):
        return _stored_code(shape)
    return shape._replace(
        attributes=without(shape.attributes, "error"),
        input=_raw(shape.input),
        output=_raw(shape.output),
        is_end="tool_type" in shape.attributes,  # else it was opened by hand
    )


def _raw(value: Any) -> Any:
    """Return text that the SDK has wrapped in an object."""
    return value[RAW] if isinstance(value, dict) and list(value) == [RAW] else value


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
    """Return the code that a span stands for; None if it is of another kind."""
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


def _sent_code(span: StoredSpan, code: Code) -> StoredSpan:
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


def _stored_code(shape: Shape) -> Shape:
    ran, gave = as_object(shape.input), as_object(shape.output)
    seconds = as_number(gave.get("execution_time"))
    language = shape.name.partition(":")[2]
    return shape._replace(
        name=f"code:{language}",
        error=as_text(gave.get("error")) or shape.error,
        duration_ms=seconds * 1000 if seconds else shape.duration_ms,
        attributes={
            "language": language,
            "output_size_kb": gave.get("output_size_kb", 0),
            "paths": ran.get("paths") or [],
            "packages": ran.get("packages") or [],
        },
        input={"code": as_text(ran.get("code"))},
        output={"output": as_text(gave.get("output"))},
        is_end=True,
    )


# -- retrievals and retries ------------------------------------------------------------------------


def _sent_retriever(span: StoredSpan) -> StoredSpan:
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


def _stored_retriever(shape: Shape) -> Shape:
    attributes = without(shape.attributes, prefix="waxell.retrieval.")
    return shape._replace(attributes=attributes, is_end=True)


def _sent_retry(span: StoredSpan) -> StoredSpan:
    if "attempt" not in span.attributes:
        return span
    failed = (span.input or {}).get("original_error")
    return span._replace(status=RecordStatus.ERROR if failed else RecordStatus.OK, error="")


def _stored_retry(shape: Shape) -> Shape:
    asked = as_object(shape.input)
    if "attempt" not in shape.attributes:
        return shape
    error = as_text(asked.get("original_error")) or as_text(asked.get("reason"))
    return shape._replace(status=RecordStatus.ERROR, error=shape.error or error)


# -- turns of people, pauses -----------------------------------------------------------------------


def _sent_io(span: StoredSpan) -> StoredSpan:
    if span.name != "human_turn" or "io.direction" not in span.attributes:
        return span
    action = span.attributes.get("io.action")
    output = span.output if (span.output or {}).get("response") else None
    return span._replace(name=f"human_turn:{action}" if action else span.name, output=output)


def _stored_io(shape: Shape) -> Shape:
    if shape.attributes.get("_phase") == "pause_marker":
        return _stored_pause(shape)
    name, _, action = shape.name.partition(":")
    if name != "human_turn":
        return shape
    attributes = shape.attributes | ({"io.action": action} if action else {})
    return shape._replace(name=name, attributes=attributes, is_end=True)


def _sent_pause(span: StoredSpan) -> StoredSpan:
    reason = text_of(span.attributes.get("reason"))
    attributes = {"_phase": "pause_marker", "pause_reason": reason}
    attributes |= {
        f"pause.{name}": value for name, value in span.attributes.items() if name != "reason"
    }
    said = {"reason": reason}
    return span._replace(name="paused", kind="io", attributes=attributes, input=said, output=said)


def _stored_pause(shape: Shape) -> Shape:
    told = without(shape.attributes, "_phase", "pause_reason")
    reason = as_text(shape.attributes.get("pause_reason"))
    attributes = {name.removeprefix("pause."): value for name, value in told.items()}
    return shape._replace(
        name=f"pause:{reason}",
        kind="pause",
        attributes={"reason": reason, **attributes},
        input=None,
        output=None,
    )


# -- memories and prompts --------------------------------------------------------------------------


def _sent_memory(span: StoredSpan) -> StoredSpan:
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


def _sent_prompt(span: StoredSpan) -> StoredSpan:
    if "version" not in span.attributes or not span.name.startswith("prompt.use:"):
        return span
    told = {"name": span.name.removeprefix("prompt.use:"), **span.attributes}
    attributes = {f"waxell.prompt.{name}": value for name, value in told.items() if value}
    answer = {"version": told["version"]}
    return span._replace(duration_ms=0.0, attributes=attributes, input=told, output=answer)


def _stored_prompt(shape: Shape) -> Shape:
    used = as_object(shape.input)
    names = ("version", "label", "content_hash")
    if not all(name in used for name in names):
        return shape
    attributes = {name: used[name] for name in names}
    return shape._replace(duration_ms=None, attributes=attributes, input=None, output=None)


_SENT: dict[str, Callable[[StoredSpan], StoredSpan]] = {
    "tool": _sent_tool,
    "retriever": _sent_retriever,
    "retry": _sent_retry,
    "io": _sent_io,
    "pause": _sent_pause,
    "memory": _sent_memory,
    "prompt": _sent_prompt,
}
_STORED: dict[str, Callable[[Shape], Shape]] = {
    "tool": _stored_tool,
    "retriever": _stored_retriever,
    "retry": _stored_retry,
    "io": _stored_io,
    "prompt": _stored_prompt,
}
