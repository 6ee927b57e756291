"""Messages and tools of the GenAI conventions, in waxlocal's form.

They come as JSON text (an attribute of a span), as structures (a log record), or as the objects of
`opentelemetry.util.genai.types` (a completion hook). The same reader takes the messages of the
vendors' own APIs, which older emitters send as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from waxlocal.capture.bounds import bounded, cut_text, from_json
from waxlocal.capture.facts import Message, SpanEvent
from waxlocal.capture.message_parts import sorted_parts, text_of, tool_call
from waxlocal.capture.roles import is_role, role_of
from waxlocal.signal_handlers import Suppress

__all__ = [
    "event_messages",
    "finish_reasons",
    "has_messages",
    "messages_of",
    "read_messages",
    "read_system",
    "read_tools",
]

# Conversations within a structure: the body of a request, the state of a graph.
_HOLDERS = ("messages", "input", "contents", "prompt", "message")
_SYSTEMS = ("system", "instructions", "system_instruction", "systemInstruction", "preamble")
_OF_MESSAGES = frozenset(
    ("role", "content", "parts", "text", "tool_calls", "type", "reasoning_content", "tool_call_id")
)
# The events of GenAI 1.28 to 1.36, one for each message.
_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE = "gen_ai.choice"
# The one log record, or event, with all content since 1.37.
_DETAILS = "gen_ai.client.inference.operation.details"


def read_messages(
    value: object, role: str = "user", *, keep_blobs: bool = False
) -> list[Message] | None:
    """Return the messages in a list, JSON text or objects; None where there are none.

    `role` is that of a message that names none, such as plain text.
    """
    if type(value) is list and value and all(map(_is_typed, value)):
        return _typed_messages(value, role, keep_blobs) or None
    # Read before texts are cut: half a JSON text says nothing.
    return messages_of(bounded(from_json(value), keep_blobs=keep_blobs), role) or None


def _is_typed(value: object) -> bool:
    return "__dataclass_fields__" in type(value).__dict__


def _typed_messages(value: list[Any], role: str, keep_blobs: bool) -> list[Message]:
    """Return typed messages; a conversation is sent whole with each call, so the usual go fast."""
    found: list[Message] = []
    for one in value:
        message = _of_one_text(one)
        if message is not None:
            found.append(message)
        else:
            found += _read_message(bounded(one, keep_blobs=keep_blobs), role)
    return found


def _of_one_text(value: Any) -> Message | None:
    """Return a typed message of one text part, as `_read_message` does; None for any other."""
    with Suppress(Exception):
        role, parts = value.role, value.parts
        if type(parts) is list and len(parts) == 1 and _is_typed(parts[0]):
            part = parts[0]
            text = part.content
            usual = part.type == "text" and type(text) is str and text[:5] != "data:"
            if usual and isinstance(role, str) and role and getattr(value, "name", None) is None:
                return {"role": role_of(role), "content": cut_text(text)}
    return None


def messages_of(plain: object, role: str = "user") -> list[Message]:
    """Return the messages in plain, bounded values."""
    if plain is None or plain == "":
        return []
    if isinstance(plain, dict) and "role" not in plain and "parts" not in plain:
        inside = _within(plain, role)
        if inside:
            return inside
    found: list[Any] = plain if isinstance(plain, list) else [plain]
    if found and all(isinstance(one, list) for one in found):  # LangChain's batches
        found = [message for batch in found for message in batch]
    if not all(isinstance(one, str | dict) for one in found):  # the tokens of an embedding
        found = [plain]
    return [read for one in found for read in _read_message(one, role)]


def has_messages(plain: object) -> bool:
    """Return whether plain values are messages, hold some, or are text; not any other structure."""
    if isinstance(plain, dict):
        return not _OF_MESSAGES.isdisjoint(plain) or bool(_within(plain, "user"))
    return plain is not None


def _within(holder: dict[str, Any], role: str) -> list[Message]:
    """Return the conversation that the body of a request, or something like it, holds."""
    named = [name for name in _HOLDERS if holder.get(name) not in (None, "", [])]
    if not named or not isinstance(holder[named[0]], str | list | dict):
        return []
    said = messages_of(holder[named[0]], role)
    settings = holder.get("config")
    places = (holder, settings) if isinstance(settings, dict) else (holder,)
    for place in places:
        for name in _SYSTEMS:
            if place.get(name) not in (None, "", []):
                return _system_of(place[name]) + said
    return said


def _read_message(value: object, role: str) -> list[Message]:
    """Return a message; and before it one for each result of a tool that it carries."""
    if not isinstance(value, dict):
        said = text_of(value)
        return [{"role": role, "content": said}] if said else []
    if isinstance(value.get("kwargs"), dict) and "lc" in value:  # LangChain's own JSON
        value = {"role": _last(value.get("id")), **value["kwargs"]}
    if _OF_MESSAGES.isdisjoint(value):  # somebody's own structure
        return [{"role": role, "content": text_of(value)}] if value else []
    kind = value.get("type")
    if kind in ("function_call", "function_call_output", "reasoning", "item_reference"):
        return _read_item(value, kind)
    inner = value.get("content")
    if isinstance(inner, dict) and inner.get("parts") is not None:  # an event of Google's ADK
        value = {**value, **inner}
    role = _role(value, role)
    parts = value["parts"] if value.get("parts") is not None else value.get("content")
    if parts is None and isinstance(value.get("text"), str):
        parts = value["text"]
    found = sorted_parts(parts)
    calls = value.get("tool_calls")
    found.calls.extend(
        tool_call(call) for call in (calls if isinstance(calls, list) else ()) if
        isinstance(call, dict)
    )  # fmt: skip
    if isinstance(value.get("reasoning_content"), str) and value["reasoning_content"]:
        found.reasoning.append(value["reasoning_content"])
    results = [_tool_message(*result) for result in found.results]
    message: Message = {"role": role, "content": _content(found.content, role)}
    if found.calls:
        message["tool_calls"] = found.calls
    if found.reasoning:
        message["reasoning"] = "\n".join(found.reasoning)
    empty = message["content"] is None and len(message) == 2
    _add_names(message, value)
    return results if results and empty else [*results, message]


def _read_item(value: dict[str, Any], kind: str) -> list[Message]:
    """Return an item of OpenAI's responses that is not a message, as the message it stands for."""
    found = sorted_parts(value)
    if found.calls:
        return [{"role": "assistant", "content": None, "tool_calls": found.calls}]
    if found.results:
        return [_tool_message(*result) for result in found.results]
    if found.reasoning:
        said = "\n".join(found.reasoning)
        return [{"role": "assistant", "content": None, "reasoning": said}]
    return []


