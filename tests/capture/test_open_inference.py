"""Flattened messages, tools and documents, put together again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.tools.read_spans import spans_of
from waxlocal.capture.flattened import items_of, unflattened
from waxlocal.capture.open_inference import (
    documents,
    embedded_texts,
    flat_messages,
    flat_tools,
    legacy_messages,
    legacy_tools,
)

CALL = {"id": "call_1", "name": "lookup", "arguments": {"city": "Bern"}}


def test_messages_are_sorted_by_their_numbers_and_not_by_their_names() -> None:
    given_ = {f"llm.input_messages.{n}.message.content": f"m{n}" for n in (10, 2, 1, 30)}
    said = flat_messages(given_, "llm.input_messages")
    assert said is not None
    assert [message["content"] for message in said] == ["m1", "m2", "m10", "m30"]


def test_the_messages_of_a_response_begin_at_1() -> None:
    (span,) = spans_of("openinference", "responses")
    assert "llm.input_messages.0.message.role" not in span.attributes
    said = [{"role": "user", "content": "what is it?"}]
    assert flat_messages(span.attributes, "llm.input_messages") == said


def test_a_message_has_its_parts_calls_and_names() -> None:
    start = "llm.input_messages"
    given_ = {
        f"{start}.0.message.role": "user",
        f"{start}.0.message.contents.1.message_content.type": "image",
        f"{start}.0.message.contents.1.message_content.image.image.url": "https://x.test/a.png",
        f"{start}.0.message.contents.0.message_content.type": "text",
        f"{start}.0.message.contents.0.message_content.text": "what is this?",
        f"{start}.1.message.role": "assistant",
        f"{start}.1.message.tool_calls.0.tool_call.id": "call_1",
        f"{start}.1.message.tool_calls.0.tool_call.function.name": "lookup",
        f"{start}.1.message.tool_calls.0.tool_call.function.arguments": '{"city": "Bern"}',
        f"{start}.2.message.role": "tool",
        f"{start}.2.message.tool_call_id": "call_1",
        f"{start}.2.message.name": "lookup",
        f"{start}.2.message.content": "rain",
    }
    image = {"type": "image", "url": "https://x.test/a.png"}
    assert flat_messages(given_, start) == [
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1", "name": "lookup"},
    ]


def test_the_early_form_of_traceloop_is_read() -> None:
    given_ = {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "be brief",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": '[{"type": "text", "text": "weather?"}]',
        "gen_ai.prompt.2.role": "assistant",
        "gen_ai.prompt.2.tool_calls.0.id": "call_1",
        "gen_ai.prompt.2.tool_calls.0.name": "lookup",
        "gen_ai.prompt.2.tool_calls.0.arguments": '{"city": "Bern"}',
        "gen_ai.prompt.3.role": "tool",
        "gen_ai.prompt.3.tool_call_id": "call_1",
        "gen_ai.prompt.3.content": '{"weather": "rain"}',
        "llm.request.functions.0.name": "lookup",
        "llm.request.functions.0.parameters": '{"type": "object"}',
    }
    assert legacy_messages(given_, "gen_ai.prompt") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        # A text that is JSON for itself stays the text that it was.
        {"role": "tool", "content": '{"weather": "rain"}', "tool_call_id": "call_1"},
    ]
    assert legacy_tools(given_) == [{"name": "lookup", "parameters": {"type": "object"}}]


def test_tools_that_were_offered_are_their_schemas() -> None:
    (span,) = spans_of("openinference", "chat tools")
    tools = flat_tools(span.attributes)
    assert tools is not None
    assert [tool["function"]["name"] for tool in tools] == ["lookup"]


def test_the_documents_of_a_retriever_come_in_order() -> None:
    given_: dict[str, Any] = {
        "retrieval.documents.1.document.id": "b",
        "retrieval.documents.1.document.score": 0.5,
        "retrieval.documents.0.document.id": "a",
        "retrieval.documents.0.document.content": "text",
        "retrieval.documents.0.document.metadata": '{"page": 3}',
    }
    assert documents(given_) == [
        {"id": "a", "content": "text", "metadata": {"page": 3}},
        {"id": "b", "score": 0.5},
    ]
    kept = {"reranker.output_documents.0.document.id": "a"}
    assert documents(kept) == [{"id": "a"}]
    assert documents({}) is None


def test_the_texts_of_an_embedding_are_its_prompt() -> None:
    (span,) = spans_of("openinference", "embeddings")
    assert embedded_texts(span.attributes) == [{"role": "user", "content": "abc"}]


def test_paths_that_contradict_each_other_do_no_harm() -> None:
    given_: dict[Any, Any] = {
        "m.0": "leaf",
        "m.0.message.role": "user",
        "m.x.message.role": "user",
        "m.-1.message.role": "user",
        "m." + "9" * 5000 + ".message.role": "user",
        "m." + "0." * 5000 + "role": "user",
        "m.1.message": "text",
        "m.2.message.tool_calls": "text",
        "m.2.message.contents.0": 7,
        5: "number",
        None: "none",
    }
    assert flat_messages(given_, "m") == [{"role": "user", "content": "7"}]
    assert items_of(given_, "absent") == []


SEGMENTS = st.sampled_from(
    [
        *("0", "1", "message", "role", "content", "contents", "message_content", "tool_calls"),
        *("tool_call", "function", "name", "image", "document", "embedding", "text", "tool", "x"),
    ]
)
PATHS = st.lists(SEGMENTS, max_size=7).map(".".join)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers())


@given(st.dictionaries(PATHS, VALUES, max_size=12))
def test_any_paths_are_messages_or_nothing(tree: dict[str, Any]) -> None:
    for prefix in ("llm.input_messages", "gen_ai.prompt", "llm.tools", "llm.request.functions"):
        given_ = {f"{prefix}.{path}": value for path, value in tree.items()}
        for read in (flat_messages, legacy_messages):
            for message in read(given_, prefix) or ():
                assert isinstance(message["role"], str)
        flat_tools(given_)
        legacy_tools(given_)
    for prefix in ("retrieval.documents", "embedding.embeddings"):
        given_ = {f"{prefix}.{path}": value for path, value in tree.items()}
        documents(given_)
        embedded_texts(given_)


LEAVES = st.integers() | st.text(max_size=3)
KEYS = st.text(st.characters(exclude_characters=".", codec="utf-8"), max_size=3)
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, min_size=1, max_size=3),
    lambda inner: st.dictionaries(KEYS, inner | LEAVES, min_size=1, max_size=3),
    max_leaves=10,
)


@given(TREES)
def test_a_tree_survives_being_flattened(tree: dict[str, Any]) -> None:
    def leaves(prefix: str, inner: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in inner.items():
            path = f"{prefix}.{name}"
            found.update(leaves(path, value) if isinstance(value, dict) else {path: value})
        return found

    assert unflattened(leaves("start", tree), "start") == tree


def test_blocks_without_a_name_of_their_own_are_the_content() -> None:
    given_ = {f"llm.output_messages.0.message.content.{n}": text for n, text in enumerate("ab")}
    said = flat_messages(given_, "llm.output_messages", "assistant")
    assert said == [{"role": "assistant", "content": "ab"}]
