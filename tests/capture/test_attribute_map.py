"""Where each fact stands in the attributes of a span: the first that is not empty wins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.attribute_map import (
    Sources,
    agent_name,
    first,
    first_count,
    first_number,
    first_text,
    metadata,
    session_id,
    session_was_generated,
    tags,
    user_id,
    workflow_name,
)
from waxlocal.capture.vendor_hosts import _DOMAINS
from waxlocal.capture.vendors import client, model_names, provider

ROWS: dict[str, Sources] = {
    name: row
    for name, row in vars(rows).items()
    if name.isupper() and isinstance(row, tuple) and name not in ("METADATA_PREFIXES",)
}


def attribute(source: str | tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the attribute that has the value at this place."""
    if isinstance(source, str):
        return {source: value}
    for name in reversed(source[1:]):
        value = {name: value}
    return {source[0]: json.dumps(value)}


@pytest.mark.parametrize("name", ROWS)
def test_every_place_of_a_row_answers_and_an_earlier_one_first(name: str) -> None:
    row = ROWS[name]
    assert row
    for place, source in enumerate(row):
        assert first(attribute(source, "last"), row) == "last"
        for earlier in row[:place]:
            if (earlier if isinstance(earlier, str) else earlier[0]) == (
                source if isinstance(source, str) else source[0]
            ):
                continue  # two members of one JSON text
            both = {**attribute(source, "last"), **attribute(earlier, "first")}
            assert first(both, row) == "first"
            empty = {**attribute(source, "last"), **attribute(earlier, "")}
            assert first(empty, row) == "last"


def test_no_place_of_a_row_stands_there_twice() -> None:
    for name, row in ROWS.items():
        assert len(set(row)) == len(row), name


@pytest.mark.parametrize("empty", [None, "", [], (), {}])
def test_what_is_empty_does_not_count(empty: object) -> None:
    assert first({"a": empty, "b": 0}, ("a", "b")) == 0


@pytest.mark.parametrize(
    "place",
    [
        "session.id",
        "langfuse.session.id",
        "gen_ai.conversation.id",
        "waxell.session_id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.thread_id",
        "ai.telemetry.metadata.sessionId",
        "ai.telemetry.metadata.chatId",
        "ai.settings.context.conversation_id",
        "langsmith.metadata.thread_id",
        "thread_id",
        "mlflow.trace.session",
        "gcp.vertex.agent.session_id",
        "conversation.id",
    ],
)
def test_the_session_is_found_in_every_vocabulary(place: str) -> None:
    assert session_id({place: "S-9", "name": "x"}) == "S-9"


def test_the_session_is_found_in_metadata_as_json() -> None:
    assert session_id({"metadata": '{"thread_id": "t1", "tenant": "x"}'}) == "t1"
    assert session_id({"metadata": {"conversationId": 17}}) == "17"
    assert session_id({"metadata": "no JSON"}) is None


def test_a_project_and_a_connection_are_no_sessions() -> None:
    assert session_id({"langsmith.trace.session_id": "p", "mcp.session.id": "c"}) is None


def test_a_session_that_pydantic_ai_made_up_is_known() -> None:
    made_up = {"gen_ai.conversation.id": "01990000-0000-7000-8000-000000000000"}
    assert session_was_generated(made_up, "pydantic-ai")
    assert not session_was_generated(made_up, "openai")
    assert not session_was_generated({"gen_ai.conversation.id": "mine"}, "pydantic-ai")
    assert not session_was_generated({}, "pydantic-ai")


def test_the_user_is_found_in_every_vocabulary() -> None:
    for place in ("user.id", "langfuse.user.id", "enduser.id", "gen_ai.user", "llm.user"):
        assert user_id({place: "ada"}) == "ada"
    assert user_id({"ai.settings.context.userId": "ada"}) == "ada"
    assert user_id({"metadata": '{"user_id": "ada"}'}) == "ada"


