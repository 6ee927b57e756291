"""The facts of a call and of everything else, from spans that real instrumentations emitted."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.read_spans import SPANS, START_NS, every_span, spans_of
from waxlocal.capture import attribute_map as rows
from waxlocal.capture.call_counts import token_counts
from waxlocal.capture.facts import CallFacts, Completion, ReadSpan, SpanEvent, SpanKind
from waxlocal.capture.span_facts import call_facts, other_facts
from waxlocal.capture.span_kinds import span_kind
from waxlocal.token_counts import UNKNOWN, TokenCounts

FAMILIES = ["openinference", "openinference_with_genai", "opentelemetry", "traceloop"]
PROMPT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "what is it?"},
]
ANSWER = "The answer is 42."
CALL = {"id": "call_1", "name": "lookup", "arguments": {"city": "Bern"}}


def call_of(family: str, case: str) -> CallFacts:
    """Return the facts of the instrumentation's span; that of Anthropic's own SDK comes first."""
    return call_facts(spans_of(family, case)[-1])


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    def test_a_chat_has_its_words_its_tokens_and_its_end(self, family: str) -> None:
        call = call_of(family, "chat")
        assert (call.model, call.provider, call.task) == ("gpt-4o", "openai", "chat.completions")
        assert call.tokens == TokenCounts(1200, 80, 1000, None, 30)
        assert (call.messages, call.response) == (PROMPT, ANSWER)
        assert (call.status, call.finish_reason) == ("ok", "stop")
        assert (call.is_streaming, call.ttft_ms) == (False, None)
        assert call.config["temperature"] == 0.2

    def test_a_call_with_tools_says_what_was_offered_and_what_was_asked_for(
        self, family: str
    ) -> None:
        call = call_of(family, "chat tools")
        assert call.tool_calls == [CALL]
        assert call.response is None
        assert call.tools is not None
        (tool,) = call.tools
        assert (tool.get("function", tool))["name"] == "lookup"

    def test_a_stream_without_usage_has_unknown_tokens(self, family: str) -> None:
        call = call_of(family, "chat stream no usage asked")
        assert call.tokens == UNKNOWN
        assert call.is_streaming
        assert call.task == "chat.stream (openai)"
        assert call.response == ANSWER

    def test_a_stream_with_usage_has_it(self, family: str) -> None:
        call = call_of(family, "chat stream with usage")
        assert (call.tokens_in, call.tokens_out, call.cached) == (1200, 80, 1000)

    def test_an_abandoned_stream_is_no_error(self, family: str) -> None:
        call = call_of(family, "chat stream abandoned after one chunk")
        assert (call.status, call.error_type, call.tokens) == ("ok", None, UNKNOWN)
        assert call.response == "The "
        # traceloop gives no sign of it.
        assert call.finish_reason == (None if family == "traceloop" else "abandoned")

    def test_a_failed_call_has_its_error_and_unknown_tokens(self, family: str) -> None:
        call = call_of(family, "chat 429")
        assert call.model == "fail-429"
        assert call.status == "error"
        assert call.error_type in ("openai.RateLimitError", "RateLimitError")
        assert call.error_message == "Error code: 429 - made to fail"
        assert call.tokens == UNKNOWN
        assert (call.messages, call.response) == (PROMPT, None)

    def test_a_response_is_a_call_of_its_own_kind(self, family: str) -> None:
        call = call_of(family, "responses")
        assert call.task == "responses.create"
        assert call.tokens == TokenCounts(1200, 80, 1000, None, 30)
        assert (call.messages, call.response) == (PROMPT[1:], ANSWER)

    def test_an_embedding_has_input_alone(self, family: str) -> None:
        call = call_of(family, "embeddings")
        assert (call.model, call.task) == ("text-embedding-3-small", "embeddings")
        assert (call.tokens_in, call.tokens_out) == (7, None)
        assert call.response is None
        assert "0.2" not in json.dumps(call.attributes)  # the vector

    def test_cached_input_of_anthropic_is_part_of_its_input(self, family: str) -> None:
        for span in spans_of(family, "anthropic"):
            call = call_facts(span)
            assert call.tokens == TokenCounts(1200, 80, 900, 100)
            assert (call.provider, call.task) == ("anthropic", "messages.create")
        assert (call.messages, call.response) == (PROMPT, ANSWER)


@pytest.mark.parametrize(
    ("family", "ttft_ms"),
    [
        ("openinference", 10),
        ("openinference_with_genai", 3),
        ("opentelemetry", 27),
        ("traceloop", 6),
    ],
)
def test_the_time_to_the_first_token_is_told_or_that_of_an_event(family: str, ttft_ms: int) -> None:
    assert call_of(family, "chat stream with usage").ttft_ms == ttft_ms


def test_the_sdk_of_anthropic_says_numbers_and_no_content() -> None:
    own = call_facts(spans_of("opentelemetry", "anthropic create stream")[0])
    assert (own.tokens_in, own.ttft_ms, own.is_streaming) == (1200, 62, True)
    assert (own.messages, own.response, own.finish_reason) == (None, None, "end_turn")
    assert own.response_id == "m1"


def test_the_ai_sdk_has_calls_tools_and_the_whole_around_them() -> None:
    case = "a tool and an answer, then a stream"
    tool, first, _, second, whole, stream, _ = spans_of("ai_sdk", case)
    ran = other_facts(tool)
    assert (ran.kind, ran.name, ran.tool_call_id) == ("tool", "lookup", "call_1")
    assert (ran.input, ran.output) == ({"city": "Bern"}, {"weather": "rain in Bern"})
    asked = call_facts(first)
    assert (asked.provider, asked.tokens_in, asked.cached) == ("openai", 1200, 1000)
    assert (asked.messages, asked.tool_calls) == (PROMPT[1:], [CALL])
    assert asked.tools is not None
    assert asked.tools[0]["name"] == "lookup"
    assert call_facts(second).messages == [
        *PROMPT[1:],
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {
            "role": "tool",
            "content": '{"weather":"rain in Bern"}',
            "tool_call_id": "call_1",
            "name": "lookup",
        },
    ]
    agent = other_facts(whole)
    assert (agent.kind, agent.name) == ("agent", "guide")
    assert agent.input == {"messages": [{"role": "user", "content": "what is it?"}]}
    streamed = call_facts(stream)
    assert (streamed.is_streaming, streamed.ttft_ms, streamed.response) == (True, 69, ANSWER)
    assert rows.session_id(whole.attributes) == "S-9"
    assert rows.user_id(whole.attributes) == "ada"


def test_what_a_completion_hook_was_handed_comes_before_the_attributes() -> None:
    text = SimpleNamespace(type="text", content="from the hook")
    completion = Completion(
        inputs=[SimpleNamespace(role="user", parts=[text])],
        outputs=[SimpleNamespace(role="assistant", parts=[text], finish_reason="stop")],
        system_instruction=[text],
        tool_definitions=[SimpleNamespace(type="function", name="f", parameters=None)],
    )
    call = call_facts(spans_of("opentelemetry", "chat")[0], completion)
    assert call.messages == [
        {"role": "system", "content": "from the hook"},
        {"role": "user", "content": "from the hook"},
    ]
    assert call.response == "from the hook"
    assert call.tools == [{"type": "function", "name": "f", "parameters": None}]


def span(status: str = "ok", **given: Any) -> ReadSpan:
    return ReadSpan("chat", {name.replace("__", "."): value for name, value in given.items()},
                    status=status)  # fmt: skip


def test_input_is_made_whole_where_the_cache_was_counted_beside_it() -> None:
    beside = {
        "input_tokens": 2,
        "output_tokens": 30,
        "cache_read_tokens": 84_562,
        "cache_creation_tokens": 10,
    }
    known = ReadSpan("claude_code.llm_request", beside)
    assert token_counts(known) == TokenCounts(84_574, 30, 84_562, 10)
    by_numbers = ReadSpan("llm_request", beside)
    assert token_counts(by_numbers)[:4] == (84_574, 30, 84_562, 10)
    assert "counted beside the input" in token_counts(by_numbers).note
    bedrock = {
        "llm.token_count.prompt": 2000,
        "llm.token_count.completion": 80,
        "llm.token_count.prompt_details.cache_read": 900,
        "llm.token_count.total": 2980,
    }
    assert token_counts(ReadSpan("converse", bedrock)).tokens_in == 2900
    inclusive = {**bedrock, "llm.token_count.total": 2080}
    assert token_counts(ReadSpan("converse", inclusive)).tokens_in == 2000


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ],
)
def test_cache_writes_are_read_under_both_their_names(name: str) -> None:
    assert token_counts(ReadSpan("chat", {name: 100})).cache_write == 100


def test_cache_writes_of_early_ai_sdks_are_in_the_metadata_of_the_provider() -> None:
    told = json.dumps({"anthropic": {"usage": {"cache_creation_input_tokens": 100}}})
    given_ = {"ai.response.providerMetadata": told, "ai.usage.promptTokens": 1200}
    assert token_counts(ReadSpan("x", given_))[:4] == (1200, None, None, 100)


def test_zeros_of_a_failed_call_are_unknown_and_those_of_a_good_one_are_zero() -> None:
    zeros = {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    assert token_counts(ReadSpan("chat", zeros, status="error")) == UNKNOWN
    assert token_counts(ReadSpan("chat", zeros, status="ok"))[:2] == (0, 0)
    some = {**zeros, "gen_ai.usage.input_tokens": 7}
    assert token_counts(ReadSpan("chat", some, status="error"))[:2] == (7, 0)


def test_a_cost_of_0_for_tokens_is_unknown() -> None:
    used = {"gen_ai.usage.input_tokens": 10}
    assert call_facts(ReadSpan("chat", {**used, "llm.cost.total": 0})).cost is None
    assert call_facts(ReadSpan("chat", {**used, "llm.cost.total": 0.25})).cost == 0.25
    assert call_facts(ReadSpan("chat", {"llm.cost.total": 0})).cost == 0
    details = {"langfuse.observation.cost_details": '{"input": 0.1, "total": 0.3}'}
    assert call_facts(ReadSpan("chat", details)).cost == 0.3


@pytest.mark.parametrize(
    ("given_", "ttft_ms"),
    [
        ({"gen_ai.response.time_to_first_chunk": 0.25}, 250),
        ({"gen_ai.server.time_to_first_token": "0.25"}, 250),
        ({"ai.response.msToFirstChunk": 68.7}, 69),
        ({"ttft_ms": 12}, 12),
        ({"ttft_ms": -5}, None),
        ({"gen_ai.response.time_to_first_chunk": 1e12}, None),
    ],
)
def test_times_to_the_first_token_are_milliseconds(
    given_: dict[str, Any], ttft_ms: int | None
) -> None:
    assert call_facts(ReadSpan("chat", given_)).ttft_ms == ttft_ms


def test_the_type_of_an_error_is_taken_from_its_text_when_nothing_else_says_it() -> None:
    failed = ReadSpan("chat", {}, status="error", status_message="ValueError: a: b")
    call = call_facts(failed)
    assert (call.error_type, call.error_message) == ("ValueError", "a: b")
    other = call_facts(replace(failed, status_message="connection refused: 127.0.0.1"))
    assert (other.error_type, other.error_message) == (None, "connection refused: 127.0.0.1")
    event = SpanEvent("exception", {"exception.type": "x.Y", "exception.message": "no"})
    told = call_facts(replace(failed, status_message="", events=[event]))
    assert (told.error_type, told.error_message) == ("x.Y", "no")


def test_a_call_has_the_name_that_the_original_sdk_gives_it() -> None:
    def task(scope: str, name: str = "chat", **given: str) -> str | None:
        sent = {f"gen_ai.{key.replace('_', '.')}": value for key, value in given.items()}
        return call_facts(ReadSpan(name, sent, scope=scope)).task

    client = "opentelemetry.instrumentation.genai.openai"
    assert task(client, provider_name="azure.ai.openai") == "chat.completions"
    assert task(client, operation_name="text_completion") == "completions"
    assert task("openinference.instrumentation.langchain") == "langchain.llm"
    assert task("openinference.instrumentation.litellm") == "litellm.completion"
    assert task("x", operation_name="generate_content") == "generate_content"
    assert task("x") is None


def test_settings_of_a_call_have_short_names_and_no_content() -> None:
    given_ = {
        "llm.invocation_parameters": json.dumps(
            {"temperature": 0.1, "messages": ["secret"], "model": "m", "seed": 3}
        ),
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ("a", "b"),
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "ai.settings.maxRetries": 2,
        "ai.settings.context.userId": "ada",
        "server.address": "127.0.0.1",
    }
    call = call_facts(ReadSpan("chat", given_))
    assert call.config == {
        "temperature": 0.1,
        "seed": 3,
        "n": 2,
        "stop_sequences": ["a", "b"],
        "maxRetries": 2,
    }
    assert call.attributes == {"server.address": "127.0.0.1"}


def test_no_setting_is_a_key_of_the_program() -> None:
    """litellm takes keys as arguments, also those of a call that goes in place of another one."""
    schema = {"properties": {"key": {"type": "string"}}, "required": ["key"]}
    given_ = {
        "api_key": "sk-1",
        "apiKey": "sk-2",
        "aws_secret_access_key": "sk-3",
        "azure_ad_token": "sk-4",
        "vertex_credentials": {"private": "sk-5"},
        "extra_headers": {"X-Any": "sk-6"},
        "fallbacks": [{"model": "b", "api_key": "sk-7"}],
        "extra_body": {"password": "sk-8", "top_k": 3},
        "max_tokens": 5,
        "response_format": schema,
    }
    call = call_facts(ReadSpan("chat", {"llm.invocation_parameters": json.dumps(given_)}))
    assert call.config == {
        "fallbacks": [{"model": "b"}],
        "extra_body": {"top_k": 3},
        "max_tokens": 5,
        "response_format": schema,
    }


def test_a_prompt_is_found_in_the_whole_input_when_nothing_else_has_it() -> None:
    body = json.dumps({"model": "m", "messages": PROMPT})
    answer = json.dumps(
        {"id": "c9", "choices": [{"message": {"role": "assistant", "content": "42"}}]}
    )
    call = call_facts(ReadSpan("ChatCompletion", {"input.value": body, "output.value": answer}))
    assert (call.messages, call.response, call.response_id) == (PROMPT, "42", "c9")
    plain = call_facts(ReadSpan("x", {"input.value": "hello", "output.value": "hi"}))
    assert (plain.messages, plain.response) == ([{"role": "user", "content": "hello"}], "hi")


def test_content_of_events_is_used_where_attributes_have_none() -> None:
    events = [
        SpanEvent("gen_ai.user.message", {"content": "what is it?"}),
        SpanEvent("gen_ai.choice", {"message": json.dumps({"content": ANSWER})}),
    ]
    call = call_facts(ReadSpan("chat", {"input.value": "other"}, events))
    assert (call.messages, call.response) == (PROMPT[1:], ANSWER)


@pytest.mark.parametrize(
    ("given_", "name", "went_in", "came_out"),
    [
        (
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f"}
            | {"gen_ai.tool.call.arguments": '{"a": 1}', "gen_ai.tool.call.result": "2"},
            "f",
            {"a": 1},
            "2",
        ),
        (
            {"openinference.span.kind": "TOOL", "tool.name": "f", "input.value": '{"a": 1}'}
            | {"output.value": "2"},
            "f",
            {"a": 1},
            "2",
        ),
        (
            {"traceloop.span.kind": "tool", "traceloop.entity.name": "f"}
            | {"traceloop.entity.input": '{"a": 1}', "traceloop.entity.output": "2"},
            "f",
            {"a": 1},
            "2",
        ),
        (
            {"openinference.span.kind": "RETRIEVER", "input.value": "bern"}
            | {"retrieval.documents.0.document.id": "d"},
            "search",
            "bern",
            [{"id": "d"}],
        ),
        (
            {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.query.text": "bern"}
            | {"gen_ai.retrieval.documents": '[{"id": "d"}]'},
            "search",
            "bern",
            [{"id": "d"}],
        ),
    ],
)
def test_what_is_not_a_call_has_a_name_and_what_went_in_and_out(
    given_: dict[str, Any], name: str, went_in: object, came_out: object
) -> None:
    found = other_facts(ReadSpan("search", given_))
    assert (found.name, found.input, found.output) == (name, went_in, came_out)


def test_at_most_128_attributes_are_kept() -> None:
    many = {f"my.{n}": n for n in range(500)}
    assert len(other_facts(ReadSpan("x", many)).attributes) == 128


def test_a_megabyte_of_base64_leaves_its_size_and_hash() -> None:
    url = "data:image/png;base64," + "QUJD" * 300_000
    sent = [{"role": "user", "parts": [{"type": "image_url", "image_url": {"url": url}}]}]
    given_ = {"gen_ai.input.messages": json.dumps(sent)}
    text = json.dumps(call_facts(ReadSpan("chat", given_)).messages)
    assert len(text) < 500
    assert '"bytes": 900000' in text
    kept = json.dumps(call_facts(ReadSpan("chat", given_), keep_blobs=True).messages)
    assert url in kept


def test_the_spans_are_all_of_a_kind_that_is_known() -> None:
    spans = every_span()
    assert len(spans) == 4 * 12 + 7 + 21
    for what, sent in spans:
        assert span_kind(sent.attributes, name=sent.name) != SpanKind.OTHER, what
    assert (SPANS / "ai_sdk.json").exists()
    assert START_NS


KEYS = st.sampled_from(
    sorted(
        {name for _, sent in every_span() for name in sent.attributes}
        | {
            source if isinstance(source, str) else source[0]
            for row in vars(rows).values()
            if isinstance(row, tuple)
            for source in row
        }
        | {"gen_ai.prompt", "gen_ai.completion", "langfuse.observation.output"}
    )
)
MEMBERS = st.sampled_from(["choices", "message", "content", "role", "parts", "id"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary()
    | st.sampled_from(["[]", "{}", '{"choices": [[1]]}', '[{"role": 5}]', '{"data": 1}']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(MEMBERS, inner),
    max_leaves=5,
)  # fmt: skip
STATUS = st.sampled_from(["unset", "ok", "error"])


@given(st.dictionaries(KEYS | st.integers(), VALUES, max_size=10), STATUS, st.text(max_size=5))
def test_no_span_raises_and_its_facts_are_plain(
    sent: dict[Any, Any], status: str, message: str
) -> None:
    events = [SpanEvent(name, sent) for name in ("exception", "gen_ai.choice", *rows.TTFT_EVENTS)]
    some = ReadSpan("x", sent, events, status=status, status_message=message)
    call = call_facts(some)
    for count in call.tokens[:5]:
        assert count is None or count >= 0
    json.dumps([call.messages, call.tools, call.tool_calls, call.config, call.attributes])
    for kind in ("agent", "tool", "retriever", "chain", "other"):
        found = other_facts(some, kind)
        json.dumps([found.input, found.output, found.attributes])


class Stubborn:
    """A value of a program that answers no question, as an array of numpy answers none on truth."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    def __eq__(self, _other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_live_objects_and_circles_do_not_raise() -> None:
    circle: list[Any] = [{"role": "user"}]
    circle[0]["parts"] = circle
    names = {name for _, sent in every_span() for name in sent.attributes} | set(rows.READ_KEYS)
    for value in (Stubborn(), circle, [Stubborn()], {"type": Stubborn()}, {1: {2: circle}}):
        handed = Completion(value, value, value, value)
        event = SpanEvent("gen_ai.choice", {"m": value})
        sent = ReadSpan("x", dict.fromkeys(names, value), [event])
        for completion in (None, handed):
            call = call_facts(sent, completion)
            json.dumps([call.messages, call.tools, call.tool_calls, call.config, call.attributes])
        json.dumps(other_facts(sent, "tool").output)
        span_kind(sent.attributes)


@given(st.dictionaries(KEYS, st.text(max_size=8).map(json.dumps) | st.text(max_size=8)))
def test_attributes_of_text_alone_do_not_raise(sent: dict[str, str]) -> None:
    call_facts(ReadSpan("x", sent))
    other_facts(ReadSpan("x", sent))


@pytest.mark.parametrize("choices", [None, 1, 2])
def test_texts_of_an_answer_are_choices_only_where_several_were_asked_for(
    choices: int | None,
) -> None:
    """Else they are its parts: OpenAI's responses have a message, a search, and a message again."""
    said = [
        {"role": "assistant", "parts": [{"type": "text", "content": text}]}
        for text in ("let me look", "it is 5")
    ]
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": json.dumps(said),
    }
    if choices is not None:
        attributes["gen_ai.request.choice.count"] = choices
    call = call_facts(replace(spans_of("opentelemetry", "chat")[-1], attributes=attributes))
    assert call.response == "let me look"
    assert call.other_answers == (["it is 5"] if choices == 2 else None)
