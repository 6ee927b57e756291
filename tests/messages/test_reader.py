"""Messages of any library's form, read into ours, whoever captured or recorded them."""

from __future__ import annotations

from typing import Any

import pytest

from waxlocal.messages.answers import choices_of
from waxlocal.messages.dialects import conversation_in
from waxlocal.messages.parts import are_parts
from waxlocal.messages.reader import has_messages, messages_of

CHAT_MESSAGE = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "ChatMessage"],
    "kwargs": {"role": "critic", "content": "hey", "type": "chat"},
}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (CHAT_MESSAGE, {"role": "critic", "content": "hey"}),
        ({"type": "assistant", "message": {"role": "assistant", "content": "hey"}},
         {"role": "assistant", "content": "hey"}),
        ({"type": "human", "data": {"content": "hey", "type": "human"}},
         {"role": "user", "content": "hey"}),
        ({"role": "user", "text": "hey", "message": "other"}, {"role": "user", "content": "hey"}),
        ({"role": "USER", "message": "hey"}, {"role": "user", "content": "hey"}),
        ({"role": "assistant", "refusal": "No."}, {"role": "assistant", "content": "No."}),
        ({"role": "assistant", "audio": {"transcript": "hey"}},
         {"role": "assistant", "content": "hey"}),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
         {"role": "assistant", "content": None,
          "tool_calls": [{"id": None, "name": "f", "arguments": {}}]}),
        ({"_role": "user", "_content": [{"text": "hey"}]}, {"role": "user", "content": "hey"}),
    ],
)  # fmt: skip
def test_one_library_s_message_is_every_other_s(value: Any, message: dict[str, Any]) -> None:
    """Alone or in a list, for what captures and for what shows."""
    assert messages_of(value) == messages_of([value]) == [message]


def test_a_request_without_parts_says_nothing() -> None:
    """And is not shown as JSON."""
    assert messages_of({"messages": [{"kind": "request", "parts": []}]}) == []


def test_an_empty_holder_does_not_hide_the_rest() -> None:
    """Somebody's own structure is kept as JSON."""
    (message,) = messages_of({"input": {}, "question": "hi"})
    assert "hi" in message["content"]


def test_messages_of_every_dialect_are_known_to_be_some() -> None:
    """What is read is also told from other structures."""
    assert has_messages({"_role": "user", "_content": [{"text": "hey"}]})
    assert not has_messages({"city": "Oslo"})


@pytest.mark.parametrize("pairs", [True, False])
def test_pairs_are_messages_only_where_messages_stand(pairs: bool) -> None:
    """Elsewhere they may be the edges of a graph."""
    found = conversation_in([["human", "hi"], ["ai", "hello"]], pairs=pairs)
    assert (found is not None) is pairs
    assert messages_of([["human", "hi"]]) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "odd", [None, "note", 7, {"type": "web_search_call"}, {"role": "observer"}, [1]]
)
def test_a_conversation_with_an_odd_item_is_one(odd: object) -> None:
    """The item is left out; rows without any message are none."""
    message = {"role": "user", "content": "hi"}
    assert conversation_in([message, odd]) == [message]
    assert conversation_in([odd]) is None


def test_a_message_far_down_a_list_of_rows_makes_no_conversation() -> None:
    """A table of thousands of rows is not searched for one."""
    rows = [{"n": number} for number in range(100)]
    assert conversation_in([*rows, {"role": "user", "content": "hi"}]) is None


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}], True),
        ([{"type": "tool_use", "name": "f", "input": {}}], True),
        ([{"type": "text", "text": "a"}, {"type": "button", "text": "OK"}], False),
        ([{"type": "image"}], False),
        (["text"], False),
        ([], False),
    ],
)
def test_parts_of_a_message_are_told_from_rows(value: list[Any], answer: bool) -> None:
    """By the types that libraries give them."""
    assert are_parts(value) is answer


def test_the_answer_stands_where_the_vendor_puts_it() -> None:
    """Of a stream, too, and of several prompts the first."""
    message = {"role": "assistant", "content": "yes"}
    assert choices_of({"choices": [{"message": message}]}) == [message]
    assert choices_of({"choices": [{"delta": message}]}) == [message]
    assert choices_of({"candidates": [{"content": {"parts": []}}]}) == [{"parts": []}]
    assert choices_of({"generations": [[{"message": message}]]}) == [message]
    assert choices_of({"answer": "yes"}) is None
