"""Where each fact stands in the attributes of a span, in every vocabulary that is sent today.

Each fact names its attributes in order: the first that is not empty is the fact. A tuple is a
member of an attribute that holds JSON: `("metadata", "session_id")`. The vocabularies are
OpenTelemetry's GenAI conventions (and those before them), OpenInference, traceloop, the AI SDK,
Langfuse, LangSmith, MLflow, Google's ADK, and the coding agents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from waxlocal.capture.bounds import bounded, cut_text
from waxlocal.capture.facts import Attributes
from waxlocal.decode import from_json
from waxlocal.token_counts import count

__all__ = [
    "agent_in",
    "agent_name",
    "first",
    "first_count",
    "first_number",
    "first_text",
    "metadata",
    "session_id",
    "session_was_generated",
    "tags",
    "user_id",
    "workflow_name",
]

Source = str | tuple[str, ...]
Sources = tuple[Source, ...]


def _in_metadata(*names: str) -> Sources:
    """Return these names in the places where programs put metadata of their own."""
    places = ("traceloop.association.properties", "ai.telemetry.metadata", "ai.settings.context")
    flat = tuple(f"{place}.{name}" for place in places for name in names)
    langsmith = tuple(f"langsmith.metadata.{name}" for name in names)
    return (*flat, *langsmith, *(("metadata", name) for name in names))


# Not `langsmith.trace.session_id`, which is LangSmith's project, nor
# `mcp.session.id`, which is a connection.
SESSION: Sources = (
    "session.id", "langfuse.session.id", "gen_ai.conversation.id", "waxell.session_id",
    *_in_metadata(
        "session_id", "sessionId", "thread_id", "threadId", "conversation_id", "conversationId",
        "chat_id", "chatId",
    ),
    "thread_id", "mlflow.trace.session", "gcp.vertex.agent.session_id", "conversation.id",
)  # fmt: skip
USER: Sources = (
    "user.id", "langfuse.user.id", "enduser.id", "gen_ai.user", "llm.user",
    *_in_metadata("user_id", "userId"), "user.account_uuid",
)  # fmt: skip
AGENT_NAME: Sources = (
    "gen_ai.agent.name", "agent.name", "agent_name", "waxell.agent_name",
    "ai.telemetry.functionId", "graph.node.name",
)  # fmt: skip
WORKFLOW: Sources = ("gen_ai.workflow.name", "traceloop.workflow.name", "waxell.workflow_name")
TAGS: Sources = (
    "langfuse.trace.tags", "tag.tags", "ai.telemetry.metadata.tags", "langsmith.span.tags",
)  # fmt: skip
METADATA_PREFIXES = (
    "langfuse.trace.metadata.", "traceloop.association.properties.", "waxell.meta.",
)  # fmt: skip

ANSWERED_MODEL: Sources = (
    "gen_ai.response.model", "llm.response.model_name", "ai.response.model", "llm.model_name",
)  # fmt: skip
_MODEL_OF_REQUEST: Sources = ("gen_ai.request.model", "llm.request.model_name", "ai.model.id")
# A failed call of OpenInference has the model nowhere else.
_MODEL_IN_SETTINGS: Sources = (
    ("llm.invocation_parameters", "model"), ("embedding.invocation_parameters", "model"),
)  # fmt: skip
REQUESTED_MODEL: Sources = (*_MODEL_OF_REQUEST, *_MODEL_IN_SETTINGS)
MODEL: Sources = (
    *ANSWERED_MODEL, *_MODEL_OF_REQUEST, "embedding.model_name", "reranker.model_name",
    "langfuse.observation.model.name", "model", "metrics.model", *_MODEL_IN_SETTINGS,
)  # fmt: skip
PROVIDER: Sources = (
    "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider",
)  # fmt: skip

TOKENS_IN: Sources = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
    "ai.usage.inputTokens", "ai.usage.promptTokens", "input_tokens", "input_token_count",
)  # fmt: skip
TOKENS_OUT: Sources = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
    "ai.usage.outputTokens", "ai.usage.completionTokens", "output_tokens", "output_token_count",
)  # fmt: skip
TOKENS_TOTAL: Sources = (
    "gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total",
    "ai.usage.totalTokens", "ai.usage.tokens",
)  # fmt: skip
CACHE_READ: Sources = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_read_tokens", "gen_ai.usage.details.cache_read_tokens",
    "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens",
    "ai.usage.inputTokenDetails.cacheReadTokens", "cache_read_tokens", "cached_token_count",
    "cached_content_token_count",
)  # fmt: skip
CACHE_WRITE: Sources = (
    # Renamed after GenAI 1.41; both are sent today.
    "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens",
    "gen_ai.usage.details.cache_write_tokens", "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens", "cache_creation_tokens",
    "cache_write_token_count",
    ("ai.response.providerMetadata", "anthropic", "usage", "cache_creation_input_tokens"),
    ("ai.response.providerMetadata", "anthropic", "cacheCreationInputTokens"),
)  # fmt: skip
REASONING: Sources = (
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens",
    "ai.usage.outputTokenDetails.reasoningTokens", "reasoning_token_count",
    "thoughts_token_count",
)  # fmt: skip
TOKEN_DETAILS: dict[str, Sources] = {
    "audio_in": ("gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"),
    "audio_out": ("gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"),
    "image_in": ("gen_ai.usage.image.input_tokens",),
    "image_out": ("gen_ai.usage.image.output_tokens",),
    "video_in": ("gen_ai.usage.video.input_tokens",),
    "video_out": ("gen_ai.usage.video.output_tokens",),
    "text_in": ("gen_ai.usage.text.input_tokens",),
    "text_out": ("gen_ai.usage.text.output_tokens",),
    # From `anthropic_answers`.
    "cache_write_5m": ("gen_ai.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_write_1h": ("gen_ai.usage.cache_creation.ephemeral_1h_input_tokens",),
    "web_searches": ("gen_ai.usage.server_tool_use.web_search_requests",),
}
COST: Sources = (
    ("langfuse.observation.cost_details", "total"), "gen_ai.usage.cost", "llm.cost.total",
    "operation.cost", "waxell.llm.cost", "cost_usd",
)  # fmt: skip

TTFT_SECONDS: Sources = (
    "gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
)  # fmt: skip
TTFT_MS: Sources = ("ai.response.msToFirstChunk", "ttft_ms")
# The first event of one of these names; traceloop writes one for each chunk.
TTFT_EVENTS = (
    "First Token Stream Event", "ai.stream.firstChunk", "gen_ai.content.completion.chunk",
)  # fmt: skip
# Ours, set by `own_calls`: the program asked for a stream.
STREAM_ASKED = "waxlocal.stream.asked"
STREAMED: Sources = (
    STREAM_ASKED, "gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming",
    ("llm.invocation_parameters", "stream"),
)  # fmt: skip

# Ours, set by `streams`: what has come of an answer, of whose stream only the end has all of it.
PIECES = "waxlocal.stream.pieces"

# As OpenInference has it, a whole answer as JSON; and ours, of one that nobody else could read.
WHOLE_ANSWER = "output.value"

# Ours, set by `streams`: whether a stream was read to its end.
READ_TO_END: Sources = ("waxlocal.stream.read_to_end",)
FINISH: Sources = (
    "gen_ai.response.finish_reasons", "llm.finish_reason", "ai.response.finishReason",
    "stop_reason", "anthropic.message.stop_reason",
)  # fmt: skip
RESPONSE_ID: Sources = ("gen_ai.response.id", "ai.response.id", "request_id")

TOOL_NAME: Sources = (
    "gen_ai.tool.name", "tool.name", "ai.toolCall.name", "tool_name", "traceloop.entity.name",
)  # fmt: skip
TOOL_CALL_ID: Sources = (
    "gen_ai.tool.call.id", "gen_ai.tool.call_id", "ai.toolCall.id", "tool_call.id", "tool_use_id",
    "tool.id",
)  # fmt: skip
TOOL_INPUT: Sources = (
    "gen_ai.tool.call.arguments", "ai.toolCall.args", "input.value", "traceloop.entity.input",
    "function_args", "gcp.vertex.agent.tool_call_args",
)  # fmt: skip
TOOL_OUTPUT: Sources = (
    "gen_ai.tool.call.result", "ai.toolCall.result", "output.value", "traceloop.entity.output",
    "gcp.vertex.agent.tool_response",
)  # fmt: skip
QUERY: Sources = ("gen_ai.retrieval.query.text", "reranker.query", "input.value")
DOCUMENTS: Sources = ("gen_ai.retrieval.documents",)
RUN_INPUT: Sources = (
    "langfuse.trace.input", "input.value", "gen_ai.input.messages", "ai.prompt",
    "traceloop.entity.input", "user_prompt",
)  # fmt: skip
RUN_OUTPUT: Sources = (
    "langfuse.trace.output", "output.value", "gen_ai.output.messages", "ai.response.text",
    "traceloop.entity.output", "final_result",
)  # fmt: skip

# Attributes that a fact is read from, so that they need not be kept under their own names, too.
READ_KEYS = frozenset(
    source if isinstance(source, str) else source[0]
    for row in (
        MODEL, REQUESTED_MODEL, PROVIDER, TOKENS_IN, TOKENS_OUT, TOKENS_TOTAL, CACHE_READ,
        CACHE_WRITE, REASONING, *TOKEN_DETAILS.values(), COST, TTFT_SECONDS, TTFT_MS, STREAMED,
        FINISH, READ_TO_END, (PIECES,), RESPONSE_ID, TOOL_NAME, TOOL_CALL_ID, TOOL_INPUT,
        TOOL_OUTPUT, QUERY, DOCUMENTS, RUN_INPUT, RUN_OUTPUT,
    )
    for source in row
) - {"ai.response.providerMetadata"}  # has more in it than what is read  # fmt: skip


def first(attributes: Attributes, sources: Sources) -> Any:
    """Return the first fact of some sources that is not empty, as it was sent; None without any."""
    for source in sources:
        found = _at(attributes, source)
        if found is not None and not (isinstance(found, str | list | tuple | dict) and not found):
            return found
    return None


def _at(attributes: Attributes, source: Source) -> Any:
    return attributes.get(source) if isinstance(source, str) else _member(attributes, source)


def _member(attributes: Attributes, path: tuple[str, ...]) -> Any:
    value: Any = attributes.get(path[0])
    if value is None:
        return None
    value = from_json(value)
    for name in path[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def first_text(attributes: Attributes, sources: Sources) -> str | None:
    """Return the first fact that is text, or a number as text."""
    for source in sources:
        found = _at(attributes, source)
        if found is None:
            continue
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 1 << 64:
            return str(found)
        if isinstance(found, str) and found.strip():
            return cut_text(str.__str__(found))
    return None


def first_count(attributes: Attributes, sources: Sources) -> int | None:
    """Return the first fact that is a number of tokens."""
    for source in sources:
        found = _at(attributes, source)
        if found is not None:
            number = count(found)
            if number is not None:
                return number
    return None


def first_number(attributes: Attributes, sources: Sources) -> float | None:
    """Return the first fact that is a finite number of at least 0."""
    for source in sources:
        found = _at(attributes, source)
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            continue
        try:
            number = float(found)
        except (ValueError, OverflowError):
            continue
        if 0 <= number < float("inf"):
            return number
    return None


def session_id(attributes: Attributes) -> str | None:
    """Return the session that a span names. Ask the root of the run first, then its ancestors."""
    return first_text(attributes, SESSION)


def session_was_generated(attributes: Attributes, scope: str) -> bool:
    """Return whether the instrumentation made up the session: pydantic-ai does, one for each run.

    Its ids are UUIDs of version 7. One such of the program's own looks the same; nothing is lost
    by taking it for generated but that single-turn sessions do not count as abandoned.
    """
    if scope != "pydantic-ai":
        return False
    given = session_id(attributes) or ""
    return len(given) == 36 and given[14] == "7" and given.count("-") == 4


def user_id(attributes: Attributes) -> str | None:
    """Return the user that a span names."""
    return first_text(attributes, USER)


def agent_name(attributes: Attributes, resource: Attributes, span_name: str = "") -> str | None:
    """Return the name of the agent of a run's span; else of the span, else of the service."""
    named = first_text(attributes, AGENT_NAME)
    if named is None and _entity_is_agent(attributes):
        named = first_text(attributes, ("traceloop.entity.name",))
    service = first_text(resource, ("service.name",)) or ""
    if service.startswith("unknown_service"):  # what an SDK says when nobody named it
        service = ""
    named = named or first_text(attributes, ("langfuse.trace.name", *WORKFLOW))
    return named or agent_in(span_name) or service or None


