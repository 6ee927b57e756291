"""What was said to a run, and what it answered, in whatever shape its program recorded it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.messages.said import answered, asked, asked_last

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 40}}
TEXT = {"type": "text", "text": "What is it?"}
TOOL_RESULT = {"role": "user", "content": [{"type": "tool_result", "content": "42"}]}
UUID = "3f2b8c1e-93c4-4f8e-9d2a-5b1c7e8f9a01"


def human(text: object) -> dict[str, Any]:
    """Give a message of a person as LangChain's models are stored."""
    return {"content": text, "additional_kwargs": {}, "type": "human", "name": None, "id": UUID}


def ai(text: object, **more: object) -> dict[str, Any]:
    """Give an answer as LangChain's models are stored."""
    return {"content": text, "response_metadata": {}, "type": "ai", "id": f"run-{UUID}", **more}


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ("plain", "plain"),
        ({"message": "hi"}, "hi"),
        ({"user": "bob", "query": "when?"}, "when?"),
        ({"prompt": "p", "message": "m"}, "m"),
        ({"thread_id": UUID, "question": "how?"}, "how?"),
        ({"inputs": {"input": {"messages": [{"role": "user", "content": "deep"}]}}}, "deep"),
        ({"args": ["hi there"], "kwargs": {"session": "x"}}, "hi there"),
        ('{"message": "twice encoded"}', "twice encoded"),
        ({"input": '{"messages": [{"role": "user", "content": "once more"}]}'}, "once more"),
        ({"message": [TEXT, IMAGE], "topic": "ships"}, "What is it?\n[image]"),
    ],
)
def test_words_stand_under_the_names_that_programs_use(inputs: object, text: str) -> None:
    """Also within one another, and in JSON that was stored as text."""
    assert asked(inputs) == text


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hey"}],
        [{"role": "user", "content": [{"type": "input_text", "text": "hey"}]}],
        [{"role": "user", "parts": [{"text": "hey"}]}],
        [{"parts": [{"text": "hey"}]}],
        [{"role": "user", "parts": [{"type": "text", "content": "hey"}]}],
        [human("earlier"), ai("yes?"), human("hey")],
        [[human("hey")]],
        [{"type": "human", "data": human("hey")}],
        [{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"],
          "kwargs": {"content": "hey", "type": "human"}}],
        [{"role": "user", "additional_kwargs": {},
          "blocks": [{"block_type": "text", "text": "hey"}]}],
        [{"kind": "request", "parts": [
            {"part_kind": "system-prompt", "content": "Be kind."},
            {"part_kind": "user-prompt", "content": "hey", "timestamp": "2026-01-31T09:00:00Z"}]}],
        [{"source": "user", "models_usage": None, "content": "hey", "type": "TextMessage"}],
        [{"role": "USER", "message": "hey"}],
        [{"_role": "user", "_content": [{"text": "hey"}], "_name": None, "_meta": {}}],
        [{"role": "user", "items": [{"content_type": "text", "text": "hey"}]}],
        [{"role": "user", "content": "hey"}, {"role": "assistant", "content": "yes?"}, TOOL_RESULT],
        [{"role": "planner", "content": "I plan."}, {"role": "user", "content": "hey"}],
    ],
    ids=lambda messages: json.dumps(messages)[:60],
)  # fmt: skip
@pytest.mark.parametrize("holder", ["{}", "messages", "input", "state"])
def test_of_a_conversation_the_person_was_last_heard(messages: list[Any], holder: str) -> None:
    """In the forms of OpenAI, Anthropic, Gemini, LangChain, LlamaIndex, Pydantic AI and others."""
    inputs = messages if holder == "{}" else {"next": "agent", holder: messages, "run_id": UUID}
    assert asked(inputs) == "hey"
    assert asked_last(messages) == "hey"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([TEXT, IMAGE], "What is it?\n[image]"),
        ([IMAGE], "[image]"),
        (TEXT, "What is it?"),
        ([{"image": {"format": "png", "source": {"bytes": "iVBO"}}}, {"text": "d"}], "[image]\nd"),
        ([{"type": "input_audio", "input_audio": {"data": "UklGR", "format": "wav"}}], "[audio]"),
        (["Look:", {"url": "https://a.example/b.png", "kind": "image-url"}], "Look:\n[image]"),
        ([{"data": "iVBO", "media_type": "application/pdf", "kind": "binary"}], "[file]"),
        (f"![x]({IMAGE['image_url']['url']}) what?", "![x]([image]) what?"),
    ],
)
def test_images_and_files_are_named(content: object, text: str) -> None:
    """Their base64 says nothing."""
    assert asked({"messages": [{"role": "user", "content": content}]}) == text


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, ""),
        ({"message": ""}, ""),
        ({"thread_id": UUID, "messages": []}, ""),
        ({"messages": [{"role": "system", "content": "Be kind."}], "id": 7}, ""),
        (UUID, UUID),
        (0, "0"),
        ([1, 2], "1, 2"),
        ({"a": 1, "b": ["é", True, None]}, "a: 1, b: é, true"),
        ({"city": "Oslo", "trip": {"days": 3, "guests": ["Ann", "Bo"]}, "checkpoint": UUID},
         "city: Oslo, trip: (days: 3, guests: Ann, Bo)"),
        ({"message": {"a": 1}, "topic": "ships"}, "message: (a: 1), topic: ships"),
        ({"ticket": "My order is late", "request_id": "req_1"}, "ticket: My order is late"),
        ({"image": "iVBORw0KGgo9x2" * 40}, "image: [data]"),
        ([None, None, {"a": 1}, {"b": 2}], "a: 1\nb: 2"),
        ({"bid": "high", "paid": "no", "order_id": 4711, "orderId": "o-1", "ID": "x"},
         "bid: high, paid: no, order_id: 4711"),
        ({"messages": "none"}, "none"),
        ({"message": [{"type": "row", "n": 1}]}, "type: row, n: 1"),
        ([{"role": "manager", "name": "Bob"}], "role: manager, name: Bob"),
    ],
)  # fmt: skip
def test_without_words_values_stand_under_their_names(inputs: object, text: str) -> None:
    """Nothing is guessed to be somebody's words; what only programs read is left out."""
    assert asked(inputs) == text


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"response": "yes"}, "yes"),
        ({"output": "o", "response": "r"}, "r"),
        ({"output": {"answer": "yes", "confidence": 0.9}}, "yes"),
        ({"output": {"n": 1}}, "n: 1"),
        ({"result": 42}, "42"),
        ('{"category": "billing", "urgency": 3}', "category: billing, urgency: 3"),
        ({"response": '{"answer": "yes", "sources": []}'}, "yes"),
        ({"role": "assistant", "content": [{"type": "text", "text": "yes"}]}, "yes"),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, TEXT]},
         "What is it?"),
        ({"result": [{"id": 7, "text": "page"}]}, "text: page"),
        ({"id": "chatcmpl-1", "choices": [{"index": 0, "message": {
            "role": "assistant", "content": "yes", "tool_calls": None}}]}, "yes"),
        ({"id": "resp_1", "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "yes"}]}]}, "yes"),
        ({"candidates": [{"content": {"parts": [{"text": "yes"}], "role": "model"}}]}, "yes"),
        ({"output": {"message": {"role": "assistant", "content": [{"text": "yes"}]}},
          "stopReason": "end_turn"}, "yes"),
        ({"generations": [[{"text": "yes", "type": "ChatGeneration", "message": ai("yes")}]]},
         "yes"),
        ({"messages": [human("hi"), ai("", tool_calls=[{"name": "f", "args": {}, "id": "c"}]),
                       {"content": "42", "type": "tool", "tool_call_id": "c"}, ai("yes")],
          "next": "__end__"}, "yes"),
        ({"response": "yes", "source_nodes": [], "metadata": None}, "yes"),
        ({"kind": "response", "parts": [{"part_kind": "thinking", "content": "hm"},
                                        {"part_kind": "text", "content": "yes"}]}, "yes"),
        ({"messages": [{"role": "assistant", "content": '{"answer": "yes"}'}]}, "yes"),
    ],
)  # fmt: skip
def test_an_answer_is_what_the_result_says(result: object, text: str) -> None:
    """Text, structured output, the response of a vendor, or the last state of a graph."""
    assert answered(result) == text


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ([{"id": "1", "name": "book", "arguments": {"room": "é"}}], 'calls book({"room": "é"})'),
        ([{"function": {"name": "book", "arguments": "{}"}}], "calls book({})"),
        ([{"name": "look", "input": {}}, {"name": "take"}], "calls look({})\ncalls take"),
        ("none", "tool_calls: none"),
    ],
)
def test_an_answer_that_asks_for_tools_says_which(calls: object, text: str) -> None:
    """It has no words of its own."""
    assert answered({"tool_calls": calls}) == text


USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}
BASE64 = "iVBORw0KGgo9x2" * 40


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"inp": {"messages": [["user", "Hi"]]}}, "Hi"),
        ({"data": {"messages": [USER]}}, "Hi"),
        ({"newMessage": {"role": "user", "parts": [{"text": "Hi"}]}, "appName": "app"}, "Hi"),
        ({"transcript": [{"role": "agent", "content": "yes"}, USER], "call_id": "x"}, "Hi"),
        ({"history": [USER], "current_message": "Now?"}, "Now?"),
        ({"event": {"body": '{"message": "Hi"}', "headers": {"a": 1}}}, "Hi"),
        ({"jsonrpc": "2.0", "params": {"message": {"role": "user", "parts": [{"text": "Hi"}]}}},
         "Hi"),
        ({"messages": [{"type": "user", "message": USER}]}, "Hi"),
        ({"messages": [{"role": "user", "content": "old"}, ASSISTANT,
                       {"role": "user", "content": ""}]}, ""),
        ({"message": "   ", "question": "Real?"}, "Real?"),
        ({"args": [7], "kwargs": {"question": "hi"}}, "hi"),
        ({"question": "How?", "tool_calls": [{"name": "f", "args": {}}]}, "How?"),
        ([{"role": "user", "content": {"city": "Oslo"}}], "city: Oslo"),
        ({"prompt": "You are a helpful bot.", "input": "Hi"}, "Hi"),
        *(([*odd, USER], "Hi") for odd in (
            [None], ["be nice"], [{"type": "remove"}], [{"type": "web_search_call"}],
            [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}],
            [{"role": "assistant", "refusal": "no"}], [{"role": "assistant", "audio": {"id": "a"}}],
        )),
    ],
)  # fmt: skip
def test_words_are_found_in_whatever_holds_them(inputs: object, text: str) -> None:
    """Under unusual names, within one another, and among items that are no messages."""
    assert asked(inputs) == text


