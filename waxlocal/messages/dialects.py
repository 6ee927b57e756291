"""Which values are messages, and the usual names for what libraries call otherwise.

What looks like a message and may be something else is none: a row of a log has a `type` and a
`content`, too. Within a list that holds a message, it is one.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from waxlocal.messages.roles import is_role

__all__ = ["ITEMS", "Form", "common_form", "conversation_in"]

# A message as it came, under names that one reader takes.
Form = dict[str, Any]

# The items of OpenAI's responses that are no messages, and stand between them.
ITEMS = ("function_call", "function_call_output", "reasoning", "item_reference")
# Where a message has what it says: most; Gemini; the AI SDK; LlamaIndex; Semantic Kernel; Cohere.
_CONTENTS = ("content", "parts", "text", "blocks", "items", "message")
# What an answer without words has instead.
_INSTEAD = ("tool_calls", "function_call", "refusal", "audio")
# Roles that nobody renames, beside ours.
_FURTHER_ROLES = frozenset(("developer", "critic", "discriminator"))
# LangChain's names for types: nothing else calls itself so. Of its others, only with what it adds.
_LANGCHAIN = frozenset(("human", "ai"))
_LANGCHAIN_ADDS = frozenset(
    ("additional_kwargs", "response_metadata", "tool_call_id", "data", "message")
)
# The parts of Pydantic AI, and who says each.
_PYDANTIC_ROLES = {
    "system-prompt": "system",
    "user-prompt": "user",
    "tool-return": "tool",
    "retry-prompt": "tool",
}
_PYDANTIC_TYPES = {"text": "text", "thinking": "thinking", "tool-call": "tool-call"}
# A conversation has a message among its first items; a long list of rows is not read for one.
_FIRST = 16


def conversation_in(value: object, *, pairs: bool = False) -> list[Form] | None:
    """Return the messages in a list, or in one alone; None if it holds none.

    Each has a `role`, if it names one, and `content`; it may have `tool_calls` and what else came
    with it. Other items of the list are left out: calls of a vendor's own tools, notes. LangChain's
    batches are one list. `pairs`: `["human", "hi"]` is a message, too; elsewhere, it may be the
    edge of a graph.
    """
    many = value if isinstance(value, list) else [value]
    if many and all(isinstance(one, list) and not _is_pair(one) for one in many[:_FIRST]):
        many = list(chain.from_iterable(one for one in many if isinstance(one, list)))
    read = [_form_of(one, pairs) for one in many[:_FIRST]]
    if all(forms is None for forms in read):
        return None
    read += [_form_of(one, pairs) for one in many[_FIRST:]]
    found: list[Form] = []
    for one, forms in zip(many, read, strict=True):
        if forms is not None:
            found += forms
        elif _is_like_message(one):
            found.append(one)
    return found


def _form_of(value: object, pairs: bool) -> list[Form] | None:
    if pairs and isinstance(value, list):
        return [{"role": value[0], "content": value[1]}] if _is_pair(value) else None
    return common_form(value)


def _is_like_message(value: object) -> bool:
    """Return whether a dict among messages is one, of a role that only its program knows."""
    if not isinstance(value, dict) or not ("content" in value or "parts" in value):
        return False
    return isinstance(value.get("role", value.get("type")), str)


def common_form(value: object) -> list[Form] | None:
    """Return a message by the usual names; several where it holds several; None if it is none."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("role"), str):
        if value["role"] == "agent" and isinstance(value.get("parts"), list):  # of A2A
            return [{**value, "role": "assistant"}]
        return _spoken(value) if _is_spoken_by(value["role"]) else None
    if isinstance(value.get("kwargs"), dict) and "lc" in value:
        return _of_langchain_json(value)
    kind = value.get("type")
    if is_role(kind) and (_is_of_langchain(kind) or not _LANGCHAIN_ADDS.isdisjoint(value)):
        return _of_langchain(value)
    return _of_few(value)


def _is_of_langchain(kind: str) -> bool:
    return kind in _LANGCHAIN or kind.endswith(("Message", "MessageChunk"))


def _of_langchain_json(value: Form) -> list[Form] | None:
    name = value["id"][-1] if isinstance(value.get("id"), list) and value["id"] else ""
    if not str(name).endswith(("Message", "MessageChunk")):  # a prompt, a model
        return None
    return [{"role": name, **value["kwargs"]}]


def _of_langchain(value: Form) -> list[Form] | None:
    if isinstance(value.get("message"), dict):  # of Claude's agent SDK
        return common_form(value["message"])
    held = value.get("data")
    return _spoken({"role": value["type"], **(held if isinstance(held, dict) else value)})


def _of_few(value: Form) -> list[Form] | None:
    """Return a message as one library alone has it."""
    if value.get("type") in ITEMS and "text" not in value:  # else a part of a message
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


def _spoken(value: Form) -> list[Form] | None:
    """Return a message with a role, its words under `content`; None if it has no place for any."""
    for name in _CONTENTS:
        words = value.get(name)
        if words is not None and (name != "message" or not isinstance(words, dict)):
            return [value if name in ("content", "parts") else {**value, "content": words}]
    if isinstance(value.get("message"), dict):
        return common_form(value["message"])
    if isinstance(value.get("function_call"), dict):  # OpenAI's, before there were tools
        return [{**value, "tool_calls": [{"function": value["function_call"]}]}]
    if value.get("refusal") is not None:
        return [{**value, "content": value["refusal"]}]
    if isinstance(value.get("audio"), dict) and value["audio"].get("transcript"):
        return [{**value, "content": value["audio"]["transcript"]}]
    return [value] if "content" in value or any(name in value for name in _INSTEAD) else None


def _is_pair(value: object) -> bool:
    """Return whether it is `["human", "How deep is it?"]`, as LangChain takes it."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_role(value[0])
        and isinstance(value[1], str | list)
    )


def _is_spoken_by(role: str) -> bool:
    return is_role(role) or role.lower() in _FURTHER_ROLES


def _of_pydantic(parts: list[Any], kind: str) -> list[Form] | None:
    """Return what a request of Pydantic AI says, part by part; of a response, one message."""
    if not all(isinstance(part, dict) and "part_kind" in part for part in parts):
        return None
    if kind == "response":
        named = [{**part, "type": _PYDANTIC_TYPES.get(part["part_kind"], "")} for part in parts]
        return [{"role": "assistant", "content": named}]
    return [{**part, "role": _PYDANTIC_ROLES.get(part["part_kind"], "system")} for part in parts]
