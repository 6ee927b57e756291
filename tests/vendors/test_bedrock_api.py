"""Bedrock's runtime, as the stand-in has it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.vendors.reading import aws_events
from tests.vendors.replies import Fault, Reply, ToolCall, Usage
from tests.vendors.server import VendorServer

MODEL = "anthropic.claude-v1%3A0"
HELLO = {"role": "user", "content": [{"text": "hello you"}]}
USED = Usage(1200, 80, cached=900, cache_write=100)
INVOKED = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hello you"}],
}


def ask(http: httpx.Client, call: str = "converse", **body: Any) -> Any:
    """Return the answer of a model."""
    answer = http.post(f"/model/{MODEL}/{call}", json={"messages": [HELLO], **body})
    assert answer.status_code == 200
    return aws_events(answer.content) if "stream" in call else answer.json()


def test_converse_repeats_the_last_user_message(http: httpx.Client) -> None:
    """Tokens are words, those of the system text, too."""
    answer = ask(http, system=[{"text": "be brief"}])
    assert answer["output"]["message"]["content"] == [{"text": "You said: hello you"}]
    assert answer["usage"] == {"inputTokens": 4, "outputTokens": 4, "totalTokens": 8}
    assert answer["stopReason"] == "end_turn"


def test_input_tokens_leave_out_the_cache_s(vendors: VendorServer, http: httpx.Client) -> None:
    """The total has them; it is how a reader can tell."""
    vendors.answer(Reply("x", usage=USED), model="anthropic.claude-v1:0")
    assert ask(http)["usage"] == {
        "inputTokens": 200,
        "outputTokens": 80,
        "totalTokens": 1280,
        "cacheReadInputTokens": 900,
        "cacheWriteInputTokens": 100,
    }


def test_a_stream_is_the_whole_answer(vendors: VendorServer, http: httpx.Client) -> None:
    """Thoughts, text and tool calls are blocks; the usage comes last."""
    vendors.answer(Reply("good day", (ToolCall("a", {"x": 1}, "t"),), reasoning="let me see"))
    events = ask(http, "converse-stream")
    grown = ["", "", ""]
    for event in events:
        if event.name == "contentBlockDelta":
            delta = event.data["delta"]
            thought = delta.get("reasoningContent", {}).get("text", "")
            used = delta.get("toolUse", {}).get("input", "")
            grown[event.data["contentBlockIndex"]] += delta.get("text", "") + thought + used
    assert grown == ["let me see", "good day", '{"x": 1}']
    (begun,) = (event.data["start"] for event in events if event.name == "contentBlockStart")
    assert begun == {"toolUse": {"toolUseId": "t", "name": "a"}}
    assert events[-2].data == {"stopReason": "tool_use"}
    assert events[-1].data["usage"]["outputTokens"] == 7


def test_an_offered_tool_is_called_once(http: httpx.Client) -> None:
    """When the tool has answered, text follows."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    spec = {"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}
    called = ask(http, toolConfig={"tools": [spec]})["output"]["message"]
    assert called["content"][0]["toolUse"]["input"] == {"city": "hello you"}
    result = {"toolResult": {"toolUseId": "t", "content": [{"text": "it rains"}]}}
    messages = [HELLO, called, {"role": "user", "content": [result]}]
    after = ask(http, toolConfig={"tools": [spec]}, messages=messages)
    assert after["output"]["message"]["content"] == [{"text": "You said: hello you"}]
    assert after["usage"]["inputTokens"] == 4


def test_invoke_takes_anthropic_s_messages(http: httpx.Client) -> None:
    """The body is Anthropic's, the tokens are in headers, too."""
    answer = http.post(f"/model/{MODEL}/invoke", json=INVOKED)
    assert answer.json()["content"] == [{"type": "text", "text": "You said: hello you"}]
    assert answer.headers["x-amzn-bedrock-input-token-count"] == "2"
    assert answer.headers["x-amzn-bedrock-output-token-count"] == "4"


def test_invoke_streams_anthropic_s_events(http: httpx.Client) -> None:
    """Each is base64 in a chunk; the last one has the tokens."""
    answer = http.post(f"/model/{MODEL}/invoke-with-response-stream", json=INVOKED)
    chunks = aws_events(answer.content)
    assert {chunk.name for chunk in chunks} == {"chunk"}
    events = [json.loads(base64.b64decode(chunk.data["bytes"])) for chunk in chunks]
    assert events[0]["type"] == "message_start"
    assert events[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 4


def test_invoke_refuses_other_bodies(http: httpx.Client) -> None:
    """The stand-in says that it does not know them."""
    answer = http.post(f"/model/{MODEL}/invoke", json={"inputText": "x"})
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"] == "ValidationException"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ValidationException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
    ],
)
def test_an_error_has_the_name_of_an_exception(http: httpx.Client, status: int, kind: str) -> None:
    """It is in a header."""
    answer = http.post(f"/model/fail-{status}/converse", json={"messages": [HELLO]})
    assert answer.status_code == status
    assert answer.headers["x-amzn-errortype"] == kind


def test_an_error_can_come_in_the_stream(vendors: VendorServer, http: httpx.Client) -> None:
    """It is an exception in place of an event."""
    vendors.answer(Reply(fault=Fault(429, "slower"), after=2))
    events = ask(http, "converse-stream")
    assert events[-1] == ("throttlingException", {"message": "slower"})
    assert len(events) == 3
