"""Who says a message: what vendors and frameworks call the roles, in our words.

They are `user`, `assistant`, `tool`, `system`. A role that nobody renames, such as openai's
`developer`, stays as it is.
"""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["is_role", "role_of"]

_ROLES = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "humanmessage": "user",
    "humanmessagechunk": "user",
    "systemmessage": "system",
    "systemmessagechunk": "system",
    "toolmessage": "tool",
    "toolmessagechunk": "tool",
    "functionmessage": "tool",
    "function": "tool",
}
_OURS = frozenset(_ROLES.values())


def role_of(name: str) -> str:
    """Return the role that a name stands for, in whatever case: `AIMessageChunk` is `assistant`.

    So is a member of an enumeration as Python prints it: `ChatRole.USER` is `user`.
    """
    name = str.__str__(name).lower().rpartition(".")[2]
    return _ROLES.get(name, name)


def is_role(name: object) -> TypeGuard[str]:
    """Return whether this is the name of one of the roles, and not of something else."""
    return isinstance(name, str) and role_of(name) in _OURS
