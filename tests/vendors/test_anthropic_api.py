"""Anthropic's API, as the stand-in has it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.vendors.reading import sse_events
from tests.vendors.replies import Fault, Reply, ToolCall, Usage
from tests.vendors.server import VendorServer

USED = Usage(1200, 80, cached=900, cache_write=100)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "input_schema": SCHEMA}


def ask(http: httpx.Client, **body: Any) -> Any:
    """Return the answer to a message."""
    asked = {"model": "claude", "max_tokens": 99, "messages": [user("hello you")], **body}
    answer = http.post("/v1/messages", json=asked)
    assert answer.status_code == 200
    return sse_events(answer.text) if body.get("stream") else answer.json()


def user(content: Any) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": content}


def test_a_message_repeats_the_last_user_message(http: httpx.Client) -> None:
    """Tokens are words, those of the system text, too."""
    answer = ask(http, system="be brief")
    assert answer["content"] == [{"type": "text", "text": "You said: hello you"}]
    assert answer["stop_reason"] == "end_turn"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (4, 4)


def test_input_tokens_leave_out_the_cache_s(vendors: VendorServer, http: httpx.Client) -> None:
    """Of 1200, 900 were read from the cache and 100 written to it: 200 are left."""
    vendors.always("claude", Reply("x", usage=USED))
    usage = ask(http)["usage"]
    assert usage["input_tokens"] == 200
    assert usage["cache_read_input_tokens"] == 900
    assert usage["cache_creation_input_tokens"] == 100
    assert usage["cache_creation"]["ephemeral_5m_input_tokens"] == 100
    events = ask(http, stream=True)
    begun = events[0].data["message"]["usage"]
    assert (begun["input_tokens"], begun["output_tokens"]) == (200, 1)
    ended = events[-2].data["usage"]
    assert (ended["cache_read_input_tokens"], ended["output_tokens"]) == (900, 80)


def test_a_stream_is_the_whole_message(vendors: VendorServer, http: httpx.Client) -> None:
    """Thinking, text and tool calls are blocks; each begins, grows and stops."""
    calls = (ToolCall("a", {"x": "one two"}),)
    vendors.always("claude", Reply("good day", calls, reasoning="let me see"))
    whole, events = ask(http), ask(http, stream=True)
    blocks: list[dict[str, Any]] = []
    for event in events:
        assert event.name == event.data["type"]
        if event.name == "content_block_start":
            blocks.append({**event.data["content_block"], "json": ""})
        if event.name == "content_block_delta":
            grow(blocks[event.data["index"]], event.data["delta"])
    thought, said, called = blocks
    assert (thought["thinking"], said["text"]) == ("let me see", "good day")
    assert thought["signature"] == whole["content"][0]["signature"]
    assert json.loads(called["json"]) == whole["content"][2]["input"] == {"x": "one two"}
    assert events[-2].data["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"
    assert events[-1].name == "message_stop"


def grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a piece to a block."""
    for name in ("text", "thinking", "signature"):
        block[name] = block.get(name, "") + delta.get(name, "")
    block["json"] += delta.get("partial_json", "")


def test_an_offered_tool_is_called_once(http: httpx.Client) -> None:
    """When the tool has answered, text follows; its result counts as input."""
    called = ask(http, tools=[TOOL])
    assert called["content"][0]["input"] == {"city": "hello you"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "it rains"}
    spoken = {"role": "assistant", "content": called["content"]}
    after = ask(http, tools=[TOOL], messages=[user("hello you"), spoken, user([result])])
    assert after["content"][0]["text"] == "You said: hello you"
    assert after["usage"]["input_tokens"] == 4


@pytest.mark.parametrize("choice", ["none", "any", "tool"])
def test_the_choice_of_a_tool_is_the_request_s(http: httpx.Client, choice: str) -> None:
    """None of them, any of them, or the one that is named."""
    clock = {"name": "clock", "input_schema": {}}
    content = ask(http, tools=[TOOL, clock], tool_choice={"type": choice, "name": "clock"})
    names = [block.get("name") for block in content["content"]]
    assert names == {"none": [None], "any": ["weather"], "tool": ["clock"]}[choice]


def test_tokens_are_counted_before_a_call(http: httpx.Client) -> None:
    """As many as the call itself will have."""
    asked = {"model": "claude", "messages": [user("a b c")], "system": [{"text": "d"}]}
    answer = http.post("/v1/messages/count_tokens", json=asked)
    assert answer.json() == {"input_tokens": 4}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error")],
)
def test_an_error_has_anthropic_s_words(http: httpx.Client, status: int, kind: str) -> None:
    """Status and type, and the number of the request in header and body."""
    body = {"model": f"fail-{status}", "max_tokens": 1, "messages": [user("x")]}
    answer = http.post("/v1/messages", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["request_id"] == answer.headers["request-id"] == "req_00000001"


def test_an_error_can_come_in_the_stream(vendors: VendorServer, http: httpx.Client) -> None:
    """It is the last event, and its name is that of an error."""
    vendors.answer(Reply(fault=Fault(529), after=3))
    events = ask(http, stream=True)
    assert (len(events), events[-1].name) == (4, "error")
    assert events[-1].data["error"]["type"] == "overloaded_error"