def test_an_agent_has_its_own_name_before_that_of_its_span_and_its_service() -> None:
    service = {"service.name": "shop"}
    assert agent_name({"gen_ai.agent.name": "guide"}, service, "invoke_agent") == "guide"
    assert agent_name({"ai.telemetry.functionId": "guide"}, service, "x") == "guide"
    entity = {"traceloop.entity.name": "guide", "traceloop.span.kind": "workflow"}
    assert agent_name(entity, service) == "guide"
    assert agent_name({**entity, "traceloop.span.kind": "tool"}, service) == "shop"
    assert agent_name({}, service, "my_graph") == "my_graph"
    assert agent_name({}, service) == "shop"
    assert agent_name({}, {"service.name": "unknown_service:node"}) is None


@pytest.mark.parametrize(
    ("span", "agent"),
    [
        ("Weatherman._execute_core", "Weatherman"),
        ("invocation [app]", "app"),
        ("agent_run [helper]", "helper"),
        ("invoke_agent helper", "helper"),
        ("Crew_4e2f610c-0a11-4fba-8a27-0c2aaccd5f7b.kickoff", "Crew"),
        ("writer.on_messages_stream", "writer"),
        ("RoundRobinGroupChat.run_stream", "RoundRobinGroupChat"),
        ("Pipeline.run_async", "Pipeline"),
        ("gpt-4.1", "gpt-4.1"),
        ("ask.me", "ask.me"),
        (".run", ".run"),
    ],
)
def test_the_name_of_a_span_has_that_of_its_agent(span: str, agent: str) -> None:
    """Some instrumentations name the agent nowhere else at the start."""
    assert agent_name({}, {}, span) == agent


def test_a_workflow_without_a_name_has_that_of_its_instrumentation() -> None:
    assert workflow_name({"gen_ai.workflow.name": "support"}) == "support"
    assert workflow_name({}, "opentelemetry.instrumentation.genai.langchain") == "langchain"
    assert workflow_name({}, "openinference.instrumentation.openai_agents") == "openai_agents"
    assert workflow_name({}, "opentelemetry.instrumentation.openai.v1") == "openai"
    assert workflow_name({}, "pydantic-ai") == "pydantic_ai"
    assert workflow_name({}) is None


def test_tags_of_a_list_are_true() -> None:
    assert tags({"tag.tags": ("a", "b")}) == {"a": "true", "b": "true"}
    assert tags({"langfuse.trace.tags": '["a", 7]'}) == {"a": "true"}
    assert tags({"waxell.tag.team": "x", "waxell.tag.beta": True}) == {"team": "x", "beta": "true"}
    assert tags({}) == {}


def test_metadata_comes_from_json_prefixes_and_the_resource() -> None:
    sent = {
        "metadata": '{"tenant": "x", "deep": {"a": 1}}',
        "langfuse.trace.metadata.plan": "pro",
        "traceloop.association.properties.region": "eu",
        "waxell.meta.size": 3,
    }
    assert metadata(sent, {"deployment.environment.name": "prod"}) == {
        "environment": "prod",
        "tenant": "x",
        "deep": {"a": 1},
        "plan": "pro",
        "region": "eu",
        "size": 3,
    }


def test_the_model_that_was_asked_for_is_kept_where_it_has_another_name() -> None:
    asked = {"gen_ai.request.model": "gpt-4o"}
    assert model_names(asked) == ("gpt-4o", None)
    answered = {**asked, "gen_ai.response.model": "gpt-4o-2024-08-06"}
    assert model_names(answered) == ("gpt-4o-2024-08-06", "gpt-4o")
    assert model_names({"llm.invocation_parameters": '{"model": "m"}'}) == ("m", None)
    assert model_names({}) == (None, None)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("openai.chat", "openai"),
        ("anthropic.messages", "anthropic"),
        ("google.generative-ai", "google"),
        ("gcp.gemini", "google"),
        ("gcp.gen_ai", "google"),
        ("gcp.vertex_ai", "google"),
        ("aws.bedrock", "aws"),
        ("azure.ai.openai", "azure"),
        ("az.ai.openai", "azure"),
        ("mistral_ai", "mistral"),
        ("x_ai", "x-ai"),
        ("xai", "x-ai"),
        ("groq", "groq"),
        ("together_ai", "together"),
        ("fireworks_ai", "fireworks"),
        ("gemini", "google"),
    ],
)
def test_a_provider_has_the_name_of_the_price_list(sent: str, name: str) -> None:
    assert provider({"gen_ai.system": sent}) == name
    assert provider({"gen_ai.provider.name": sent, "llm.system": "other"}) == name


