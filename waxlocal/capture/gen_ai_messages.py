"""Messages and tools of the GenAI conventions, in waxlocal's form.

They come as JSON text (an attribute of a span), as structures (a log record), or as the objects of
`opentelemetry.util.genai.types` (a completion hook). The same reader takes the messages of the
vendors' own APIs, which older emitters send as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from waxlocal.capture.bounds import bounded, cut_text
from waxlocal.capture.facts import SpanEvent
from waxlocal.decode import from_json
from waxlocal.messages.forms import Message
from waxlocal.messages.reader import messages_of, read_message, system_of
from waxlocal.messages.roles import role_of
from waxlocal.signal_handlers import Suppress

__all__ = [
    "event_messages",
    "finish_reasons",
    "read_messages",
    "read_system",
    "read_tools",
]

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
            found += read_message(bounded(one, keep_blobs=keep_blobs), role)
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


def read_system(value: object, *, keep_blobs: bool = False) -> list[Message]:
    """Return the system text, JSON text or parts, as a message; an empty list without any."""
    return system_of(bounded(from_json(value), keep_blobs=keep_blobs))


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
