"""The steps that the original SDK makes of other records: `tool:search`, `decision:route`, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waxlocal.wire.spans import StoredSpan, code_of, is_communication
from waxlocal.wire.values import Json, text_of

__all__ = ["Named", "delegation_step", "grounding_step", "step_of_span"]

# A step's name and its output.
Named = tuple[str, Json]

# How much of a text the original shows in its steps.
PREVIEW_CHARS = 500
THOUGHT_CHARS = 200


def step_of_span(span: StoredSpan) -> Named | None:
    """Return the step that goes with a span, None for a kind that has none."""
    make = _STEPS.get(span.kind)
    return make(span) if make is not None else None


def delegation_step(delegate: str, depth: Any) -> Named:
    """Return the step of handing work to another agent; its own run has depth 1 and more."""
    return f"delegate:{delegate}", {"_kind": "delegation", "delegate": delegate, "depth": depth}


def grounding_step(data: Json) -> Named:
    """Return the step of checking how well an answer is backed."""
    citations = data.get("citations")
    return "grounding_check", {
        "_kind": "grounding_data",
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
            "_kind": "code_execution",
            "language": code.language,
            "code_preview": code.code[:PREVIEW_CHARS],
            "output_preview": code.output[:PREVIEW_CHARS],
            "error": code.error[:PREVIEW_CHARS],
            "packages": code.packages,
        }
    if "tool_type" not in span.attributes:  # a span opened by hand
        return None
    error = span.error or text_of(span.attributes.get("error"))
    output = {"_kind": "tool_call", "name": span.name, "status": span.status, "error": error}
    return f"tool:{span.name}", output


def _communication(span: StoredSpan) -> Named:
    channel, given = span.attributes["io.channel"], span.input or {}
    return f"comm:{channel}", {
        "_kind": "communication",
        "channel": channel,
        "recipient": given.get("recipient", ""),
        "preview": text_of(given.get("body"))[:PREVIEW_CHARS],
    }


def _retrieval(span: StoredSpan) -> Named | None:
    if "doc_count" not in span.attributes:
        return None
    return f"retrieval:{span.attributes.get('source') or 'search'}", {
        "_kind": "retrieval",
        "doc_count": span.attributes["doc_count"],
        "query": (span.input or {}).get("query", ""),
    }


def _decision(span: StoredSpan) -> Named | None:
    if "instrumentation_source" not in span.attributes:
        return None
    answer = span.output or {}
    return f"decision:{span.name}", {
        "_kind": "decision",
        "name": span.name,
        "chosen": answer.get("chosen", ""),
        "confidence": answer.get("confidence", span.attributes.get("confidence")),
    }


def _reasoning(span: StoredSpan) -> Named | None:
    if span.duration_ms is not None:  # a span opened by hand
        return None
    return f"reasoning:{span.name}", {
        "_kind": "reasoning",
        "thought": text_of((span.input or {}).get("thought"))[:THOUGHT_CHARS],
        "conclusion": (span.output or {}).get("conclusion", ""),
    }


def _retry(span: StoredSpan) -> Named | None:
    told = span.attributes
    if "attempt" not in told:
        return None
    strategy = text_of(told.get("strategy"))
    return f"retry:{strategy}", {
        "_kind": "retry",
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
        output = {"_kind": span.name, "preview": text_of(said)[:PREVIEW_CHARS]}
        return f"io:{span.name}", output
    if span.name != "human_turn" and not span.name.startswith("human_turn:"):
        return None
    action = span.attributes.get("io.action")
    said = answer.get("response") or given.get("prompt")
    return f"io:human_turn:{action}" if action else "io:human_turn", {
        "_kind": "human_interaction",
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
