"""Spans of the original SDK in the shape that the recorder gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from waxlocal.wire.values import as_number, as_object, as_text

__all__ = ["Shape", "is_message", "is_of_agent", "is_pseudo_step", "shape_of", "shape_of_step"]

Json = dict[str, Any]

# Steps that the SDK makes of other records, to take the state of the conversation along. A step of
# the program may have such a name, too, but not the mark that these have in their output.
_PSEUDO = (
    "code_exec:",
    "comm:",
    "decision:",
    "delegate:",
    "grounding_check",
    "io:",
    "reasoning:",
    "retrieval:",
    "retry:",
    "tool:",
)
_MARK = "_kind"
_CARRIER = "__governance_check"


class Shape(NamedTuple):
    """A span but for its place and its time.

    `is_end`: its time is that of the record, when what it tells of was over.
    """

    name: str
    kind: str
    status: str = "ok"
    error: str = ""
    duration_ms: float | None = None
    attributes: Any = None
    input: Any = None
    output: Any = None
    is_end: bool = False


def is_of_agent(span: Json) -> bool:
    """Return whether a span stands for a run: the one it came with, or a child."""
    operation = as_object(span.get("attributes")).get("gen_ai.operation.name")
    return span.get("kind") == "agent" and operation == "invoke_agent"


def is_message(shape: Shape) -> bool:
    """Return whether a span is a user's message, the one record that the SDK does not number."""
    return shape.kind == "io" and shape.name == "user_message"


def is_pseudo_step(step: Json) -> bool:
    """Return whether a step was made by the SDK and not by the program."""
    name = step.get("step_name")
    if name == _CARRIER:
        return True
    marked = isinstance(as_object(step.get("output")).get(_MARK), str)
    return marked and isinstance(name, str) and name.startswith(_PSEUDO)


# -- spans ----------------------------------------------------------------------------------------


def shape_of(span: Json) -> Shape:
    """Return a span in the recorder's shape."""
    duration = span.get("duration_ms")
    shape = Shape(
        as_text(span.get("name")),
        as_text(span.get("kind")) or "custom",
        as_text(span.get("status")) or "ok",
        as_text(as_object(span.get("attributes")).get("error")),
        duration if as_number(duration) is not None else None,
        _without(as_object(span.get("attributes")), "openinference.span.kind"),
        span.get("input_data"),
        span.get("output_data"),
    )
    reshape = _OF_KIND.get(shape.kind)
    return reshape(shape) if reshape else shape


def _without(attributes: Json, *names: str, prefix: str = "\0") -> Json:
    return {
        name: value
        for name, value in attributes.items()
        if name not in names and not name.startswith(prefix)
    }


def _raw(value: Any) -> Any:
    """Return text that the SDK has wrapped in an object."""
    return value["raw"] if isinstance(value, dict) and list(value) == ["raw"] else value


def _tool(shape: Shape) -> Shape:
    if shape.name.startswith("comm:"):
        return shape._replace(duration_ms=shape.duration_ms or None)
    if shape.name.startswith("code_exec:"):
        return _code(shape)
    return shape._replace(
        attributes=_without(shape.attributes, "error"),
        input=_raw(shape.input),
        output=_raw(shape.output),
        is_end="tool_type" in shape.attributes,  # else it was opened by hand
    )


def _code(shape: Shape) -> Shape:
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


def _retriever(shape: Shape) -> Shape:
    attributes = _without(shape.attributes, prefix="waxell.retrieval.")
    return shape._replace(attributes=attributes, is_end=True)


def _retry(shape: Shape) -> Shape:
    asked = as_object(shape.input)
    if "attempt" not in shape.attributes:
        return shape
    error = as_text(asked.get("original_error")) or as_text(asked.get("reason"))
    return shape._replace(status="error", error=shape.error or error)


def _io(shape: Shape) -> Shape:
    if shape.attributes.get("_phase") == "pause_marker":
        return _pause(shape)
    name, _, action = shape.name.partition(":")
    if name != "human_turn":
        return shape
    attributes = shape.attributes | ({"io.action": action} if action else {})
    return shape._replace(name=name, attributes=attributes, is_end=True)


