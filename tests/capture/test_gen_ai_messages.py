"""Messages of the GenAI conventions and of the vendors' own APIs, in one form."""

from __future__ import annotations

import base64
import enum
import hashlib
import json
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.capture.facts import SpanEvent
from waxlocal.capture.gen_ai_messages import (
    event_messages,
    finish_reasons,
    read_messages,
    read_system,
    read_tools,
)

PIXELS = b"\x89PNG" * 30
BASE64 = base64.b64encode(PIXELS).decode()
PNG = {"blob": "image/png", "bytes": 120, "sha256": hashlib.sha256(PIXELS).hexdigest()}

CALL = {"id": "call_1", "name": "lookup", "arguments": {"city": "Bern"}}
CONVERSATION = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    {"role": "assistant", "content": "It rains."},
]
GEN_AI = [
    {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
    {"role": "user", "parts": [{"type": "text", "content": "weather?"}], "name": None},
    {"role": "assistant", "parts": [{"type": "tool_call", **CALL}], "finish_reason": "tool_call"},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "rain"}]},
    {"role": "assistant", "parts": [{"type": "text", "content": "It rains."}]},
]
OPENAI = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "lookup", "arguments": '{"city": "Bern"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "assistant", "content": "It rains.", "refusal": None},
]
RESPONSES = {
    "model": "gpt-4o",
    "instructions": "be brief",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "lookup",
            "arguments": '{"city": "Bern"}',
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "It"},
                {"type": "output_text", "text": " rains."},
            ],
        },
    ],
}
ANTHROPIC = {
    "model": "claude-sonnet-4-5",
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "lookup", "input": {"city": "Bern"}}
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "It rains."}]},
    ],
}
AI_SDK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "tool-call", "toolCallId": "call_1", "toolName": "lookup"}
            | {"input": {"city": "Bern"}}
        ],
    },
    {
        "role": "tool",
        "content": [
            {
                "type": "tool-result",
                "toolCallId": "call_1",
                "output": {"type": "text", "value": "rain"},
            }
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "It rains."}]},
]
GEMINI = {
    "model": "gemini-2.5-pro",
    "config": {"system_instruction": "be brief", "temperature": 0},
    "contents": [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {
            "role": "model",
            "parts": [
                {"function_call": {"id": "call_1", "name": "lookup", "args": {"city": "Bern"}}}
            ],
        },
        {
            "role": "user",
            "parts": [{"function_response": {"id": "call_1", "response": "rain"}}],
        },
        {"role": "model", "parts": [{"text": "It rains."}]},
    ],
}
BEDROCK = {
    "system": [{"text": "be brief"}],
    "messages": [
        {"role": "user", "content": [{"text": "weather?"}]},
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "call_1", "name": "lookup", "input": {"city": "Bern"}}}
            ],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "rain"}]}}],
        },
        {"role": "assistant", "content": [{"text": "It rains."}]},
    ],
}
LANGCHAIN = [
    [
        {"type": "system", "content": "be brief"},
        {"type": "human", "content": "weather?"},
        {
            "type": "ai",
            "content": "",
            "tool_calls": [{"id": "call_1", "name": "lookup", "args": {"city": "Bern"}}],
        },
        {"type": "tool", "content": "rain", "tool_call_id": "call_1"},
        {"lc": 1, "id": ["langchain", "messages", "AIMessage"], "kwargs": {"content": "It rains."}},
    ]
]
SENT = {
    "GenAI": GEN_AI,
    "OpenAI chat": OPENAI,
    "OpenAI responses": RESPONSES,
    "Anthropic": ANTHROPIC,
    "AI SDK": AI_SDK,
    "Gemini": GEMINI,
    "Bedrock": BEDROCK,
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("vendor", SENT)
def test_one_conversation_looks_the_same_whoever_recorded_it(vendor: str, as_json: bool) -> None:
    sent = json.dumps(SENT[vendor]) if as_json else SENT[vendor]
    assert read_messages(sent) == CONVERSATION


def test_the_conversation_of_langchain_is_the_same_but_for_an_empty_text() -> None:
    said = read_messages(LANGCHAIN)
    assert said is not None
    assert said[2].pop("content") == ""
    assert said == [{**message} for message in CONVERSATION[:2]] + [
        {"role": "assistant", "tool_calls": [CALL]},
        *CONVERSATION[3:],
    ]


class Role(str, enum.Enum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass
class TextPart:
    content: str
    type: str = "text"


@dataclass
class ToolCallPart:
    arguments: Any
    name: str
    id: str | None
    type: str = "tool_call"


@dataclass
class BlobPart:
    mime_type: str | None
    modality: str
    content: bytes
    type: str = "blob"


@dataclass
class InputMessage:
    role: Role
    parts: list[Any]
    name: str | None = None


@dataclass
class OutputMessage:
    role: str
    parts: list[Any] = field(default_factory=list)
    finish_reason: str = "stop"


def test_the_typed_objects_of_a_completion_hook_are_read_as_they_are() -> None:
    inputs = [InputMessage(Role.USER, [TextPart("weather?")])]
    outputs = [OutputMessage("assistant", [ToolCallPart({"city": "Bern"}, "lookup", "call_1")])]
    assert read_messages(inputs) == [CONVERSATION[1]]
    assert read_messages(outputs, "assistant") == [CONVERSATION[2]]
    # Objects of a class that nobody knows, too.
    plain = SimpleNamespace(role="user", parts=[SimpleNamespace(type="text", content="weather?")])
    assert read_messages([plain]) == [CONVERSATION[1]]


TEXTS = st.text(max_size=9) | st.sampled_from(["data:image/png;base64,QUJD", "data:"])
PARTS = st.builds(TextPart, TEXTS | st.none() | st.just(7), st.sampled_from(["text", "reasoning"]))
CALLS = st.builds(ToolCallPart, st.just("{}"), st.text(max_size=3), st.none() | st.just("c"))
ROLES = st.sampled_from([*Role, "Human", "model", "user", "", None])
TYPED = st.builds(
    InputMessage, ROLES, st.lists(PARTS | CALLS, max_size=2), st.none() | st.just("ada")
)


@given(st.lists(TYPED, min_size=1, max_size=4))
def test_typed_messages_are_read_as_the_same_ones_in_json(sent: list[InputMessage]) -> None:
    assert read_messages(sent) == read_messages([asdict(message) for message in sent])


def test_a_binary_part_is_its_type_size_and_hash() -> None:
    image = BlobPart("image/png", "image", PIXELS)
    message = InputMessage(Role.USER, [TextPart("what is this?"), image])
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "blob", "modality": "image", **PNG},
    ]
    assert read_messages([message]) == [{"role": "user", "content": parts}]
    as_json = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": BASE64}
    sent = {"role": "user", "parts": [{"type": "text", "content": "what is this?"}, as_json]}
    assert read_messages([sent]) == [{"role": "user", "content": parts}]


