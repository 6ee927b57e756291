"""The facts of a span: of a call of a model (`call_facts`), of anything else (`other_facts`).

Pure: a span goes in, facts come out, and no span, however it is made, raises. What an
instrumentation handed to a completion hook is taken before what it wrote into attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.attribute_map import first, first_count, first_number, first_text
from waxlocal.capture.bounds import bounded, cut_text, from_json
from waxlocal.capture.facts import (
    Attributes,
    CallFacts,
    Completion,
    Message,
    ReadSpan,
    SpanFacts,
    SpanKind,
    SpanStatus,
    ToolCall,
)
from waxlocal.capture.gen_ai_messages import (
    event_messages,
    finish_reasons,
    read_messages,
    read_system,
    read_tools,
)
from waxlocal.capture.message_parts import text_of
from waxlocal.capture.open_inference import (
    documents,
    embedded_texts,
    flat_messages,
    flat_tools,
    legacy_messages,
    legacy_tools,
)
from waxlocal.capture.span_kinds import span_kind
from waxlocal.token_counts import UNKNOWN, TokenCounts, settled

__all__ = ["ABANDONED", "call_facts", "other_facts", "token_counts"]

# The finish reason of a stream that the program did not read to its end.
ABANDONED = "abandoned"
# Beside messages, as many attributes of a span are kept as OpenTelemetry's SDKs allow.
MAX_ATTRIBUTES = 128

_CONTENT_PREFIXES = (
    "llm.input_messages.", "llm.output_messages.", "llm.tools.", "gen_ai.prompt.",
    "gen_ai.completion.", "llm.request.functions.", "embedding.embeddings.",
    "retrieval.documents.", "reranker.input_documents.", "reranker.output_documents.",
)  # fmt: skip
_CONTENT_KEYS = frozenset((
    "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.prompt", "gen_ai.completion",
    "ai.prompt.messages", "ai.prompt.tools", "ai.response.toolCalls", "ai.response.reasoning",
    "ai.response.object", "pydantic_ai.all_messages", "langfuse.observation.input",
    "langfuse.observation.output", "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response", "input.mime_type", "output.mime_type",
    "openinference.span.kind", "gen_ai.operation.name", "error.type", "exception.type",
    "exception.message", "exception.stacktrace",
))  # fmt: skip
# Settings of a call that are facts of their own.
_NOT_SETTINGS = frozenset((
    "model", "messages", "input", "contents", "prompt", "system", "tools", "functions", "stream",
    "instructions",
))  # fmt: skip
_PARAMETERS = ("llm.invocation_parameters", "embedding.invocation_parameters")
_REQUEST = "gen_ai.request."
_AI_SETTINGS = "ai.settings."
_AI_CONTEXT = "ai.settings.context."  # the program's own: session, user, ...


# -- calls ----------------------------------------------------------------------------------------


def call_facts(
    span: ReadSpan, completion: Completion | None = None, *, keep_blobs: bool = False
) -> CallFacts:
    """Return what a span of kind llm or embedding says of its call."""
    given = span.attributes
    model, asked = rows.model_names(given)
    failed = span.status == SpanStatus.ERROR
    error_type, error_message = _error(span) if failed else (None, None)
    prompt, answer = _content(span, completion or Completion(), keep_blobs)
    ttft = _ttft_ms(span)
    streamed = first(given, rows.STREAMED)
    is_streaming = streamed is True or (streamed is None and ttft is not None)
    return CallFacts(
        model=model,
        requested_model=asked,
        provider=rows.provider(given),
        task=_task(span, is_streaming),
        tokens=token_counts(span),
        cost=_cost(given),
        ttft_ms=ttft,
        is_streaming=is_streaming,
        finish_reason=_finish(span, is_streaming),
        response_id=first_text(given, rows.RESPONSE_ID),
        config=_config(given),
        messages=prompt,
        tools=_tools(given, completion or Completion()),
        response=_response(answer),
        tool_calls=_tool_calls(answer),
        status=SpanStatus.ERROR if failed else SpanStatus.OK,
        error_type=error_type,
        error_message=error_message,
        attributes=_unread(given, (_REQUEST, _AI_SETTINGS)),
    )


def token_counts(span: ReadSpan) -> TokenCounts:
    """Return the tokens of a call, as all input and all output; unknown where nobody counted."""
    given = span.attributes
    details = {name: first_count(given, row) for name, row in rows.TOKEN_DETAILS.items()}
    counts = TokenCounts(
        first_count(given, rows.TOKENS_IN),
        first_count(given, rows.TOKENS_OUT),
        first_count(given, rows.CACHE_READ),
        first_count(given, rows.CACHE_WRITE),
        first_count(given, rows.REASONING),
        {name: number for name, number in details.items() if number} or None,
    )
    if span.status == SpanStatus.ERROR and not (counts.tokens_in or counts.tokens_out):
        return UNKNOWN  # the zeros of a failed call were not counted by anybody
    total = first_count(given, rows.TOKENS_TOTAL)
    return settled(counts, total, cache_beside=_counts_cache_beside(span))


def _counts_cache_beside(span: ReadSpan) -> bool:
    return span.name.startswith("claude_code.") or span.scope.startswith(
        "com.anthropic.claude_code"
    )


def _cost(given: Attributes) -> float | None:
    """Return the cost that the emitter gives; its 0 for tokens only says that it knows no price."""
    cost = first_number(given, rows.COST)
    if cost == 0 and (first_count(given, rows.TOKENS_IN) or first_count(given, rows.TOKENS_OUT)):
        return None
    return cost


def _task(span: ReadSpan, streamed: bool) -> str | None:
    """Return the call by the name that the original SDK gives it."""
    operation = first_text(span.attributes, ("gen_ai.operation.name",))
    if span_kind(span.attributes, name=span.name, scope=span.scope) == SpanKind.EMBEDDING:
        return "embeddings"
    if "langchain" in span.scope:
        return "langchain.llm"
    if "litellm" in span.scope:
        return "litellm.completion"
    provider = rows.provider(span.attributes)
    if provider == "anthropic":
        return "messages.create"
    if provider == "openai":
        if span.attributes.get("openai.api.type") == "responses" or span.name in _RESPONSES:
            return "responses.create"
        if operation == "text_completion":
            return "completions"
        return "chat.stream (openai)" if streamed else "chat.completions"
    return operation


_RESPONSES = ("Response", "openai.response")


def _ttft_ms(span: ReadSpan) -> int | None:
    """Return the time to the first token: told, or that of the event that says it came."""
    seconds = first_number(span.attributes, rows.TTFT_SECONDS)
    if seconds is not None:
        return _ms(seconds * 1000)
    told = first_number(span.attributes, rows.TTFT_MS)
    if told is not None:
        return _ms(told)
    for event in span.events:
        if event.name in rows.TTFT_EVENTS:
            told = first_number(event.attributes, rows.TTFT_MS)
            if told is not None:
                return _ms(told)
            if event.time_ns is not None and span.start_ns is not None:
                return _ms(max(0, event.time_ns - span.start_ns) / 1e6)
    return None


def _ms(value: float) -> int | None:
    """Return whole milliseconds; None beyond a year, which is a time in another unit."""
    return round(value) if value < 366 * 86_400_000 else None


def _finish(span: ReadSpan, is_streaming: bool) -> str | None:
    reasons = finish_reasons(first(span.attributes, rows.FINISH))
    if span.status == SpanStatus.UNSET and (
        reasons == ["error"]  # GenAI's instrumentations end a stream that was left early so
        or (is_streaming and span.scope == _OI_OPENAI)  # sets OK at the end of a stream
    ):
        return ABANDONED
    return cut_text(",".join(dict.fromkeys(reasons))) or None


_OI_OPENAI = "openinference.instrumentation.openai"


def _config(given: Attributes) -> dict[str, Any]:
    """Return the settings of a call: temperature, limits and the like, by OpenAI's names."""
    found: dict[str, Any] = {}
    parameters: Any = from_json(first(given, _PARAMETERS))
    if isinstance(parameters, Mapping):
        found.update(parameters)
    for name, value in given.items():
        if not isinstance(name, str):
            continue
        if name.startswith(_AI_SETTINGS) and not name.startswith(_AI_CONTEXT):
            found[name.removeprefix(_AI_SETTINGS)] = value
        elif name.startswith(_REQUEST):
            short = name.removeprefix(_REQUEST)
            found["n" if short == "choice.count" else short] = value
    settings = {name: value for name, value in found.items() if name not in _NOT_SETTINGS}
    plain: dict[str, Any] = bounded(settings)
    return plain


