"""What a test tells the stand-in to answer, it answers."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.tools.patience import PATIENCE_S
from tests.vendors.answers import example
from tests.vendors.reading import sse_events
from tests.vendors.replies import Fault, Reply, Usage
from tests.vendors.server import VendorServer

CHAT = "/v1/chat/completions"
# The streams of all vendors: path, body, and how many chunks `You said: hello` has.
STREAMS = [
    (CHAT, {"messages": [{"role": "user", "content": "hello"}], "stream": True}, 6),
    ("/v1/responses", {"input": "hello", "stream": True}, 11),
    ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "stream": True}, 9),
    (
        "/v1beta/models/m:streamGenerateContent",
        {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
        3,
    ),
    (
        "/model/m/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "hello"}]}]},
        7,
    ),
]
every_stream = pytest.mark.parametrize(
    ("path", "body", "chunks"), STREAMS, ids=["chat", "responses", "anthropic", "google", "bedrock"]
)


def asking(model: str = "m", **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


def said(answer: httpx.Response) -> str:
    """Return the text of a chat completion."""
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_replies_are_given_in_order(vendors: VendorServer, http: httpx.Client) -> None:
    """Those for a model wait for it; when none is left, the usual answer comes."""
    vendors.answer(Reply("for b"), model="b")
    vendors.answer(Reply("first"), Reply("second"))
    asked = ["a", "a", "b", "a"]
    answers = [said(http.post(CHAT, json=asking(model))) for model in asked]
    assert answers == ["first", "second", "for b", "You said: hello"]
    assert vendors.unasked == 0


def test_a_model_can_have_its_own_answer(vendors: VendorServer, http: httpx.Client) -> None:
    """Each time, except when a reply is queued."""
    vendors.always("a", Reply("always"))
    vendors.answer(Reply("once"))
    assert vendors.unasked == 1
    answers = [said(http.post(CHAT, json=asking("a"))) for _ in range(3)]
    assert answers == ["once", "always", "always"]


def test_an_answer_can_name_another_model_and_id(vendors: VendorServer, http: httpx.Client) -> None:
    """As vendors do, who answer with the dated name of the one that was asked for."""
    vendors.answer(Reply(model="a-2026-01-01", response_id="7", finish="length"))
    answer = http.post(CHAT, json=asking("a")).json()
    assert (answer["id"], answer["model"]) == ("7", "a-2026-01-01")
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("raw", [{"tokens": "many"}, {}], ids=["unknown", "none"])
def test_a_usage_can_have_any_form(
    vendors: VendorServer, http: httpx.Client, raw: dict[str, Any]
) -> None:
    """One that nobody knows, or none at all."""
    vendors.answer(Reply(usage=Usage(1, 1), raw_usage=raw))
    answer = http.post(CHAT, json=asking()).json()
    assert answer.get("usage") == (raw or None)


def test_a_fault_can_have_its_own_words_and_headers(
    vendors: VendorServer, http: httpx.Client
) -> None:
    """Such as when to try again."""
    vendors.answer(Reply(fault=Fault(429, "slower", "tokens", {"retry-after": "7"})))
    answer = http.post(CHAT, json=asking())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["message"] == "slower"
    assert answer.json()["error"]["type"] == "tokens"


@every_stream
def test_a_stream_brings_its_chunks(
    vendors: VendorServer, http: httpx.Client, path: str, body: dict[str, Any], chunks: int
) -> None:
    """Each is counted."""
    assert http.post(path, json={"model": "m", **body}).status_code == 200
    vendors.wait_for(answered=1)
    counts = vendors.counts()
    assert (counts["chunks"], counts["answered"], counts["received"]) == (chunks, 1, 1)


@every_stream
@pytest.mark.parametrize("after", [0, 2, 99])
def test_a_stream_breaks_after_so_many_chunks(
    vendors: VendorServer,
    http: httpx.Client,
    path: str,
    body: dict[str, Any],
    chunks: int,
    after: int,
) -> None:
    """The end of the body is missing; with more than there are, nothing else is."""
    vendors.answer(Reply(breaks_after=after))
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(path, json={"model": "m", **body})
    vendors.wait_for(broken=1)
    assert vendors.counts().get("chunks", 0) == min(after, chunks)


def test_a_connection_can_be_reset(vendors: VendorServer, http: httpx.Client) -> None:
    """That is another error than an end which comes too early."""
    vendors.answer(Reply(breaks_after=2, reset=True))
    with pytest.raises(httpx.ReadError):
        http.post(CHAT, json=asking(stream=True))


def test_an_answer_in_one_piece_breaks_in_its_middle(
    vendors: VendorServer, http: httpx.Client
) -> None:
    """The headers have come, and half of the body."""
    vendors.answer(Reply(breaks_after=0))
    with http.stream("POST", CHAT, json=asking()) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    vendors.wait_for(broken=1)


@every_stream
def test_a_stream_hangs_until_it_is_released(
    vendors: VendorServer, http: httpx.Client, path: str, body: dict[str, Any], chunks: int
) -> None:
    """The chunks before that have come; the others come afterwards."""
    vendors.answer(Reply(hangs_after=2))
    with http.stream("POST", path, json={"model": "m", **body}) as answer:
        vendors.wait_for(hanging=1, chunks=2)
        assert vendors.counts().get("answered", 0) == 0
        vendors.release()
        answer.read()
    assert vendors.counts()["chunks"] == chunks
    assert vendors.counts()["hanging"] == 0


def test_an_answer_in_one_piece_hangs_before_it(vendors: VendorServer) -> None:
    """The client waits for the headers."""
    answers: list[httpx.Response] = []
    url, body = f"{vendors.url}{CHAT}", asking("hang-0")
    client = threading.Thread(
        target=lambda: answers.append(httpx.post(url, json=body, timeout=PATIENCE_S))
    )
    client.start()
    vendors.wait_for(hanging=1)
    assert answers == []
    vendors.release()
    client.join()
    assert said(answers[0]) == "You said: hello"


def test_a_client_that_leaves_a_stream_is_noticed(
    vendors: VendorServer, http: httpx.Client
) -> None:
    """It no longer hangs, and the rest of the stream is not sent."""
    vendors.answer(Reply(hangs_after=2))
    with http.stream("POST", CHAT, json=asking(stream=True)):
        vendors.wait_for(hanging=1)
    vendors.wait_for(left=1)
    assert vendors.counts()["hanging"] == 0
    assert vendors.counts()["chunks"] == 2


def test_a_client_can_leave_between_slow_chunks(vendors: VendorServer, http: httpx.Client) -> None:
    """The stand-in does not sleep on for it."""
    vendors.answer(Reply(between_s=PATIENCE_S * 10))
    with http.stream("POST", CHAT, json=asking(stream=True)):
        vendors.wait_for(chunks=1)
    vendors.wait_for(left=1)
    assert vendors.counts()["chunks"] == 1


def test_delays_are_the_reply_s(vendors: VendorServer, http: httpx.Client) -> None:
    """One before the answer, one between each two chunks."""
    vendors.answer(Reply(before_s=0.03))
    assert http.post(CHAT, json=asking()).elapsed.total_seconds() >= 0.03
    with http.stream("POST", CHAT, json=asking("slow-10", stream=True)) as answer:
        answer.read()
    assert len(sse_events(answer.text)) == 6
    assert answer.elapsed.total_seconds() >= 5 * 0.01


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_s_name_says_what_happens(
    vendors: VendorServer, http: httpx.Client, stream: bool
) -> None:
    """For programs that can script nothing; a vendor's name may stand before it."""
    assert http.post(CHAT, json=asking("fail-429", stream=stream)).status_code == 429
    assert http.post(CHAT, json=asking("openai/fail-503", stream=stream)).status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(CHAT, json=asking("break-3", stream=stream))
    usage = http.post(CHAT, json=asking("cached-900")).json()["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (1000, 900)


def test_faults_and_answers_follow_each_other(vendors: VendorServer, http: httpx.Client) -> None:
    """So a client that tries again comes to its answer."""
    vendors.answer(Reply(fault=Fault(500)), Reply(fault=Fault(429)), Reply("at last"))
    answers = [http.post(CHAT, json=asking()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 429, 200]
    assert said(answers[-1]) == "at last"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "hello"),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "number", "minimum": 3}, 3),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 5}, 5),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "string"}}, ["hello"]),
        ({"type": "array"}, []),
        ({}, {}),
        (
            {
                "$defs": {"A": {"type": "object", "properties": {"x": {"type": "string"}}}},
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
            },
            {"a": {"x": "hello"}},
        ),
    ],
    ids=str,
)
def test_an_example_fits_its_schema(schema: dict[str, Any], value: Any) -> None:
    """Each text in it is the last that the user said."""
    assert example(schema, "hello") == value