@pytest.mark.parametrize(
    ("sender", "host", "port", "name"),
    [
        ("openai", "api.groq.com", None, "groq"),
        ("openai", "API.DeepSeek.com.", 443, "deepseek"),
        ("anthropic", "api.z.ai", None, "zai"),
        ("openai", "acme.openai.azure.com", None, "azure"),
        ("openai", "openrouter.ai", None, "openrouter"),
        ("openai", "generativelanguage.googleapis.com", None, "google"),
        ("openai", "localhost", 11434, "ollama"),
        ("openai", "127.0.0.1", "11434", "ollama"),
        ("openai", "127.0.0.1", 8000, "openai"),
        ("openai", "gpu.example.org", 11434, "openai"),
        ("openai", "notapi.groq.com", None, "openai"),
        ("openai", "api.groq.com.example.org", None, "openai"),
        ("openai", "", None, "openai"),
        ("anthropic", "api.anthropic.com", None, "anthropic"),
        ("aws.bedrock", "api.groq.com", None, "aws"),
    ],
)
def test_the_server_of_a_client_that_speaks_to_many_says_the_provider(
    sender: str, host: str, port: object, name: str
) -> None:
    """What it costs is that server's price; a proxy that nobody knows may be the vendor's."""
    sent = {"gen_ai.provider.name": sender, "server.address": host, "server.port": port}
    assert provider(sent) == name
    assert client(sent) == {"aws.bedrock": "aws"}.get(sender, sender)


def test_each_provider_of_a_server_is_one_of_the_price_list() -> None:
    """Ollama is not: it costs nothing."""
    known = {one.id for one in providers}
    assert set(_DOMAINS.values()) <= known


@pytest.mark.parametrize("value", [True, 1.5, b"x", [1], {"a": 1}, "   ", object(), 10**400])
def test_a_value_of_another_type_is_not_text(value: object) -> None:
    assert first_text({"a": value, "b": "next"}, ("a", "b")) == "next"


def test_the_first_count_and_the_first_number_are_of_their_type() -> None:
    assert first_count({"a": "many", "b": "12"}, ("a", "b")) == 12
    assert first_number({"a": "x", "b": -1, "c": float("nan"), "d": "0.5"}, tuple("abcd")) == 0.5
    assert first_number({"a": True, "b": 10**400}, ("a", "b")) is None


PLACES = {source for row in ROWS.values() for source in row}
NAMES = sorted({place if isinstance(place, str) else place[0] for place in PLACES})
KEYS = st.sampled_from(NAMES) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.dictionaries(KEYS, VALUES, max_size=8), st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_attributes_have_facts_or_none(sent: dict[Any, Any], resource: dict[Any, Any]) -> None:
    for name in (session_id(sent), user_id(sent), provider(sent), agent_name(sent, resource)):
        assert name is None or isinstance(name, str)
    assert all(isinstance(value, str) for value in tags(sent).values())
    assert isinstance(metadata(sent, resource), dict)
    model_names(sent)
    workflow_name(sent)


@pytest.mark.parametrize(
    ("sent", "model"),
    [
        ("projects/p/locations/us/publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("projects/p/locations/us/endpoints/42", "projects/p/locations/us/endpoints/42"),
        ("meta-llama/Llama-3.3-70B", "meta-llama/Llama-3.3-70B"),
        ("models/", "models/"),
    ],
)
def test_a_model_in_a_path_of_google_is_known_by_its_name(sent: str, model: str) -> None:
    assert model_names({"llm.model_name": sent}) == (model, None)