def _pause(shape: Shape) -> Shape:
    told = _without(shape.attributes, "_phase", "pause_reason")
    reason = as_text(shape.attributes.get("pause_reason"))
    attributes = {name.removeprefix("pause."): value for name, value in told.items()}
    return shape._replace(
        name=f"pause:{reason}",
        kind="pause",
        attributes={"reason": reason, **attributes},
        input=None,
        output=None,
    )


def _prompt(shape: Shape) -> Shape:
    used = as_object(shape.input)
    names = ("version", "label", "content_hash")
    if not all(name in used for name in names):
        return shape
    attributes = {name: used[name] for name in names}
    return shape._replace(duration_ms=None, attributes=attributes, input=None, output=None)


_OF_KIND: dict[str, Callable[[Shape], Shape]] = {
    "tool": _tool,
    "retriever": _retriever,
    "retry": _retry,
    "io": _io,
    "prompt": _prompt,
}


# -- steps of the SDK's own -----------------------------------------------------------------------


def shape_of_step(step: Json) -> Shape | None:
    """Return, for a step that the SDK made, the span that it announces; None where none follows.

    It is what can be shown of a run that goes on, and all that is left of one that is killed: the
    SDK sends spans at the end only.
    """
    said = as_object(step.get("output"))
    make = _ANNOUNCED.get(as_text(said.get(_MARK)))
    return make(as_text(step.get("step_name")).partition(":")[2], said) if make else None


def _announced_tool(name: str, said: Json) -> Shape:
    error = as_text(said.get("error"))
    status = as_text(said.get("status")) or "ok"
    return Shape(as_text(said.get("name")) or name, "tool", status, error)


def _announced_retrieval(name: str, said: Json) -> Shape:
    attributes = {"source": name, "doc_count": said.get("doc_count")}
    asked = {"query": said.get("query")}
    return Shape(f"retrieve:{name}", "retriever", attributes=attributes, input=asked)


def _announced_decision(name: str, said: Json) -> Shape:
    chosen = {"chosen": said.get("chosen"), "confidence": said.get("confidence")}
    return Shape(as_text(said.get("name")) or name, "decision", output=chosen)


def _announced_reasoning(name: str, said: Json) -> Shape:
    thought = {"thought": said.get("thought")}
    conclusion = said.get("conclusion")
    output = {"conclusion": conclusion} if conclusion else None
    return Shape(name, "reasoning", input=thought, output=output)


def _announced_retry(name: str, said: Json) -> Shape:
    attempt, reason = said.get("attempt"), as_text(said.get("reason"))
    attributes = {"attempt": attempt, "strategy": name}
    full_name = f"{name}:{as_text(attempt)}"
    return Shape(
        full_name, "retry", "error", reason, attributes=attributes, input={"reason": reason}
    )


def _announced_message(name: str, said: Json) -> Shape:
    said_here = {"content": said.get("preview")}
    if name == "user_message":
        return Shape(name, "io", input=said_here)
    return Shape(name, "io", output=said_here)


def _announced_turn(name: str, said: Json) -> Shape:
    return Shape(name, "io", output={"response": said.get("preview")})


def _announced_communication(name: str, said: Json) -> Shape:
    message = {
        "channel": said.get("channel"),
        "recipient": said.get("recipient"),
        "body": said.get("preview"),
    }
    return Shape(f"comm:{name}", "tool", input=message)


def _announced_code(name: str, said: Json) -> Shape:
    return Shape(
        f"code:{name}",
        "tool",
        error=as_text(said.get("error")),
        input={"code": said.get("code_preview")},
        output={"output": said.get("output_preview")},
    )


_ANNOUNCED: dict[str, Callable[[str, Json], Shape]] = {
    "tool_call": _announced_tool,
    "retrieval": _announced_retrieval,
    "decision": _announced_decision,
    "reasoning": _announced_reasoning,
    "retry": _announced_retry,
    "user_message": _announced_message,
    "agent_response": _announced_message,
    "human_interaction": _announced_turn,
    "communication": _announced_communication,
    "code_execution": _announced_code,
}