def _role(value: dict[str, Any], default: str) -> str:
    role = value.get("role")
    if not isinstance(role, str) or not role:
        role = value.get("type")  # LangChain
        if not is_role(role):
            return default
    return role_of(role)


def _last(value: object) -> object:
    return value[-1] if isinstance(value, list) and value else None


def _content(parts: list[Any], role: str) -> Any:
    """Return text where all parts are text: an answer in one piece, a prompt's blocks as lines."""
    if not parts:
        return None
    if all(isinstance(part, str) for part in parts):
        return ("" if role == "assistant" else "\n").join(parts)
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]


def _tool_message(call_id: str | None, said: object, name: str | None) -> Message:
    message: Message = {"role": "tool", "content": text_of(said)}
    if call_id is not None:
        message["tool_call_id"] = call_id
    if name is not None:
        message["name"] = name
    return message


def _add_names(message: Message, value: dict[str, Any]) -> None:
    call_id = value.get("tool_call_id") or value.get("toolCallId")
    if call_id is None and message["role"] == "tool":
        call_id = value.get("id")  # the events of GenAI 1.28
    if isinstance(call_id, str) and call_id:
        message["tool_call_id"] = call_id
    name = value.get("name")
    if isinstance(name, str) and name:
        message["name"] = name


def read_system(value: object, *, keep_blobs: bool = False) -> list[Message]:
    """Return the system text, JSON text or parts, as a message; an empty list without any."""
    return _system_of(bounded(from_json(value), keep_blobs=keep_blobs))


def _system_of(plain: object) -> list[Message]:
    if isinstance(plain, dict) and plain.get("parts") is not None:
        plain = plain["parts"]
    content = _content(sorted_parts(plain).content, "system")
    return [{"role": "system", "content": content}] if content else []


def read_tools(value: object) -> list[Any] | None:
    """Return the definitions of tools that were offered; each may be JSON text itself."""
    found = from_json(value)
    many = list(found) if isinstance(found, list | tuple) else [found]
    tools = bounded([from_json(tool) for tool in many])
    return [tool for tool in tools if tool is not None and tool != ""] or None


def finish_reasons(value: object) -> list[str]:
    """Return why a model stopped, of each choice: a word, a list of them, or JSON text of one."""
    found = from_json(value)
    many = found if isinstance(found, list | tuple) else [found]
    return [reason for reason in many if isinstance(reason, str) and reason]


def event_messages(
    events: Iterable[SpanEvent], *, keep_blobs: bool = False
) -> tuple[list[Message] | None, list[Message] | None]:
    """Return the (prompt, answer) that events carry; None where they carry none."""
    prompt: list[Message] = []
    answer: list[Message] = []
    for event in events:
        given = event.attributes
        if event.name == _DETAILS:
            prompt += read_system(given.get("gen_ai.system_instructions"), keep_blobs=keep_blobs)
            prompt += _some(given.get("gen_ai.input.messages"), "user", keep_blobs)
            answer += _some(given.get("gen_ai.output.messages"), "assistant", keep_blobs)
        elif event.name in _EVENT_ROLES:
            prompt += _some(_body(given), _EVENT_ROLES[event.name], keep_blobs)
        elif event.name == _CHOICE:
            body = _body(given)
            inner = from_json(body.get("message", body)) if isinstance(body, dict) else body
            if isinstance(inner, list):  # the blocks of one message, as Bedrock has them
                inner = {"role": "assistant", "content": inner}
            answer += _some(inner, "assistant", keep_blobs)
    return prompt or None, answer or None


def _some(value: object, role: str, keep_blobs: bool) -> list[Message]:
    return read_messages(value, role, keep_blobs=keep_blobs) or []


def _body(attributes: Any) -> Any:
    """Return the body of an event: a log record has one, a span's event has only attributes."""
    if attributes.get("body") is not None:
        return from_json(attributes["body"])
    return {name: from_json(value) for name, value in attributes.items()}