# `Writer._execute_core` and `Crew_9f3c2b1a-…kickoff` of CrewAI, `writer.on_messages_stream` of
# AutoGen, `Pipeline.run_async` of Haystack: the attributes name none of them at the start.
_METHOD = re.compile(
    r"(?:_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?"
    r"\.(?:_?execute_core|a?kickoff|kickoff_async|on_messages|on_messages_stream|a?run|run_stream"
    r"|run_async|query|ClaudeSDKClient\.receive_response)$"
)
# `invoke_agent helper` of the conventions; `agent_run [helper]` of OpenInference.
_NAMED = re.compile(r"invoke_agent ([^\[\]]+)|(?:invocation|agent_run) \[([^\[\]]+)\]")


def agent_in(span_name: str) -> str:
    """Return the agent, or the tool, that a span is named after: without method and made-up id."""
    named = _NAMED.fullmatch(cut_text(span_name))
    return named[1] or named[2] if named else _METHOD.sub("", cut_text(span_name)) or span_name


def _entity_is_agent(attributes: Attributes) -> bool:
    return attributes.get("traceloop.span.kind") in ("agent", "workflow")


def workflow_name(attributes: Attributes, scope: str = "") -> str | None:
    """Return the workflow of a run's span; without one, the short name of its instrumentation."""
    return first_text(attributes, WORKFLOW) or _short(scope) or None


