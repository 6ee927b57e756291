"""Whoever reads a message, its role is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from waxlocal.capture.gen_ai_messages import read_messages
from waxlocal.capture.open_inference import flat_messages
from waxlocal.messages.roles import is_role, role_of
from waxlocal.shim import llamaindex
from waxlocal.shim.langchain_facts import messages_of

NAMES = {
    "user": ("user", "human", "HumanMessage", "HUMAN", "ChatRole.USER"),
    "assistant": ("assistant", "ai", "AIMessageChunk", "model", "chatbot", "bot"),
    "tool": ("tool", "function", "ToolMessage"),
    "system": ("system", "SystemMessage"),
    "developer": ("developer",),
}
CASES = [(name, role) for role, names in NAMES.items() for name in names]


@dataclass
class _Part:
    content: str
    type: str = "text"


@dataclass
class _Message:
    role: object
    parts: list[_Part]


class _Word(str, Enum):
    HUMAN = "human"


def _typed(name: object) -> Any:
    return read_messages([_Message(name, [_Part("hi")])])


def _plain(name: object) -> Any:
    return read_messages([{"role": name, "content": "hi"}])


def _flat(name: object) -> Any:
    given = {
        "llm.input_messages.0.message.role": name,
        "llm.input_messages.0.message.content": "hi",
    }
    return flat_messages(given, "llm.input_messages")


def _of_langchain(name: object) -> Any:
    return messages_of([SimpleNamespace(type=name, content="hi")])


def _named_by_the_program(name: object) -> Any:
    """A `ChatMessage` of LangChain."""
    return messages_of([SimpleNamespace(type="chat", role=name, content="hi")])


def _of_llama_index(name: object) -> Any:
    return [llamaindex._message(SimpleNamespace(role=name, content="hi"))]


READERS = [_typed, _plain, _flat, _of_langchain, _named_by_the_program, _of_llama_index]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("name", "role"), CASES)
def test_a_role_is_the_same_whoever_reads_it(
    read: Callable[[object], Any], name: str, role: str
) -> None:
    assert read(name) == [{"role": role, "content": "hi"}]


def test_a_member_of_an_enumeration_is_its_value() -> None:
    assert role_of(_Word.HUMAN) == "user"
    assert _typed(_Word.HUMAN) == [{"role": "user", "content": "hi"}]


def test_what_names_no_role_is_none() -> None:
    """The type of a part or an item stands where LangChain has the role."""
    assert all(is_role(name) for name, role in CASES if role != "developer")
    assert not any(map(is_role, ("message", "text", "", None, 3, ["user"])))