def _error(span: ReadSpan) -> tuple[str | None, str | None]:
    """Return the (type, text) of a failure; the text without the type in front of it."""
    kind = first_text(span.attributes, ("error.type", "exception.type"))
    text = span.status_message or None
    for event in span.events:
        if event.name == "exception":
            kind = kind or first_text(event.attributes, ("exception.type",))
            text = text or first_text(event.attributes, ("exception.message",))
    text = text or first_text(span.attributes, ("exception.message", "error.message"))
    head, colon, rest = (text or "").partition(": ")
    if colon and rest and head.isidentifier():
        if kind is None and head.endswith(("Error", "Exception")):
            kind = head
        if kind is not None and kind.rpartition(".")[2] == head:
            text = rest
    return kind, None if text is None else cut_text(text)


def _unread(given: Attributes, read_prefixes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the attributes that no fact was read from, at most 128, bounded."""
    prefixes = _CONTENT_PREFIXES + read_prefixes
    kept = [
        (name, value)
        for name, value in given.items()
        if isinstance(name, str)
        and name not in rows.READ_KEYS
        and name not in _CONTENT_KEYS
        and not name.startswith(prefixes)
    ]
    return {cut_text(name): bounded(value) for name, value in kept[:MAX_ATTRIBUTES]}


# -- content --------------------------------------------------------------------------------------


def _content(
    span: ReadSpan, completion: Completion, keep_blobs: bool
) -> tuple[list[Message] | None, list[Message] | None]:
    """Return the (prompt, answer) of a call: of the first source that has one, each for itself."""
    given = span.attributes
    prompt = _system_and(completion.system_instruction, completion.inputs, keep_blobs)
    prompt = prompt or _read_prompt(given, keep_blobs)
    answer = read_messages(completion.outputs, "assistant", keep_blobs=keep_blobs)
    answer = answer or _read_answer(given, keep_blobs)
    if span.events and (prompt is None or answer is None):
        told, said = event_messages(span.events, keep_blobs=keep_blobs)
        prompt, answer = prompt or told, answer or said
    prompt = prompt or read_messages(_whole(given, "input"), keep_blobs=keep_blobs)
    return prompt, answer or _answer_in(_whole(given, "output"), keep_blobs)


def _system_and(system: object, inputs: object, keep_blobs: bool) -> list[Message] | None:
    said = read_messages(inputs, keep_blobs=keep_blobs) or []
    if system is None or any(message["role"] == "system" for message in said[:1]):
        return said or None
    return [*read_system(system, keep_blobs=keep_blobs), *said] or None


def _read_prompt(given: Attributes, keep_blobs: bool) -> list[Message] | None:
    def read(name: str) -> list[Message] | None:
        return read_messages(given.get(name), keep_blobs=keep_blobs)

    sources: tuple[Callable[[], list[Message] | None], ...] = (
        lambda: _system_and(
            given.get("gen_ai.system_instructions"), given.get("gen_ai.input.messages"), keep_blobs
        ),
        lambda: flat_messages(given, "llm.input_messages", keep_blobs=keep_blobs),
        lambda: read("ai.prompt.messages") or read("ai.prompt"),
        lambda: legacy_messages(given, "gen_ai.prompt", keep_blobs=keep_blobs),
        lambda: embedded_texts(given),
        lambda: read("pydantic_ai.all_messages"),
        lambda: read("langfuse.observation.input"),
        lambda: read("gcp.vertex.agent.llm_request"),
        lambda: read("gen_ai.prompt"),  # LangSmith: one JSON text
    )
    return next((found for source in sources if (found := source())), None)


def _read_answer(given: Attributes, keep_blobs: bool) -> list[Message] | None:
    def read(name: str) -> list[Message] | None:
        return read_messages(given.get(name), "assistant", keep_blobs=keep_blobs)

    sources: tuple[Callable[[], list[Message] | None], ...] = (
        lambda: read("gen_ai.output.messages"),
        lambda: flat_messages(given, "llm.output_messages", "assistant", keep_blobs=keep_blobs),
        lambda: _ai_sdk_answer(given),
        lambda: legacy_messages(given, "gen_ai.completion", "assistant", keep_blobs=keep_blobs),
        lambda: read("langfuse.observation.output"),
        lambda: _answer_in(given.get("gcp.vertex.agent.llm_response"), keep_blobs),
        lambda: _answer_in(given.get("gen_ai.completion"), keep_blobs),
    )
    return next((found for source in sources if (found := source())), None)


def _ai_sdk_answer(given: Attributes) -> list[Message] | None:
    text = first(given, ("ai.response.text", "ai.response.object"))
    calls = from_json(given.get("ai.response.toolCalls"))
    called = isinstance(calls, list) and bool(calls)
    if text is None and not called:
        return None
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if called:
        message["tool_calls"] = calls
    if isinstance(given.get("ai.response.reasoning"), str):
        message["reasoning_content"] = given["ai.response.reasoning"]
    return read_messages([message], "assistant")


def _whole(given: Attributes, side: str) -> object:
    """Return the whole input or output that OpenInference and traceloop keep as one value."""
    return first(given, (f"{side}.value", f"traceloop.entity.{side}"))


def _answer_in(value: object, keep_blobs: bool) -> list[Message] | None:
    """Return the answer in a vendor's response, or in whatever else an output is."""
    found = from_json(value)
    if isinstance(found, Mapping):
        for name in ("choices", "candidates", "output", "generations", "data"):
            items = found.get(name)
            if name == "data" and items is not None:
                return None  # the vectors of an embedding
            if isinstance(items, list) and items:
                return read_messages(
                    [_of_choice(item) for item in items], "assistant", keep_blobs=keep_blobs
                )
    return read_messages(found, "assistant", keep_blobs=keep_blobs)


def _of_choice(item: object) -> object:
    if isinstance(item, list) and item:  # LangChain: a list of generations for each prompt
        item = item[0]
    if isinstance(item, Mapping):
        return next((item[name] for name in ("message", "content") if _inner(item, name)), item)
    return item


def _inner(item: Mapping[str, Any], name: str) -> bool:
    return isinstance(item.get(name), Mapping)


def _tools(given: Attributes, completion: Completion) -> list[Any] | None:
    return (
        read_tools(completion.tool_definitions)
        or read_tools(given.get("gen_ai.tool.definitions"))
        or flat_tools(given)
        or read_tools(given.get("ai.prompt.tools"))
        or legacy_tools(given)
    )


def _response(answer: list[Message] | None) -> str | None:
    """Return the text of an answer: of the first choice that has any."""
    for message in answer or ():
        content = message["content"]
        if isinstance(content, list):
            content = "".join(
                part["text"] for part in content if isinstance(part.get("text"), str)
            ) or text_of(content)
        if content:
            return str(content)
    return None


def _tool_calls(answer: list[Message] | None) -> list[ToolCall] | None:
    found = [call for message in answer or () for call in message.get("tool_calls", ())]
    return found or None


# -- everything else ------------------------------------------------------------------------------


def other_facts(
    span: ReadSpan, kind: str | None = None, *, is_root: bool = False, keep_blobs: bool = False
) -> SpanFacts:
    """Return what a span says that is not a call: what went in, what came out, how it ended."""
    given = span.attributes
    kind = kind or span_kind(given, name=span.name, scope=span.scope, is_root=is_root)
    failed = span.status == SpanStatus.ERROR
    error_type, error_message = _error(span) if failed else (None, None)
    given_in, given_out = _INPUTS.get(kind, rows.RUN_INPUT), _OUTPUTS.get(kind, rows.RUN_OUTPUT)
    output = first(given, given_out)
    if kind == SpanKind.RETRIEVER:
        output = first(given, rows.DOCUMENTS) or documents(given, keep_blobs=keep_blobs) or output
    return SpanFacts(
        kind=kind,
        name=_name(span, kind),
        input=bounded(from_json(first(given, given_in)), keep_blobs=keep_blobs),
        output=bounded(from_json(output), keep_blobs=keep_blobs),
        attributes=_unread(given),
        status=SpanStatus.ERROR if failed else SpanStatus.OK,
        error_type=error_type,
        error_message=error_message,
        tool_call_id=first_text(given, rows.TOOL_CALL_ID) if kind == SpanKind.TOOL else None,
    )


_INPUTS = {SpanKind.TOOL: rows.TOOL_INPUT, SpanKind.RETRIEVER: rows.QUERY}
_OUTPUTS = {SpanKind.TOOL: rows.TOOL_OUTPUT}
_NAMES = {SpanKind.TOOL: rows.TOOL_NAME, SpanKind.AGENT: rows.AGENT_NAME}


def _name(span: ReadSpan, kind: str) -> str:
    return first_text(span.attributes, _NAMES.get(kind, ())) or cut_text(span.name)