@pytest.mark.parametrize("typed", ['{"text": "bug", "line": 5}', "[1, 2, 3]", '{"query": 1}'])
@pytest.mark.parametrize("holder", ["message", "question", "messages"])
def test_json_that_a_person_typed_is_what_was_said(typed: str, holder: str) -> None:
    """Their words are not read as a structure."""
    said: object = [{"role": "user", "content": typed}] if holder == "messages" else typed
    assert asked({holder: said}) == typed


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ([{"agent": {"messages": [ai("Yo")]}}], "Yo"),
        ({"llm": {"replies": [ASSISTANT]}}, "Yo"),
        ({"chat_message": ASSISTANT}, "Yo"),
        ({"events": [{"author": "user", "content": {"role": "user", "parts": [{"text": "Q"}]}},
                     {"author": "a", "content": {"role": "model", "parts": [{"text": "Yo"}]}}]},
         "Yo"),
        ({"content": [{"type": "text", "text": "Yo"}], "isError": False}, "Yo"),
        ([ASSISTANT, {"input_tokens": 1}], "Yo"),
        ({"message": "Q", "messages": [USER, ASSISTANT]}, "Yo"),
        ({"messages": [USER, ASSISTANT, {"role": "user", "content": "Q2"}]}, ""),
        ([{"type": "AIMessageChunk", "content": piece} for piece in ("Hel", "lo")], "Hello"),
        ({"object": "response", "instructions": "Be kind.", "output": [
            {"type": "web_search_call", "status": "completed"},
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "Yo"}]}]}, "Yo"),
        ({"choices": [{"index": 0, "message": {
            "role": "assistant", "content": None, "refusal": "No."}}], "model": "m"}, "No."),
        ({"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}]}, ""),
        ({"statusCode": 200, "body": '{"answer": "yes"}'}, "yes"),
        ([{"type": "tool_use", "id": "x", "name": "w", "input": {"c": 1}}], 'calls w({"c": 1})'),
        ([{"type": "reasoning", "text": "secret"}, {"type": "text", "text": "Hi"}], "Hi"),
        ({"contents": [], "candidates": [{"content": {"parts": [
            {"text": "Hi", "function_call": None, "inline_data": None}]}}]}, "Hi"),
        ({"answer": "yes", "tool_calls": [{"name": "search", "args": {"q": 1}}]}, "yes"),
        ([human("Q"), {"type": "AIMessageChunk", "content": "Let me look."},
          {"type": "tool", "content": "5", "tool_call_id": "c"},
          {"type": "AIMessageChunk", "content": "It is "},
          {"type": "AIMessageChunk", "content": "5."}], "It is 5."),
        ({"role": "assistant", "content": {"answer": "x"}}, "x"),
        # An answer that is no text is the answer, and not what stands beside it.
        ({"answer": False, "message": "Is it open?"}, "false"),
        ({"output": 118, "state": "success"}, "118"),
        ({"response": {"intent": "refund"}, "message": "I want my money"}, "intent: refund"),
        ({"message": "Is it open?", "reply_text": "No"}, "message: Is it open?, reply_text: No"),
        ('{"sentiment": "neg", "text": "I hate it"}', "sentiment: neg, text: I hate it"),
        ({"question": "2+2", "choices": ["3", "4"], "answer": 1}, "1"),
        ({"candidates": [{"name": "Ada", "text": "Great"}]}, "candidates: name: Ada, text: Great"),
        ({"tool_calls": [{"name": "up", "args": {"data": BASE64}}]},
         'calls up({"data": "[data]"})'),
    ],
)  # fmt: skip
def test_answers_are_found_in_whatever_holds_them(result: object, text: str) -> None:
    """And nothing that stands beside an answer is taken for one."""
    assert answered(result) == text