def test_a_binary_part_stays_when_asked_for() -> None:
    as_json = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": BASE64}
    sent = [{"role": "user", "parts": [as_json]}]
    assert read_messages(sent, keep_blobs=True) == [{"role": "user", "content": [as_json]}]
    image = BlobPart("image/png", "image", PIXELS)
    assert read_messages([InputMessage(Role.USER, [image])], keep_blobs=True) == (
        [{"role": "user", "content": [as_json]}]
    )


def test_an_image_of_any_vendor_keeps_no_base64() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{BASE64}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
        {"inline_data": {"mime_type": "image/png", "data": BASE64}},
        {"type": "file", "mediaType": "image/png", "data": BASE64},
    ]
    said = read_messages([{"role": "user", "content": parts}])
    text = json.dumps(said)
    assert BASE64 not in text
    assert text.count(PNG["sha256"]) == len(parts)


def test_a_file_or_an_address_stays_what_it_is() -> None:
    parts = [
        {"type": "uri", "modality": "image", "mime_type": "image/png", "uri": "https://x.test/a"},
        {"type": "file", "modality": "document", "mime_type": None, "file_id": "f1"},
    ]
    assert read_messages([{"role": "user", "parts": parts}]) == [{"role": "user", "content": parts}]


def test_reasoning_stands_beside_the_answer() -> None:
    said = [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Bern, so rain."},
                {"type": "text", "content": "It rains."},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Bern, so rain."},
                {"type": "text", "text": "It rains."},
            ],
        },
        {"role": "assistant", "content": "It rains.", "reasoning_content": "Bern, so rain."},
        {
            "role": "model",
            "parts": [{"text": "Bern, so rain.", "thought": True}, {"text": "It rains."}],
        },
    ]
    expected = {"role": "assistant", "content": "It rains.", "reasoning": "Bern, so rain."}
    assert read_messages(said) == [expected] * 4


def test_results_of_tools_stand_before_what_is_said_beside_them() -> None:
    said = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and now?"},
                {"type": "tool_result", "tool_use_id": "a", "content": [{"text": "rain"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": {"degrees": 7}},
            ],
        }
    ]
    assert read_messages(said) == [
        {"role": "tool", "content": "rain", "tool_call_id": "a"},
        {"role": "tool", "content": '{"degrees":7}', "tool_call_id": "b"},
        {"role": "user", "content": "and now?"},
    ]


def test_the_result_of_a_tool_may_be_called_result() -> None:
    part = {"type": "tool_call_response", "id": "a", "result": {"degrees": 7}}
    assert read_messages([{"role": "tool", "parts": [part]}]) == [
        {"role": "tool", "content": '{"degrees":7}', "tool_call_id": "a"}
    ]


def test_calls_that_the_provider_runs_itself_stay_parts() -> None:
    part = {"type": "server_tool_call", "id": "s", "name": "search", "server_tool_call": {"q": 1}}
    said = read_messages([{"role": "assistant", "parts": [part]}])
    assert said == [{"role": "assistant", "content": [part]}]


