"""Google's API, as the stand-in has it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.vendors.reading import sse_events
from tests.vendors.replies import Fault, Reply, ToolCall, Usage
from tests.vendors.server import VendorServer

HELLO = {"role": "user", "parts": [{"text": "hello you"}]}
USED = Usage(1200, 80, cached=900, reasoning=30, audio_in=5)
SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}


def ask(http: httpx.Client, call: str = "generateContent", **body: Any) -> Any:
    """Return the answer of a model."""
    path = f"/v1beta/models/gemini-2.5-flash:{call}"
    answer = http.post(path, json={"contents": [HELLO], **body})
    assert answer.status_code == 200
    return sse_events(answer.text) if call.startswith("stream") else answer.json()


def parts_of(answer: Any) -> list[dict[str, Any]]:
    """Return the parts of the only candidate."""
    found: list[dict[str, Any]] = answer["candidates"][0]["content"]["parts"]
    return found


def test_an_answer_repeats_the_last_user_message(http: httpx.Client) -> None:
    """Tokens are words, those of the instruction, too; what is nothing is left out."""
    answer = ask(http, systemInstruction={"parts": [{"text": "be brief"}]})
    assert parts_of(answer) == [{"text": "You said: hello you"}]
    assert answer["candidates"][0]["finishReason"] == "STOP"
    assert answer["modelVersion"] == "gemini-2.5-flash"
    usage = answer["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"]) == (4, 4)
    assert not {"cachedContentTokenCount", "thoughtsTokenCount"} & usage.keys()


def test_thoughts_are_beside_the_candidates(vendors: VendorServer, http: httpx.Client) -> None:
    """Cached tokens are part of the prompt's; thoughts count for the total alone."""
    vendors.answer(Reply("x", reasoning="a b", usage=USED))
    answer = ask(http)
    assert parts_of(answer) == [{"text": "a b", "thought": True}, {"text": "x"}]
    usage = answer["usageMetadata"]
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (1200, 900)
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (50, 30)
    assert usage["totalTokenCount"] == 1280
    assert {"modality": "AUDIO", "tokenCount": 5} in usage["promptTokensDetails"]


def test_a_stream_comes_word_by_word(http: httpx.Client) -> None:
    """Each chunk has the usage, the last one the reason of the end."""
    chunks = [event.data for event in ask(http, "streamGenerateContent?alt=sse")]
    assert "".join(parts_of(chunk)[0]["text"] for chunk in chunks) == "You said: hello you"
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [*[None] * 3, "STOP"]
    assert all(chunk["usageMetadata"]["totalTokenCount"] == 6 for chunk in chunks)


@pytest.mark.parametrize("name", ["parameters", "parametersJsonSchema", "parameters_json_schema"])
def test_an_offered_function_is_called_once(http: httpx.Client, name: str) -> None:
    """Its schema has several names; when the function has answered, text follows."""
    tools = [{"functionDeclarations": [{"name": "weather", name: SCHEMA}]}]
    (called,) = parts_of(ask(http, tools=tools))
    assert called["functionCall"]["args"] == {"city": "hello you"}
    given = {"functionResponse": {"name": "weather", "response": {"result": "it rains"}}}
    spoken = [HELLO, {"role": "model", "parts": [called]}, {"role": "user", "parts": [given]}]
    after = ask(http, tools=tools, contents=spoken)
    assert parts_of(after) == [{"text": "You said: hello you"}]
    assert after["usageMetadata"]["promptTokenCount"] == 4


def test_scripted_calls_are_parts(vendors: VendorServer, http: httpx.Client) -> None:
    """Streamed or not."""
    vendors.always("gemini-2.5-flash", Reply("so", (ToolCall("a", {"x": 1}, "c"),)))
    called = {"functionCall": {"id": "c", "name": "a", "args": {"x": 1}}}
    assert parts_of(ask(http)) == [{"text": "so"}, called]
    assert parts_of(ask(http, "streamGenerateContent?alt=sse")[-1].data) == [called]


def test_texts_are_embedded_one_by_one_or_several(http: httpx.Client) -> None:
    """The same text has the same vector."""
    content = {"content": {"parts": [{"text": "a b"}]}}
    path = "/v1beta/models/embed"
    one = http.post(f"{path}:embedContent", json=content).json()
    several = http.post(f"{path}:batchEmbedContents", json={"requests": [content] * 2}).json()
    assert several["embeddings"] == [one["embedding"]] * 2
    assert one["usageMetadata"]["promptTokenCount"] == 2


def test_tokens_are_counted_before_a_call(http: httpx.Client) -> None:
    """As many as the call itself will have."""
    assert ask(http, "countTokens") == {"totalTokens": 2}


def test_vertex_has_a_longer_path(http: httpx.Client) -> None:
    """And the same bodies."""
    place = "/v1beta1/projects/p/locations/l/publishers/google"
    answer = http.post(f"{place}/models/gemini:generateContent", json={"contents": [HELLO]})
    assert parts_of(answer.json()) == [{"text": "You said: hello you"}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL")],
)
def test_an_error_has_google_s_words(http: httpx.Client, status: int, kind: str) -> None:
    """Code and status are in the body, too."""
    path = f"/v1beta/models/fail-{status}:generateContent"
    answer = http.post(path, json={"contents": [HELLO]})
    assert answer.status_code == answer.json()["error"]["code"] == status
    assert answer.json()["error"]["status"] == kind


def test_an_error_can_come_in_the_stream(vendors: VendorServer, http: httpx.Client) -> None:
    """It is the last event."""
    vendors.answer(Reply(fault=Fault(503), after=1))
    events = ask(http, "streamGenerateContent?alt=sse")
    assert [event.data.get("error", {}).get("status") for event in events] == [None, "UNAVAILABLE"]