@pytest.mark.parametrize(
    "value",
    ["claude-3-5-sonnet-20241022", "gpt-4o-mini-2024-07-18", "quarterly_report_2024_final",
     "order-12345678901234", "Donaudampfschifffahrt2024", "feature-123-add-login-page"],
)  # fmt: skip
def test_what_people_write_is_no_id(value: str) -> None:
    """Names of models, branches and reports have numbers, too."""
    assert asked({"v": value}) == f"v: {value}"


@pytest.mark.parametrize(
    "value",
    [UUID, UUID.replace("-", ""), "chatcmpl-9f8s7df98s7dfAb3", "msg_01XFDUDYJgAACzvnptvVoYEL"],
)  # fmt: skip
def test_ids_and_keys_are_not_shown(value: str) -> None:
    """Neither by their form nor by their names."""
    assert asked({"v": value, "userId": "u1", "api_key": "sk-1", "n": 1}) == "n: 1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"type": "system", "text": "disk full"}, "type: system, text: disk full"),
        ({"type": "tool", "content": "x"}, "type: tool, content: x"),
        ([["user", "api"], ["system", "db"]], "user, api\nsystem, db"),
        ({"state": "open", "ticket": "late"}, "state: open, ticket: late"),
        ([{"type": "text", "text": "Label"}, {"type": "button", "text": "OK"}],
         "type: text, text: Label\ntype: button, text: OK"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_message_is_none(value: object, text: str) -> None:
    """Rows of a log, edges of a graph, elements of a page."""
    assert asked(value) == text


def test_long_values_are_cut() -> None:
    """Nobody reads a table in a list, and each list would wait for all of it."""
    said = asked([{"name": f"row {number}", "value": number} for number in range(100_000)])
    assert said.startswith("name: row 0, value: 0\nname: row 1, value: 1\n")
    assert said.endswith("…")
    assert len(said) < 4_100
    assert len(asked({"x" * 1_000_000: 1})) < 4_100


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "type", "messages", "message", "kind", "kwargs", "lc",
                 "id", "source", "_role", "_content", "choices", "output", "text", "part_kind",
                 "tool_calls", "function", "name", "arguments", "data", "blocks"]
            ) | st.text(max_size=3),
            inner | st.sampled_from(["user", "human", "ai", "request", "function_call"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
def test_any_value_has_words_or_none(value: Any) -> None:
    """Whatever another program wrote, both sides are text, and reading raises nothing."""
    assert isinstance(asked(value), str)
    assert isinstance(answered(value), str)
    assert isinstance(asked_last(value), str)


@given(st.text(min_size=1).filter(lambda text: text.lstrip()[:1] not in '{["'))
def test_what_a_person_typed_stays_as_it_is(text: str) -> None:
    """In every place where it may stand."""
    if ";base64," in text or not text.strip():
        return
    for inputs in (
        {"message": text},
        {"messages": [{"role": "user", "content": text}]},
        {"messages": [human(text)]},
        {"contents": [{"role": "user", "parts": [{"text": text}]}]},
    ):
        assert asked(inputs) == text
