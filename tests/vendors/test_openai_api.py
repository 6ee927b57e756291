"""OpenAI's API, as the stand-in has it."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx
import pytest

from tests.vendors.reading import sse_events
from tests.vendors.replies import Fault, Reply, ToolCall, Usage
from tests.vendors.server import VendorServer

ASKED = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what is it?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
USED = Usage(1200, 80, cached=900, cache_write=100, reasoning=30, audio_in=5, audio_out=7)


def chat(http: httpx.Client, **body: Any) -> Any:
    """Return the answer to a chat completion."""
    answer = http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": ASKED, **body})
    assert answer.status_code == 200
    return sse_events(answer.text) if body.get("stream") else answer.json()


def respond(http: httpx.Client, **body: Any) -> Any:
    """Return the answer of the responses."""
    answer = http.post("/v1/responses", json={"model": "gpt-5", "input": "hello you", **body})
    assert answer.status_code == 200
    return sse_events(answer.text) if body.get("stream") else answer.json()


def text_of(events: list[Any]) -> str:
    """Return the text of a stream of chat completions."""
    deltas = [event.data["choices"][0]["delta"] for event in events[:-1] if event.data["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def test_a_chat_repeats_the_last_user_message_and_counts_words(http: httpx.Client) -> None:
    """Tokens are words: those of all messages, and those of the answer."""
    answer = chat(http)
    assert answer["choices"][0]["message"]["content"] == "You said: what is it?"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert (answer["id"], answer["model"]) == ("chatcmpl-00000001", "gpt-4o")
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 5, 10)


def test_a_scripted_usage_has_all_details(vendors: VendorServer, http: httpx.Client) -> None:
    """Cached, written, reasoning and audio tokens are where OpenAI has them."""
    vendors.answer(Reply(text="yes", usage=USED), Reply(text="yes", usage=USED))
    usage = chat(http)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1200, 80)
    assert usage["prompt_tokens_details"] == {
        "cached_tokens": 900,
        "cache_write_tokens": 100,
        "audio_tokens": 5,
    }
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 30
    assert usage["completion_tokens_details"]["audio_tokens"] == 7
    usage = respond(http)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (1200, 80)
    assert usage["input_tokens_details"] == {"cached_tokens": 900, "cache_write_tokens": 100}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 30}


def test_a_stream_has_usage_only_when_asked_for(http: httpx.Client) -> None:
    """Without `include_usage` no chunk has any; with it, the last one, which has no choice."""
    without, asked = chat(http, stream=True), {"include_usage": True}
    given = chat(http, stream=True, stream_options=asked)
    assert text_of(without) == text_of(given) == "You said: what is it?"
    assert without[-1].data == given[-1].data == "[DONE]"
    assert all("usage" not in event.data for event in without[:-1])
    assert all(event.data["usage"] is None for event in given[:-2])
    assert given[-2].data["choices"] == []
    assert given[-2].data["usage"]["total_tokens"] == 10


def test_an_offered_tool_is_called_once(http: httpx.Client) -> None:
    """Its arguments fit the schema; when the tool has answered, text follows."""
    choice = chat(http, tools=[TOOL])["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(call["function"]["arguments"]) == {"city": "what is it?", "days": 1}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "it rains"}
    after = chat(http, tools=[TOOL], messages=[*ASKED, choice["message"], result])
    assert after["choices"][0]["message"]["content"] == "You said: what is it?"
    assert after["usage"]["prompt_tokens"] == 7


@pytest.mark.parametrize("choice", ["none", "required", {"function": {"name": "clock"}}], ids=str)
def test_the_choice_of_a_tool_is_the_request_s(http: httpx.Client, choice: Any) -> None:
    """None of them, any of them, or the one that is named."""
    clock = {"type": "function", "function": {"name": "clock"}}
    message = chat(http, tools=[TOOL, clock], tool_choice=choice)["choices"][0]["message"]
    called = [call["function"]["name"] for call in message.get("tool_calls", ())]
    assert called == {"none": [], "required": ["weather"]}.get(str(choice), ["clock"])


def test_tool_calls_are_streamed_in_pieces(vendors: VendorServer, http: httpx.Client) -> None:
    """Name and id come first, the arguments after them, each call under its index."""
    calls = (ToolCall("a", {"x": "one two"}), ToolCall("b", {"y": 2}, "call_own"))
    vendors.answer(Reply(tool_calls=calls))
    arguments, ids = ["", ""], ["", ""]
    for event in chat(http, stream=True)[:-1]:
        for piece in event.data["choices"][0]["delta"].get("tool_calls", ()):
            arguments[piece["index"]] += piece["function"]["arguments"]
            ids[piece["index"]] += piece.get("id", "")
    assert [json.loads(text) for text in arguments] == [{"x": "one two"}, {"y": 2}]
    assert ids == ["call_0000000100", "call_own"]


def test_several_choices_are_told_apart(http: httpx.Client) -> None:
    """Each has its index and text, and the output of all is counted."""
    answer = chat(http, n=2)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == ["You said: what is it?", "You said: what is it? (2)"]
    assert answer["usage"]["completion_tokens"] == 10
    indexes = {event.data["choices"][0]["index"] for event in chat(http, n=2, stream=True)[:-1]}
    assert indexes == {0, 1}


def test_a_schema_is_answered_with_a_value_that_fits(http: httpx.Client) -> None:
    """Chat completions and responses name it in different places."""
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": PARAMETERS}}
    said = chat(http, response_format=form)["choices"][0]["message"]["content"]
    assert json.loads(said) == {"city": "what is it?", "days": 1}
    form = {"type": "json_schema", "name": "w", "schema": PARAMETERS}
    output = respond(http, text={"format": form})["output"]
    assert json.loads(output[0]["content"][0]["text"]) == {"city": "hello you", "days": 1}


def test_a_response_repeats_its_request(http: httpx.Client) -> None:
    """What was thought and what is said are items of the output; instructions count as input."""
    answer = respond(http, instructions="be brief", temperature=0.5, model="thinks-3")
    assert [item["type"] for item in answer["output"]] == ["reasoning", "message"]
    assert answer["output"][1]["content"][0]["text"] == "You said: hello you"
    assert (answer["temperature"], answer["instructions"]) == (0.5, "be brief")
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (4, 7)
    assert answer["status"] == "completed"


def test_a_response_calls_a_tool_and_goes_on(http: httpx.Client) -> None:
    """The call is an item, and so is what the tool gave."""
    tools = [{"type": "function", "name": "weather", "parameters": PARAMETERS}]
    call = respond(http, tools=tools)["output"][0]
    assert json.loads(call["arguments"]) == {"city": "hello you", "days": 1}
    asked = {"role": "user", "content": [{"type": "input_text", "text": "hello you"}]}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "it rains"}
    after = respond(http, tools=tools, input=[asked, call, result])
    assert after["output"][0]["type"] == "message"
    assert after["usage"]["input_tokens"] == 4


def test_a_streamed_response_is_the_whole_one(vendors: VendorServer, http: httpx.Client) -> None:
    """Events are numbered and named; the pieces make up what the last one repeats."""
    reply = Reply("good day", (ToolCall("a", {"x": 1}),), reasoning="let me see")
    vendors.answer(reply)
    events = respond(http, stream=True)
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    assert all(event.name == event.data["type"] for event in events)
    deltas: dict[str, str] = {}
    for event in events:
        if event.name.endswith(".delta"):
            deltas[event.name] = deltas.get(event.name, "") + event.data["delta"]
    assert deltas == {
        "response.reasoning_summary_text.delta": "let me see",
        "response.output_text.delta": "good day",
        "response.function_call_arguments.delta": '{"x": 1}',
    }
    assert (events[0].name, events[-1].name) == ("response.created", "response.completed")
    kinds = [item["type"] for item in events[-1].data["response"]["output"]]
    assert kinds == ["reasoning", "message", "function_call"]
    assert events[-1].data["response"]["usage"]["output_tokens"] == 7


def test_a_response_that_is_cut_is_incomplete(vendors: VendorServer, http: httpx.Client) -> None:
    """The reason is beside the status, and the last event of a stream says so."""
    vendors.always("gpt-5", Reply("half", finish="length"))
    answer = respond(http)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert respond(http, stream=True)[-1].name == "response.incomplete"


def test_the_same_text_has_the_same_vector(http: httpx.Client) -> None:
    """Numbers or base64, texts or tokens, as many dimensions as asked for."""
    body = {"model": "e", "input": ["a b", "c"]}
    plain = http.post("/v1/embeddings", json=body).json()
    packed = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    for one, other in zip(plain["data"], packed["data"], strict=True):
        unpacked = struct.unpack("<8f", base64.b64decode(other["embedding"]))
        assert list(unpacked) == one["embedding"]
    tokens = {"model": "e", "input": [[1, 2], [3]], "dimensions": 20}
    assert len(http.post("/v1/embeddings", json=tokens).json()["data"][1]["embedding"]) == 20


def test_models_are_listed(http: httpx.Client) -> None:
    """A model that is asked for by name is there."""
    assert "gpt-4o" in [model["id"] for model in http.get("/v1/models").json()["data"]]
    assert http.get("/v1/models/own").json()["id"] == "own"


def test_a_deployment_on_azure_is_one_of_openai_s(http: httpx.Client) -> None:
    """The path has another beginning, and a version behind it."""
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    answer = http.post(path, json={"model": "gpt-4o", "messages": ASKED})
    assert answer.json()["choices"][0]["message"]["content"] == "You said: what is it?"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "requests"), (500, "server_error")],
)
def test_an_error_has_openai_s_words(http: httpx.Client, status: int, kind: str) -> None:
    """Status, type and message, and the number of the request in its header."""
    body = {"model": f"fail-{status}", "messages": ASKED}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert answer.headers["x-request-id"] == "req_00000001"


def test_an_error_can_come_in_the_stream(vendors: VendorServer, http: httpx.Client) -> None:
    """It is the last event."""
    vendors.answer(Reply(fault=Fault(500, "sorry"), after=2))
    events = chat(http, stream=True)
    assert len(events) == 3
    assert events[-1].data["error"]["message"] == "sorry"


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"model": "m", "messages": [1]}], ids=str)
def test_a_request_of_a_wrong_form_is_refused(http: httpx.Client, body: Any) -> None:
    """As OpenAI does."""
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
