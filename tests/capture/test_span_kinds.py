"""What kind of work a span stands for, in each vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.read_spans import spans_of
from waxlocal.capture.attribute_map import READ_KEYS
from waxlocal.capture.facts import SpanKind
from waxlocal.capture.span_kinds import DECIDING, span_kind

KINDS = {
    "openinference.span.kind": {
        "llm": ("LLM",),
        "embedding": ("EMBEDDING",),
        "agent": ("AGENT",),
        "chain": ("CHAIN", "PROMPT"),
        "tool": ("TOOL",),
        "retriever": ("RETRIEVER", "RERANKER"),
        "other": ("GUARDRAIL", "EVALUATOR"),
    },
    "gen_ai.operation.name": {
        "llm": (
            "chat",
            "text_completion",
            "generate_content",
            "completion",
            "generate",
            "llm_call",
        ),
        "embedding": ("embeddings",),
        "agent": ("invoke_agent", "invoke_workflow", "create_agent", "agent_call", "user_prompt"),
        "chain": ("agent_step", "plan", "schedule_tool_calls", "execute_event_loop_cycle"),
        "tool": ("execute_tool", "tool_call"),
        "retriever": ("retrieval", "rerank"),
        "other": ("search_memory", "delete_memory_store", "upsert_memory"),
    },
    "langfuse.observation.type": {
        "llm": ("generation",),
        "embedding": ("embedding",),
        "agent": ("agent",),
        "chain": ("span", "chain"),
        "tool": ("tool",),
        "retriever": ("retriever",),
        "other": ("event", "evaluator", "guardrail"),
    },
    "traceloop.span.kind": {"agent": ("workflow", "agent"), "chain": ("task",), "tool": ("tool",)},
    "llm.request.type": {
        "llm": ("chat", "completion"),
        "embedding": ("embedding",),
        "retriever": ("rerank",),
    },
    "ai.operationId": {
        "llm": ("ai.generateText.doGenerate", "ai.streamObject.doStream"),
        "embedding": ("ai.embed.doEmbed", "ai.embedMany.doEmbed"),
        "agent": ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject"),
        "chain": ("ai.embed", "ai.embedMany"),
        "tool": ("ai.toolCall",),
    },
    "langsmith.span.kind": {
        "llm": ("llm",),
        "chain": ("chain", "prompt", "parser"),
        "tool": ("tool",),
        "retriever": ("retriever",),
    },
    "mastra.span.type": {
        "llm": ("model_generation",),
        "agent": ("agent_run",),
        "chain": ("workflow_step",),
        "tool": ("tool_call",),
    },
    "mlflow.spanType": {
        "llm": ("CHAT_MODEL", "LLM", '"CHAT_MODEL"'),
        "embedding": ("EMBEDDING",),
        "agent": ("AGENT",),
        "retriever": ("RETRIEVER",),
    },
    "genkit:metadata:subtype": {"llm": ("model",), "embedding": ("embedder",), "tool": ("tool",)},
}
ROWS = [
    (key, value, kind)
    for key, kinds in KINDS.items()
    for kind, values in kinds.items()
    for value in values
]


@pytest.mark.parametrize(("key", "value", "kind"), ROWS)
def test_each_vocabulary_names_the_kind_with_its_own_key(key: str, value: str, kind: str) -> None:
    assert span_kind({key: value}) == kind


def test_the_first_key_that_answers_decides() -> None:
    both = {"openinference.span.kind": "TOOL", "gen_ai.operation.name": "chat"}
    assert span_kind(both) == SpanKind.TOOL
    assert span_kind({**both, "openinference.span.kind": "UNKNOWN"}) == SpanKind.LLM
    assert span_kind({**both, "openinference.span.kind": 7}) == SpanKind.LLM


def test_the_outermost_chain_of_langsmith_is_an_agent() -> None:
    chain = {"langsmith.span.kind": "chain"}
    assert span_kind(chain, is_root=True) == SpanKind.AGENT
    assert span_kind(chain) == SpanKind.CHAIN
    assert span_kind({"openinference.span.kind": "CHAIN"}, is_root=True) == SpanKind.CHAIN


@pytest.mark.parametrize(
    ("value", "kind"),
    [("llm_request", "llm"), ("interaction", "agent"), ("tool", "tool"), ("hook", "other")],
)
def test_the_spans_of_claude_code_are_known_by_their_name(value: str, kind: str) -> None:
    assert span_kind({"span.type": value}, name=f"claude_code.{value}") == kind
    assert span_kind({"span.type": value}, name="some.other") == SpanKind.OTHER


def test_the_agent_development_kit_is_known_by_what_its_spans_hold() -> None:
    scope = "gcp.vertex.agent"
    assert span_kind({"gcp.vertex.agent.llm_request": "{}"}, scope=scope) == SpanKind.LLM
    assert span_kind({"gcp.vertex.agent.tool_call_args": "{}"}, scope=scope) == SpanKind.TOOL
    assert span_kind({"gcp.vertex.agent.llm_request": "{}"}) == SpanKind.OTHER


def test_a_model_and_its_usage_are_a_call_even_without_a_kind() -> None:
    call = {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 0}
    assert span_kind(call) == SpanKind.LLM
    assert span_kind({"gen_ai.request.model": "gpt-4o"}) == SpanKind.OTHER


@pytest.mark.parametrize("family", ["openinference", "opentelemetry", "traceloop"])
def test_real_spans_are_calls(family: str) -> None:
    for case in ("chat", "chat 429", "responses", "anthropic"):
        for span in spans_of(family, case):
            assert span_kind(span.attributes, name=span.name, scope=span.scope) == SpanKind.LLM
    (embeddings,) = spans_of(family, "embeddings")
    assert span_kind(embeddings.attributes) == SpanKind.EMBEDDING


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([*KINDS, "span.type"]) | st.integers(), VALUES))
def test_any_attributes_are_of_some_kind(attributes: dict[Any, Any]) -> None:
    kinds = {value for name, value in vars(SpanKind).items() if name.isupper()}
    assert span_kind(attributes, name="claude_code.x", scope="gcp.vertex.agent") in kinds


SAID = st.sampled_from(sorted({value for _, value, _ in ROWS} | {"tool", "{}", "7"}))


@given(
    st.dictionaries(st.sampled_from(sorted(DECIDING | READ_KEYS | {"span.type"})), SAID),
    st.sampled_from(("claude_code.x", "")),
    st.booleans(),
)
def test_what_decides_nothing_can_be_left_out(
    attributes: dict[str, str], name: str, is_root: bool
) -> None:
    """The kind of a span is the same without all attributes but those of `DECIDING`."""
    deciding = {key: value for key, value in attributes.items() if key in DECIDING}
    place: Any = {"name": name, "scope": "gcp.vertex.agent", "is_root": is_root}
    assert span_kind(attributes, **place) == span_kind(deciding, **place)


@pytest.mark.parametrize(
    ("component", "kind"),
    [
        ("OpenAIChatGenerator.run", "llm"),
        ("AnthropicChatGenerator.run_async", "llm"),
        ("OpenAITextEmbedder.run", "embedding"),
        ("InMemoryBM25Retriever.run", "other"),
    ],
)
def test_a_component_of_haystack_is_known_by_its_name_at_its_start(
    component: str, kind: str
) -> None:
    """Its instrumentation says only at the end what it is: the client's call was inside by then."""
    scope = "openinference.instrumentation.haystack"
    assert span_kind({}, name=component, scope=scope) == kind
    assert span_kind({}, name=component, scope="x") == "other"
    said = {"openinference.span.kind": "RETRIEVER"}
    assert span_kind(said, name=component, scope=scope) == "retriever"
