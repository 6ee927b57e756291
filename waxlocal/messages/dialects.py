"""Which values are messages, and what libraries call the parts of one that others call by a role.

What is not here is no message: a row of a table may have a `type` and a `text`, too.
"""

from __future__ import annotations

from typing import Any

from waxlocal.messages.roles import is_role, role_of

__all__ = ["ITEMS", "Form", "common_form", "conversation_in"]

# The items of OpenAI's responses that are no messages, and stand between them.
ITEMS = ("function_call", "function_call_output", "reasoning", "item_reference")
# Where a message with a role has what it says: most; Gemini; LlamaIndex; Semantic Kernel; Cohere.
_CONTENTS = ("content", "parts", "blocks", "items", "message", "text")
# Roles that nobody renames, beside ours.
_FURTHER_ROLES = frozenset(("developer", "critic", "discriminator"))
# The parts of Pydantic AI, and who says each.
_PYDANTIC_ROLES = {
    "system-prompt": "system",
    "user-prompt": "user",
    "tool-return": "tool",
    "retry-prompt": "tool",
}
_PYDANTIC_TYPES = {"text": "text", "thinking": "thinking", "tool-call": "tool-call"}

# A message as it came, under names that one reader takes.
Form = dict[str, Any]


def conversation_in(value: object) -> list[Form] | None:
    """Return the messages in a list of them, or of one alone; None if any of it is none.

    Each has a `role`, if it names one, and `content`; it may have `tool_calls` and what else came
    with it. A role that only this program knows, such as an agent's name, is one among others that
    are known. LangChain's batches are one list.
    """
    many = value if isinstance(value, list) else [value]
    if len(many) == 1 and isinstance(many[0], list) and many[0] and not _is_pair(many[0]):
        many = many[0]
    read = [common_form(one) for one in many]
    if not any(read):
        return None
    found: list[Form] = []
    for one, forms in zip(many, read, strict=True):
        if forms is None and not _is_like_message(one):
            return None
        found += [one] if forms is None else forms
    return found


def _is_like_message(value: object) -> bool:
    if not isinstance(value, dict) or not ("content" in value or "parts" in value):
        return False
    return isinstance(value.get("role", value.get("type")), str)


def common_form(value: object) -> list[Form] | None:
    """Return a message by the usual names; several where it holds several; None if it is none."""
    if isinstance(value, list):
        return [{"role": value[0], "content": value[1]}] if _is_pair(value) else None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("role"), str):
        return _with_content(value) if _is_spoken_by(value["role"]) else None
    if isinstance(value.get("kwargs"), dict) and "lc" in value:  # LangChain's own JSON
        name = value["id"][-1] if isinstance(value.get("id"), list) and value["id"] else None
        return [{"role": name, **value["kwargs"]}] if is_role(name) else None
    if is_role(value.get("type")):  # LangChain
        held = value.get("data")
        return _with_content({"role": value["type"], **(held if isinstance(held, dict) else value)})
    return _of_few(value)


def _of_few(value: Form) -> list[Form] | None:
    """Return a message as one library alone has it."""
    if value.get("type") in ITEMS:
        return [value]
    if value.get("kind") in ("request", "response") and isinstance(value.get("parts"), list):
        return _of_pydantic(value["parts"], value["kind"])
    if isinstance(value.get("_role"), str) and "_content" in value:  # Haystack
        return [{"role": value["_role"], "content": value["_content"]}]
    if isinstance(value.get("source"), str) and "content" in value:  # AutoGen
        if not str(value.get("type", "")).endswith("Message"):
            return None
        return [{**value, "role": "user" if value["source"] == "user" else "assistant"}]
    if isinstance(value.get("parts"), list) and value.keys() <= {"parts", "role"}:  # Gemini
        return [value]
    return None


def _with_content(value: Form) -> list[Form] | None:
    for name in _CONTENTS:
        if value.get(name) is not None:
            return [value if name in ("content", "parts") else {**value, "content": value[name]}]
    return [value] if "content" in value or "tool_calls" in value else None


def _is_pair(value: list[Any]) -> bool:
    """Return whether it is `["human", "How deep is it?"]`, as LangChain takes it."""
    return len(value) == 2 and is_role(value[0]) and isinstance(value[1], str | list)


def _is_spoken_by(role: str) -> bool:
    return is_role(role) or role.lower() in _FURTHER_ROLES


def _of_pydantic(parts: list[Any], kind: str) -> list[Form] | None:
    """Return what a request of Pydantic AI says, part by part; of a response, one message."""
    if not all(isinstance(part, dict) and "part_kind" in part for part in parts):
        return None
    if kind == "response":
        named = [{**part, "type": _PYDANTIC_TYPES.get(part["part_kind"], "")} for part in parts]
        return [{"role": "assistant", "content": named}]
    return [
        {**part, "role": role_of(_PYDANTIC_ROLES.get(part["part_kind"], "system"))}
        for part in parts
    ]
