"""What kind of work a span stands for: the first key that answers decides.

Each vocabulary has its own key. A span of one instrumentation often carries two of them, and the
order is that of how much they tell apart.
"""

from __future__ import annotations

from waxlocal.capture.facts import Attributes, SpanKind

__all__ = ["DECIDING", "span_kind"]

_LLM, _EMBEDDING, _AGENT = SpanKind.LLM, SpanKind.EMBEDDING, SpanKind.AGENT
_CHAIN, _TOOL, _RETRIEVER, _OTHER = (
    SpanKind.CHAIN, SpanKind.TOOL, SpanKind.RETRIEVER, SpanKind.OTHER,
)  # fmt: skip


def _kinds(**values: str) -> dict[str, str]:
    """Return {value: kind}, from kinds with their values."""
    return {value: kind for kind, many in values.items() for value in many.split()}


_OPEN_INFERENCE = _kinds(
    llm="llm", embedding="embedding", agent="agent", chain="chain prompt", tool="tool",
    retriever="retriever reranker", other="guardrail evaluator",
)  # fmt: skip
_GEN_AI = _kinds(
    llm="chat text_completion generate_content completion generate llm_call",
    embedding="embeddings",
    agent="invoke_agent invoke_workflow create_agent agent_call user_prompt",
    chain="agent_step plan schedule_tool_calls execute_event_loop_cycle",
    tool="execute_tool tool_call",
    retriever="retrieval rerank",
    other="search_memory create_memory update_memory upsert_memory delete_memory"
    " create_memory_store update_memory_store upsert_memory_store delete_memory_store",
)
_LANGFUSE = _kinds(
    llm="generation", embedding="embedding", agent="agent", chain="span chain", tool="tool",
    retriever="retriever", other="event evaluator guardrail",
)  # fmt: skip
_TRACELOOP = _kinds(
    llm="chat completion", embedding="embedding", agent="workflow agent", chain="task",
    tool="tool", retriever="rerank",
)  # fmt: skip
_AI_SDK = _kinds(
    agent="ai.generatetext ai.streamtext ai.generateobject ai.streamobject",
    chain="ai.embed ai.embedmany",
    tool="ai.toolcall",
)
_AI_SDK_ENDINGS = {
    ".dogenerate": _LLM,
    ".dostream": _LLM,
    ".doembed": _EMBEDDING,
}
_LANGSMITH = _kinds(
    llm="llm", embedding="embedding", chain="chain prompt parser", tool="tool",
    retriever="retriever",
)  # fmt: skip
_CLAUDE_CODE = _kinds(
    llm="llm_request", agent="interaction", tool="tool tool.execution",
    other="tool.blocked_on_user hook",
)  # fmt: skip
_MASTRA = _kinds(llm="model_generation", agent="agent_run", chain="workflow_step", tool="tool_call")
_MLFLOW = _kinds(
    llm="chat_model llm", embedding="embedding", agent="agent", chain="chain", tool="tool",
    retriever="retriever",
)  # fmt: skip
_GENKIT = _kinds(llm="model", embedding="embedder", tool="tool", retriever="retriever")

# Keys in order, each with its values; values are compared in lower case.
_KEYS: tuple[tuple[str, dict[str, str]], ...] = (
    ("openinference.span.kind", _OPEN_INFERENCE),
    ("gen_ai.operation.name", _GEN_AI),
    ("langfuse.observation.type", _LANGFUSE),
    ("traceloop.span.kind", _TRACELOOP),
    ("llm.request.type", _TRACELOOP),
    ("ai.operationId", _AI_SDK),
    ("langsmith.span.kind", _LANGSMITH),
    ("span.type", _CLAUDE_CODE),
    ("mastra.span.type", _MASTRA),
    ("mlflow.spanType", _MLFLOW),
    ("genkit:metadata:subtype", _GENKIT),
)
# Google's Agent Development Kit names no kind; what a span holds tells.
_ADK = {"gcp.vertex.agent.llm_request": _LLM, "gcp.vertex.agent.tool_call_args": _TOOL}
# Of BeeAI, it also calls an agent's events agents.
_BEEAI = "openinference.instrumentation.beeai"
# OpenInference says of Haystack's components only at their end what they are.
_HAYSTACK = "openinference.instrumentation.haystack"
_COMPONENTS = {"ChatGenerator": _LLM, "TextEmbedder": _EMBEDDING, "DocumentEmbedder": _EMBEDDING}
_MODELS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "ai.model.id")
_USAGES = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
    "ai.usage.inputTokens", "ai.usage.promptTokens",
)  # fmt: skip
# No other attribute changes the kind of a span.
DECIDING = frozenset((*(key for key, _ in _KEYS), *_ADK, *_MODELS, *_USAGES))


def span_kind(
    attributes: Attributes, *, name: str = "", scope: str = "", is_root: bool = False
) -> str:
    """Return the `SpanKind` of a span; "other" for what no rule knows.

    `is_root` matters to LangSmith, which calls the outermost agent a chain.
    """
    for key, kinds in _KEYS:
        value = attributes.get(key)
        if not isinstance(value, str) or not value:
            continue
        if key == "span.type" and not name.startswith("claude_code."):
            continue
        kind = _known(value.strip('"').lower(), kinds)  # MLflow writes its values as JSON
        if kind == _AGENT and scope == _BEEAI and "metadata.class_name" not in attributes:
            return _CHAIN
        if kind is not None:
            return _AGENT if kind == _CHAIN and key.startswith("langsmith.") and is_root else kind
    if scope == "gcp.vertex.agent":
        for key, kind in _ADK.items():
            if key in attributes:
                return kind
    if scope == _HAYSTACK:
        component = name.partition(".")[0]
        return next((kind for end, kind in _COMPONENTS.items() if component.endswith(end)), _OTHER)
    if _has(attributes, _MODELS) and _has(attributes, _USAGES):
        return _LLM
    return _OTHER


def _known(value: str, kinds: dict[str, str]) -> str | None:
    if kinds is _AI_SDK:
        for ending, kind in _AI_SDK_ENDINGS.items():
            if value.endswith(ending):
                return kind
    return kinds.get(value)


def _has(attributes: Attributes, keys: tuple[str, ...]) -> bool:
    return any(attributes.get(key) is not None for key in keys)
