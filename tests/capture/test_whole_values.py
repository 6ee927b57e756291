"""What only the whole request and the whole response say, of vendors' clients."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.read_spans import spans_of
from waxlocal.capture.facts import CallFacts, ReadSpan
from waxlocal.capture.run_facts import run_facts
from waxlocal.capture.span_facts import call_facts, other_facts
from waxlocal.capture.whole_values import (
    is_repr,
    offered_tools,
    response_in,
    with_counts_of_response,
)
from waxlocal.token_counts import UNKNOWN, TokenCounts

FAMILY = "openinference_vendors"
PROMPT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}]


def span_of(case: str) -> ReadSpan:
    (span,) = spans_of(FAMILY, case)
    return span


def call_of(case: str) -> CallFacts:
    return call_facts(span_of(case))


@pytest.mark.parametrize(
    ("case", "provider"),
    [
        ("groq chat", "groq"),
        ("groq stream", "groq"),
        ("mistral chat", "mistral"),
        ("mistral 429", "mistral"),
        ("ollama tools", "ollama"),
        ("cohere chat", "cohere"),
        ("cohere embeddings", "cohere"),
        ("together stream", "together"),
    ],
)
def test_a_vendors_client_is_a_provider_also_where_a_span_names_none(
    case: str, provider: str
) -> None:
    assert call_of(case).provider == provider


@pytest.mark.parametrize("case", ["groq chat", "mistral chat", "cohere chat"])
def test_a_call_has_what_was_asked_and_answered_and_its_settings(case: str) -> None:
    call = call_of(case)
    assert (call.messages, call.response) == (PROMPT, "You said: hello there")
    assert call.config == {"temperature": 0.3}


def test_how_python_prints_a_stream_is_no_answer() -> None:
    call = call_of("groq stream")
    assert (call.response, call.is_streaming, call.tokens) == (None, True, UNKNOWN)
    assert is_repr("<groq.Stream object at 0x7f1711961610>")
    assert not is_repr("the <b> object at 0x1")


def test_tools_and_ids_that_the_attributes_lack_are_those_of_request_and_response() -> None:
    call = call_of("mistral tools")
    assert call.tools is not None
    assert [tool["function"]["name"] for tool in call.tools] == ["weather"]
    assert call.tool_calls is not None
    (asked,) = call.tool_calls
    assert asked["id"].startswith("call_")
    assert (asked["name"], asked["arguments"]) == ("weather", {"city": "hello there"})


def test_ids_of_other_calls_are_not_taken() -> None:
    span = span_of("mistral tools")
    other = json.loads(span.attributes["output.value"])
    other["choices"][0]["message"]["tool_calls"][0]["function"]["name"] = "another"
    given_ = {**span.attributes, "output.value": json.dumps(other)}
    call = call_facts(replace(span, attributes=given_))
    assert call.tool_calls is not None
    assert [(asked["id"], asked["name"]) for asked in call.tool_calls] == [(None, "weather")]


def test_cached_and_reasoning_tokens_are_those_of_the_response() -> None:
    span = span_of("mistral chat")
    response = json.loads(span.attributes["output.value"])
    response["usage"] = {
        "prompt_tokens": 1200,
        "completion_tokens": 80,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    given_ = {
        **span.attributes,
        "llm.token_count.prompt": 1200,
        "llm.token_count.completion": 80,
        "llm.token_count.total": 1280,
        "output.value": json.dumps(response),
    }
    counts = call_facts(replace(span, attributes=given_)).tokens
    assert counts._replace(details=None, cache_write=None) == TokenCounts(1200, 80, 1000, None, 30)
    # Of another call's usage, nothing is a part of this one's.
    given_["llm.token_count.prompt"] = 1300
    assert call_facts(replace(span, attributes=given_)).cached is None


def test_the_response_of_a_stream_may_be_the_data_of_its_last_event() -> None:
    call = call_of("mistral stream")
    assert (call.tokens_in, call.cached, call.tokens_out) == (1200, 1000, 8)
    assert (call.response, call.response_id) == ("You said", "c1")
    assert call.tool_calls == [{"id": "t1", "name": "weather", "arguments": {"city": "Bern"}}]


@pytest.mark.parametrize("case", ["mistral stream left", "together stream left"])
def test_a_stream_that_was_left_is_abandoned(case: str) -> None:
    call = call_of(case)
    assert (call.status, call.finish_reason, call.tokens) == ("ok", "abandoned", UNKNOWN)
    assert call.response == "You "


@pytest.mark.parametrize("case", ["cohere stream", "vertexai stream"])
def test_a_stream_may_be_known_by_the_name_of_its_method(case: str) -> None:
    call = call_of(case)
    assert call.is_streaming
    assert call.response is not None
    assert call.finish_reason != "abandoned"


def test_thoughts_of_gemini_are_part_of_what_the_call_put_out() -> None:
    call = call_of("vertexai chat")
    assert (call.model, call.provider) == ("gemini-2.5-flash", "google")
    assert (call.tokens_in, call.cached, call.tokens_out) == (1200, 1000, 38)
    assert (call.tokens.reasoning, call.response_id) == (30, "r1")


def test_tools_that_gemini_groups_are_several() -> None:
    tools = call_of("vertexai tools").tools
    assert tools is not None
    assert [tool["name"] for tool in tools] == ["weather"]


def test_the_tokens_of_cohere_are_those_of_its_bill() -> None:
    call = call_of("cohere chat")
    assert (call.tokens_in, call.tokens_out) == (11, 6)
    embedding = call_of("cohere embeddings")
    assert (embedding.tokens_in, embedding.task) == (2, "embeddings")


def test_the_vectors_of_an_embedding_are_no_answer() -> None:
    call = call_of("cohere embeddings")
    assert (call.messages, call.response) == ([{"role": "user", "content": "a b"}], None)


def test_a_reranker_finds_documents() -> None:
    found = other_facts(span_of("cohere rerank"))
    assert (found.kind, found.input) == ("retriever", "q")
    assert found.output == [{"content": "d2", "score": 0.9}]


def test_an_agent_of_googles_kit_answers_with_the_text_of_its_last_event() -> None:
    for case, name in (("google-adk agent", "helper"), ("google-adk invocation", "app")):
        about = run_facts(span_of(case))
        assert (about.agent_name, about.result) == (name, {"response": "it rains"})
        assert about.session_id == "sess-helper"


def test_a_tool_is_named_also_where_only_the_name_of_its_span_says_it() -> None:
    span = span_of("google-adk tool")
    given_ = {key: value for key, value in span.attributes.items() if "name" not in key}
    for sent in (span, replace(span, attributes=given_)):
        assert (other_facts(sent).name, other_facts(sent).input) == ("weather", {"city": "Bern"})


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("usage", "meta", "tools", "billed_units", "prompt_tokens", "x")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(PARTS)
def test_whatever_a_response_is_nothing_raises(value: Any) -> None:
    given_ = {"output.value": json.dumps(value), "input.value": json.dumps(value)}
    response = response_in(given_["output.value"])
    assert isinstance(with_counts_of_response(response, UNKNOWN), TokenCounts)
    assert offered_tools(given_) is None or isinstance(offered_tools(given_), list)