def _short(scope: str) -> str:
    """Return "langchain" for "opentelemetry.instrumentation.genai.langchain" and the like."""
    parts = [part for part in scope.split(".") if part not in ("v1", "python", "sdk")]
    return parts[-1].replace("-", "_") if parts else ""


def tags(attributes: Attributes) -> dict[str, str]:
    """Return the tags of a span; those of a list have the value "true"."""
    found: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(name, str) and name.startswith("waxell.tag."):
            found[name.removeprefix("waxell.tag.")] = _plain_text(value)
    given = bounded(from_json(first(attributes, TAGS)))
    if isinstance(given, dict):
        return {**{name: _plain_text(value) for name, value in given.items()}, **found}
    many = given if isinstance(given, list) else [given] if isinstance(given, str) else []
    return {**{tag: "true" for tag in many if isinstance(tag, str) and tag}, **found}


def metadata(attributes: Attributes, resource: Attributes) -> dict[str, Any]:
    """Return the metadata that a program attached, and the environment it was deployed in."""
    found: dict[str, Any] = {}
    environment = first_text(resource, ("deployment.environment.name", "deployment.environment"))
    if environment:
        found["environment"] = environment
    given = from_json(attributes.get("metadata"))
    if isinstance(given, Mapping):
        found.update(bounded(given))
    for name, value in attributes.items():
        for prefix in METADATA_PREFIXES:
            if isinstance(name, str) and name.startswith(prefix):
                found[name.removeprefix(prefix)] = bounded(value)
    return found


def _plain_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return cut_text(value if isinstance(value, str) else str(bounded(value)))
