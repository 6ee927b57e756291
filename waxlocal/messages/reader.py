"""Messages of any vendor's or framework's form, in ours.

What is read are plain values, as JSON gives them: a message, a list of them, or what holds one (the
body of a request, the state of a graph). It takes the GenAI conventions, OpenAI's chat and
responses, Anthropic's, Gemini's, Bedrock's and LangChain's, and much that is like them.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from waxlocal.messages.dialects import ITEMS, Form, common_form, conversation_in
from waxlocal.messages.forms import Message
from waxlocal.messages.parts import sorted_parts, text_of, tool_call
from waxlocal.messages.roles import is_role, role_of

__all__ = ["has_messages", "messages_of", "read_form", "read_message", "system_of"]

# Conversations within a structure: the body of a request, the state of a graph.
_HOLDERS = ("messages", "input", "contents", "prompt", "message")
_SYSTEMS = ("system", "instructions", "system_instruction", "systemInstruction", "preamble")
_OF_MESSAGES = frozenset(
    ("role", "content", "parts", "text", "tool_calls", "type", "reasoning_content", "tool_call_id")
)


def messages_of(plain: object, role: str = "user") -> list[Message]:
    """Return the messages in plain, bounded values."""
    if plain is None or plain == "":
        return []
    if _is_holder(plain):
        inside = _within(plain, role)
        if inside is not None:
            return inside
    found: list[Any] = plain if isinstance(plain, list) else [plain]
    if found and all(isinstance(one, list) for one in found):  # LangChain's pairs, or its batches
        forms = conversation_in(found, pairs=True)
        if forms is not None:
            return [read for one in forms for read in read_form(one, role)]
        found = [message for batch in found for message in batch]
    if not all(isinstance(one, str | dict) for one in found):  # the tokens of an embedding
        found = [plain]
    return [read for one in found for read in read_message(one, role)]


def _is_holder(plain: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(plain, dict)
        and plain.keys().isdisjoint(("role", "parts"))
        and common_form(plain) is None
    )


def has_messages(plain: object) -> bool:
    """Return whether plain values are messages, hold some, or are text; not any other structure."""
    if isinstance(plain, dict):
        is_one = common_form(plain) is not None or not _OF_MESSAGES.isdisjoint(plain)
        return is_one or bool(_within(plain, "user"))
    return plain is not None


def _within(holder: dict[str, Any], role: str) -> list[Message] | None:
    """Return the conversation that the body of a request, or something like it, holds."""
    named = [name for name in _HOLDERS if holder.get(name) not in (None, "", [], {})]
    if not named or not isinstance(holder[named[0]], str | list | dict):
        return None
    said = messages_of(holder[named[0]], role)
    settings = holder.get("config")
    places = (holder, settings) if isinstance(settings, dict) else (holder,)
    for place in places:
        for name in _SYSTEMS:
            if place.get(name) not in (None, "", [], {}):
                return system_of(place[name]) + said
    return said


def read_message(value: object, role: str) -> list[Message]:
    """Return a plain message; and before it one for each result of a tool that it carries."""
    if not isinstance(value, dict):
        said = text_of(value)
        return [{"role": role, "content": said}] if said else []
    forms = common_form(value)
    if forms is not None:
        return [read for one in forms for read in read_form(one, role)]
    if _OF_MESSAGES.isdisjoint(value):  # somebody's own structure
        return [{"role": role, "content": text_of(value)}] if value else []
    return read_form(value, role)


def read_form(value: Form, role: str) -> list[Message]:
    """Return a message of `conversation_in`, as `read_message` does."""
    kind = value.get("type")
    if kind in ITEMS:
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


def system_of(plain: object) -> list[Message]:
    """Return the system text, plain parts of it, or the body that has them, as a message."""
    if isinstance(plain, dict) and plain.get("parts") is not None:
        plain = plain["parts"]
    content = _content(sorted_parts(plain).content, "system")
    return [{"role": "system", "content": content}] if content else []