def test_arguments_that_are_not_valid_json_stay_text() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": '{"city": "Be'}}
    said = read_messages([{"role": "assistant", "tool_calls": [call]}])
    assert said == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "name": "f", "arguments": '{"city": "Be'}],
        }
    ]


def test_text_alone_is_a_message_of_the_role_that_is_expected() -> None:
    assert read_messages("hello") == [{"role": "user", "content": "hello"}]
    assert read_messages("42", "assistant") == [{"role": "assistant", "content": "42"}]
    assert read_messages({"city": "Bern"}) == [{"role": "user", "content": '{"city":"Bern"}'}]
    assert read_messages(["a", "b"]) == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    assert read_messages({"input": [1, 2, 3]}) == [{"role": "user", "content": "[1,2,3]"}]


@pytest.mark.parametrize("nothing", [None, "", [], (), {}, "{}", "[]"])
def test_no_messages_are_unknown(nothing: object) -> None:
    assert read_messages(nothing) is None


def test_system_text_is_one_message() -> None:
    parts = [{"type": "text", "content": "be brief"}, {"type": "text", "content": "be kind"}]
    expected = [{"role": "system", "content": "be brief\nbe kind"}]
    assert read_system(parts) == read_system(json.dumps(parts)) == expected
    assert read_system([TextPart("be brief"), TextPart("be kind")]) == expected
    assert read_system("be brief") == [{"role": "system", "content": "be brief"}]
    assert read_system(None) == read_system([]) == read_system("") == []


def test_tools_are_read_as_a_list_as_json_and_as_a_list_of_json() -> None:
    tool = {"type": "function", "name": "lookup", "parameters": {"type": "object"}}
    assert read_tools([tool]) == read_tools(json.dumps([tool])) == [tool]
    assert read_tools((json.dumps(tool),)) == read_tools(tool) == [tool]
    assert read_tools(None) is read_tools("") is read_tools([]) is None


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        (("stop",), ["stop"]),
        (["stop", "length"], ["stop", "length"]),
        ('["tool_calls"]', ["tool_calls"]),
        ("end_turn", ["end_turn"]),
        ("", []),
        (None, []),
        ([None, 3, ""], []),
    ],
)
def test_finish_reasons_come_in_three_forms(value: object, reasons: list[str]) -> None:
    assert finish_reasons(value) == reasons


def test_the_events_of_each_message_make_a_conversation() -> None:
    call = {"id": "call_1", "type": "function"}
    function = {"name": "lookup", "arguments": '{"city": "Bern"}'}
    events = [
        SpanEvent("gen_ai.system.message", {"content": "be brief"}),
        SpanEvent("gen_ai.user.message", {"content": "weather?"}),
        SpanEvent(
            "gen_ai.assistant.message", {"tool_calls": json.dumps([{**call, "function": function}])}
        ),
        SpanEvent("gen_ai.tool.message", {"id": "call_1", "content": "rain"}),
        SpanEvent(
            "gen_ai.choice",
            {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": "It rains."})},
        ),
    ]
    assert event_messages(events) == (CONVERSATION[:4], CONVERSATION[4:])


def test_the_one_event_with_all_content_is_read() -> None:
    given = {
        "gen_ai.system_instructions": [{"type": "text", "content": "be brief"}],
        "gen_ai.input.messages": GEN_AI[1:4],
        "gen_ai.output.messages": json.dumps(GEN_AI[4:]),
    }
    events = [SpanEvent("gen_ai.client.inference.operation.details", given)]
    assert event_messages(events) == (CONVERSATION[:4], CONVERSATION[4:])
    assert event_messages([SpanEvent("exception", {})]) == (None, None)


NAMES = st.sampled_from(
    [
        *("role", "parts", "content", "type", "text", "tool_calls", "function", "messages", "lc"),
        *("kwargs", "id", "input", "arguments", "config", "function_call", "toolResult"),
    ]
)
WORDS = st.sampled_from(["user", "ai", "text", "tool_call", "tool_result", "function_call", "blob"])
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(HOSTILE)
def test_any_json_is_messages_or_nothing(value: Any) -> None:
    for sent in (value, json.dumps(value)):
        for message in read_messages(sent) or ():
            assert isinstance(message["role"], str)
            assert message["content"] is None or isinstance(message["content"], str | list)
        read_system(sent)
        read_tools(sent)
        finish_reasons(sent)
        event_messages([SpanEvent("gen_ai.choice", {"message": sent, "content": value})])


def test_the_name_of_a_tool_s_message_makes_no_second_message() -> None:
    result = {"type": "tool_call_response", "id": "c-1", "response": "sunny"}
    sent = [{"role": "tool", "name": "weather", "parts": [result]}]
    assert read_messages(sent) == [{"role": "tool", "content": "sunny", "tool_call_id": "c-1"}]
