"""Steps: those of the program, and those that the original SDK makes of other records.

`tool:search`, `decision:route` and the like are made of spans and events, and announce them: the
SDK sends spans at the end of a run only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from waxlocal.records import STEPS, RecordStatus
from waxlocal.wire.exact import told, written
from waxlocal.wire.span_kinds import Shape, StoredSpan, code_of, is_communication
from waxlocal.wire.values import Json, as_content, as_object, as_text, text_of

__all__ = [
    "FIELDS",
    "Named",
    "columns_of_step",
    "delegation_step",
    "exact_step",
    "grounding_step",
    "is_pseudo_step",
    "shape_of_step",
    "step_body",
    "step_of_span",
    "told_by_step",
]

# A step's name and its output.
Named = tuple[str, Json]

# The fields of a step, each with what it holds.
FIELDS = {"step_name": "text", "output": "any", "position": "whole number"}
# How much of a text the original shows in its steps.
PREVIEW_CHARS = 500
THOUGHT_CHARS = 200
# Steps that the SDK makes of other records, to send the state of the conversation. A step of the
# program may have such a name, too, but it lacks the mark that these have in their output.
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
_DEFAULTS = STEPS.defaults


# -- to the wire -----------------------------------------------------------------------------------


def step_body(name: str, output: Json, position: int) -> Json:
    """Return a step; `position` is its number on the wire."""
    return {"step_name": name, "output": output, "position": position}


def told_by_step(body: Json, row: Mapping[str, Any]) -> Json | None:
    """Return the columns of its row that a step adds."""
    return told(STEPS, row, columns_of_step(body))


def step_of_span(span: StoredSpan) -> Named | None:
    """Return the step that goes with a span, None for a kind that has none."""
    make = _STEPS.get(span.kind)
    return make(span) if make is not None else None


def delegation_step(delegate: str, depth: Any) -> Named:
    """Return the step of handing work to another agent, whose run has this depth (1 or more)."""
    return f"delegate:{delegate}", {_MARK: "delegation", "delegate": delegate, "depth": depth}


def grounding_step(data: Json) -> Named:
    """Return the step of checking how well an answer is backed."""
    citations = data.get("citations")
    return "grounding_check", {
        _MARK: "grounding_data",
        "grounding_scores": data.get("grounding_scores") or [],
        "citation_count": len(citations) if isinstance(citations, list) else 0,
        "output_confidence": data.get("output_confidence"),
    }


def _tool(span: StoredSpan) -> Named | None:
    if is_communication(span):
        return _communication(span)
    code = code_of(span)
    if code is not None:
        return f"code_exec:{code.language}", {
            _MARK: "code_execution",
            "language": code.language,
            "code_preview": code.code[:PREVIEW_CHARS],
            "output_preview": code.output[:PREVIEW_CHARS],
            "error": code.error[:PREVIEW_CHARS],
            "packages": code.packages,
        }
    if "tool_type" not in span.attributes:  # a span opened by hand
        return None
    error = span.error or text_of(span.attributes.get("error"))
    output = {_MARK: "tool_call", "name": span.name, "status": span.status, "error": error}
    return f"tool:{span.name}", output


def _communication(span: StoredSpan) -> Named:
    channel, given = span.attributes["io.channel"], span.input or {}
    return f"comm:{channel}", {
        _MARK: "communication",
        "channel": channel,
        "recipient": given.get("recipient", ""),
        "preview": text_of(given.get("body"))[:PREVIEW_CHARS],
    }


def _retrieval(span: StoredSpan) -> Named | None:
    if "doc_count" not in span.attributes:
        return None
    return f"retrieval:{span.attributes.get('source') or 'search'}", {
        _MARK: "retrieval",
        "doc_count": span.attributes["doc_count"],
        "query": (span.input or {}).get("query", ""),
    }


def _decision(span: StoredSpan) -> Named | None:
    if "instrumentation_source" not in span.attributes:
        return None
    answer = span.output or {}
    return f"decision:{span.name}", {
        _MARK: "decision",
        "name": span.name,
        "chosen": answer.get("chosen", ""),
        "confidence": answer.get("confidence", span.attributes.get("confidence")),
    }


def _reasoning(span: StoredSpan) -> Named | None:
    if span.duration_ms is not None:  # a span opened by hand
        return None
    return f"reasoning:{span.name}", {
        _MARK: "reasoning",
        "thought": text_of((span.input or {}).get("thought"))[:THOUGHT_CHARS],
        "conclusion": (span.output or {}).get("conclusion", ""),
    }


def _retry(span: StoredSpan) -> Named | None:
    told = span.attributes
    if "attempt" not in told:
        return None
    strategy = text_of(told.get("strategy"))
    return f"retry:{strategy}", {
        _MARK: "retry",
        "attempt": told["attempt"],
        "reason": (span.input or {}).get("reason", ""),
        "strategy": strategy,
        "fallback_to": told.get("fallback_to", ""),
    }


def _io(span: StoredSpan) -> Named | None:
    if "io.direction" not in span.attributes:
        return None
    given, answer = span.input or {}, span.output or {}
    if span.name in ("user_message", "agent_response"):
        said = (given if span.name == "user_message" else answer).get("content")
        output = {_MARK: span.name, "preview": text_of(said)[:PREVIEW_CHARS]}
        return f"io:{span.name}", output
    if span.name != "human_turn" and not span.name.startswith("human_turn:"):
        return None
    action = span.attributes.get("io.action")
    said = answer.get("response") or given.get("prompt")
    return f"io:human_turn:{action}" if action else "io:human_turn", {
        _MARK: "human_interaction",
        "preview": text_of(said)[:PREVIEW_CHARS],
    }


_STEPS: dict[str, Callable[[StoredSpan], Named | None]] = {
    "tool": _tool,
    "retriever": _retrieval,
    "decision": _decision,
    "reasoning": _reasoning,
    "retry": _retry,
    "io": _io,
}


# -- from the wire ---------------------------------------------------------------------------------


def columns_of_step(step: Json) -> Json:
    """Return the columns that a step gives."""
    return {
        **_DEFAULTS,
        "step_name": as_text(step.get("step_name")) or as_text(step.get("name")) or "step",
        "kind": as_text(step.get("kind")) or "chain",
        "output": as_content(step.get("output")),
        "attributes": as_content(step["attributes"]) if step.get("attributes") else None,
    }


def exact_step(step: Json, said: Json) -> Json:
    """Return the row that a step carries. Raises `Refused`."""
    return written(STEPS, said, columns_of_step(step))


def is_pseudo_step(step: Json) -> bool:
    """Return whether a step was made by the SDK and not by the program."""
    name = step.get("step_name")
    if name == _CARRIER:
        return True
    marked = isinstance(as_object(step.get("output")).get(_MARK), str)
    return marked and isinstance(name, str) and name.startswith(_PSEUDO)


def shape_of_step(step: Json) -> Shape | None:
    """Return the span that a step of the SDK announces; None where none follows.

    The SDK sends spans at the end of a run only: until then this is all that can be shown, and of a
    run that is killed it is all that arrives.
    """
    said = as_object(step.get("output"))
    make = _ANNOUNCED.get(as_text(said.get(_MARK)))
    return make(as_text(step.get("step_name")).partition(":")[2], said) if make else None


def _announced_tool(name: str, said: Json) -> Shape:
    error = as_text(said.get("error"))
    status = as_text(said.get("status")) or RecordStatus.OK
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
    given = {"reason": reason}
    return Shape(full_name, "retry", RecordStatus.ERROR, reason, attributes=attributes, input=given)


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
