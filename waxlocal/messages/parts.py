"""The parts of a message in each vendor's words, sorted into text, reasoning, calls and results.

GenAI's parts, OpenAI's (chat and responses), Anthropic's, Gemini's and the AI SDK's have different
names for few things. One reader knows them all, so that a conversation looks the same whoever
recorded it: by the name of the type, then by which names a part has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waxlocal.decode import from_json
from waxlocal.encode import dumps
from waxlocal.messages.forms import ToolCall

__all__ = ["Sorted", "are_parts", "sorted_parts", "text_of", "tool_call"]

_TEXT = frozenset(("text", "input_text", "output_text", "refusal", "summary_text"))
_REASONING = frozenset(("reasoning", "thinking", "redacted_thinking"))
_CALL = frozenset(("tool_call", "tool-call", "tool_use", "function_call", "function", "toolCall"))
_RESULT = frozenset(
    ("tool_call_response", "tool-result", "tool_result", "function_call_output", "toolResult")
)


# Where a part without a type has a call; Gemini's models say null for what a part is not.
_CALLS_WITHIN = ("function_call", "functionCall", "toolUse")
# Other parts that libraries name by these types.
_FURTHER = frozenset(
    (
        *("image", "image_url", "input_image", "document", "file", "input_file", "input_audio"),
        *("audio", "video", "server_tool_use", "web_search_tool_result", "blob"),
    )
)


@dataclass(slots=True)
class Sorted:
    """The parts of one message. `content` is in order: texts as they are, others as structures."""

    content: list[Any] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    # (id of the call, its result, name of the tool)
    results: list[tuple[str | None, Any, str | None]] = field(default_factory=list)


def are_parts(value: list[Any]) -> bool:
    """Return whether a list is the parts of one message, and not rows that have a `type`, too."""
    known = _TEXT | _REASONING | _CALL | _RESULT
    kinds = [one.get("type") for one in value if isinstance(one, dict)]
    return (
        len(kinds) == len(value)
        and all(isinstance(kind, str) and kind in known | _FURTHER for kind in kinds)
        and any(kind in known for kind in kinds)
    )


def sorted_parts(parts: object) -> Sorted:
    """Return the parts of a message: a list of them, one alone, or text."""
    found = Sorted()
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, dict):
            _sort(part, found)
        elif part is not None:
            found.content.append(text_of(part))
    return found


def _sort(part: dict[str, Any], found: Sorted) -> None:
    kind = part.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind in _CALL or any(part.get(name) is not None for name in _CALLS_WITHIN):
        found.calls.append(tool_call(part))
    elif kind in _RESULT or (not kind and _GOOGLE_RESULTS & part.keys()):
        found.results.append(_result(part))
    elif kind in _REASONING or part.get("thought") is True:
        said = text_of(_first(part, "content", "text", "thinking", "summary"))
        if said:
            found.reasoning.append(said)
    elif kind in _TEXT or (not kind and isinstance(part.get("text"), str)):
        said = _first(part, "content", "text", "refusal")
        if isinstance(said, dict) and isinstance(said.get("value"), str):  # OpenAI's threads
            said = said["value"]
        found.content.append(text_of(said))
    else:
        found.content.append(_blob_part(part))


_GOOGLE_RESULTS = frozenset(("function_response", "functionResponse", "toolResult"))


def tool_call(value: Mapping[str, Any]) -> ToolCall:
    """Return {"id", "name", "arguments"} of a call in anybody's words."""
    inner = value
    for name in ("function_call", "functionCall", "function", "toolUse", "tool_call", "custom"):
        if isinstance(value.get(name), Mapping):
            inner = value[name]
            if isinstance(inner.get("function"), Mapping):  # OpenInference: tool_call.function
                value, inner = inner, inner["function"]
            break
    call_id = _first(value, "id", "call_id", "tool_call_id", "toolCallId")
    if call_id is None:
        call_id = _first(inner, "id", "call_id", "toolUseId")
    arguments = _first(inner, "arguments", "input", "args")
    return {
        "id": None if call_id is None else text_of(call_id),
        "name": text_of(_first(inner, "name", "toolName", "tool_name")),
        "arguments": from_json(arguments),
    }


def _result(part: dict[str, Any]) -> tuple[str | None, Any, str | None]:
    inner: Mapping[str, Any] = part
    for name in _GOOGLE_RESULTS:
        if isinstance(part.get(name), Mapping):
            inner = part[name]
    call_id = _first(
        inner, "id", "tool_use_id", "toolCallId", "call_id", "tool_call_id", "toolUseId"
    )
    said = _first(inner, "response", "result", "output", "content")
    # The AI SDK says what kind of value it is: {"type": "json", "value": ...}.
    if isinstance(said, dict) and said.keys() == {"type", "value"}:
        said = said["value"]
    name = _first(inner, "name", "toolName")
    return (
        None if call_id is None else text_of(call_id),
        said,
        None if name is None else text_of(name),
    )


def _blob_part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part that is none of these; what stands for binary data is not nested."""
    data = part.get("content")
    if not isinstance(data, dict) or "sha256" not in data:
        return part
    rest = {name: value for name, value in part.items() if name not in ("content", "mime_type")}
    return {**rest, **data}


def text_of(value: object) -> str:
    """Return text as it is, the text of text parts, and anything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "".join(part["text"] for part in value)
    return dumps(value)


def _is_text_part(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), str)


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
