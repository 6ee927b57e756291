"""The facts of a span: of a call of a model (`call_facts`), of anything else (`other_facts`).

Pure: a span goes in, facts come out, and no span, however it is made, raises. What an
instrumentation handed to a completion hook is taken before what it wrote into attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.capture import attribute_map as rows
from waxlocal.capture import vendors
from waxlocal.capture.attribute_map import first, first_count, first_number, first_text
from waxlocal.capture.bounds import bounded, cut_text
from waxlocal.capture.call_content import (
    answer_texts,
    answer_words,
    content_of,
    tool_calls_of,
    tools_of,
)
from waxlocal.capture.call_counts import cut_off, token_counts, whole
from waxlocal.capture.call_settings import PREFIXES, settings_of
from waxlocal.capture.facts import (
    Attributes,
    CallFacts,
    Completion,
    ReadSpan,
    SpanFacts,
    SpanKind,
    SpanStatus,
)
from waxlocal.capture.gen_ai_messages import finish_reasons
from waxlocal.capture.open_inference import documents
from waxlocal.capture.pauses import is_pause
from waxlocal.capture.span_kinds import span_kind
from waxlocal.capture.whole_values import id_of_response, response_in
from waxlocal.decode import from_json
from waxlocal.records import ABANDONED, OPENAI_STREAM

__all__ = ["DROPPED", "call_facts", "ending_facts", "other_facts"]

# Beside messages, as many attributes of a span are kept as OpenTelemetry's SDKs allow.
MAX_ATTRIBUTES = 128

_CONTENT_PREFIXES = (
    "llm.input_messages.", "llm.output_messages.", "llm.tools.", "gen_ai.prompt.",
    "gen_ai.completion.", "llm.request.functions.", "embedding.embeddings.",
    "retrieval.documents.", "reranker.input_documents.", "reranker.output_documents.",
    "logfire.",  # how its pages show a span
)  # fmt: skip
_CONTENT_KEYS = frozenset((
    "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.prompt", "gen_ai.completion",
    "ai.prompt.messages", "ai.prompt.tools", "ai.response.toolCalls", "ai.response.reasoning",
    "ai.response.object", "pydantic_ai.all_messages", "langfuse.observation.input",
    "langfuse.observation.output", "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response", "input.mime_type", "output.mime_type",
    "openinference.span.kind", "gen_ai.operation.name", "error.type", "exception.type",
    "exception.message", "exception.stacktrace",
    "model_request_parameters",  # pydantic-ai: the tools, once more
))  # fmt: skip


def call_facts(
    span: ReadSpan, completion: Completion | None = None, *, keep_blobs: bool = False
) -> CallFacts:
    """Return what a span of kind llm or embedding says of its call."""
    given = span.attributes
    completion = completion or Completion()
    model, asked = vendors.model_names(given)
    is_embedding = span_kind(given, name=span.name, scope=span.scope) == SpanKind.EMBEDDING
    prompt, answer = content_of(span, completion, keep_blobs)
    if is_embedding:  # its answer is vectors
        answer = None
    texts, config = answer_texts(answer), settings_of(given)
    ttft = _ttft_ms(span)
    is_streaming = _is_streaming(span, ttft)
    ending = _ending(span, may_be_left=is_streaming)
    finish = _finish(span, is_streaming)
    response = response_in(given.get(rows.WHOLE_ANSWER))
    asks_for_tools = tool_calls_of(answer)
    counts = token_counts(span, response)
    if not is_embedding:
        counts = whole(counts, answered=bool(texts or asks_for_tools))
    return CallFacts(
        model=model,
        requested_model=asked,
        provider=vendors.provider(given, span.scope),
        task="embeddings" if is_embedding else _task(span, is_streaming),
        tokens=cut_off(counts) if _is_cut_off(span, is_streaming, finish, ending) else counts,
        cost=_cost(given),
        ttft_ms=ttft,
        is_streaming=is_streaming,
        finish_reason=finish,
        response_id=first_text(given, rows.RESPONSE_ID) or id_of_response(response),
        config=config,
        messages=prompt,
        tools=tools_of(given, completion),
        response=next(iter(texts), None),
        said=answer_words(answer),
        other_answers=(texts[1:] or None) if _asks_for_several(config) else None,
        tool_calls=asks_for_tools,
        status=ending.status,
        error_type=ending.error_type,
        error_message=ending.error_message,
        attributes=_unread(given, PREFIXES),
    )


def _asks_for_several(config: Mapping[str, Any]) -> bool:
    """Return whether the texts of an answer are choices; else they are its parts, in order."""
    choices = config.get("n")
    return isinstance(choices, int) and choices > 1


def _is_cut_off(span: ReadSpan, is_streaming: bool, finish: str | None, ending: _Ending) -> bool:
    """Return whether an answer ended before its counts were complete.

    Anthropic's streams begin with the count of the input and an output of 1. Their last event but
    one has the final counts, and why the answer ended: without that, they have not come.
    """
    is_open = finish is None and is_streaming and span.scope == _ANTHROPIC
    failed = ending.status == SpanStatus.ERROR and finish in (None, "error")
    return failed or finish == ABANDONED or is_open


def _cost(given: Attributes) -> float | None:
    """Return the cost that the emitter gives; its 0 for tokens only says that it knows no price."""
    cost = first_number(given, rows.COST)
    if cost == 0 and (first_count(given, rows.TOKENS_IN) or first_count(given, rows.TOKENS_OUT)):
        return None
    return cost


def _task(span: ReadSpan, streamed: bool) -> str | None:
    """Return a call that is no embedding by the name that the original SDK gives it."""
    operation = first_text(span.attributes, ("gen_ai.operation.name",))
    if "langchain" in span.scope:
        return "langchain.llm"
    if "litellm" in span.scope:
        return "litellm.completion"
    if span.scope.endswith("claude_agent_sdk"):
        return "claude_agents"
    client = vendors.client(span.attributes)
    if client == "anthropic":
        return "messages.create"
    if client == "openai" or span.scope.endswith(_OPENAI_SCOPES):  # its client speaks to many
        if span.attributes.get("openai.api.type") == "responses" or span.name in _RESPONSES:
            return "responses.create"
        if operation == "text_completion":
            return "completions"
        return OPENAI_STREAM if streamed else "chat.completions"
    return operation


_OPENAI_SCOPES = (".instrumentation.openai", ".genai.openai", ".openai.v1")
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
    if reasons == ["error"] and _was_read_to_end(span):
        reasons = []  # what GenAI's instrumentations say where no reason came
    if _was_dropped(span, may_be_left=is_streaming) or (is_streaming and _was_left(span, reasons)):
        return ABANDONED
    return cut_text(",".join(dict.fromkeys(reasons))) or None


def _was_left(span: ReadSpan, reasons: list[str]) -> bool:
    """Return whether the program closed a stream before its end.

    An imitation of a vendor's API may leave out the reason of an answer that was read to its end.
    """
    if span.status != SpanStatus.UNSET or _was_read_to_end(span):
        return False
    # GenAI's instrumentations end a stream that was closed early with "error", or with no reason.
    silent = not reasons and span.scope in _GENAI_CLIENTS
    return reasons == ["error"] or silent or span.scope in _OK_AT_END


def _was_read_to_end(span: ReadSpan) -> bool:
    return first(span.attributes, rows.READ_TO_END) is True


# What sets OK at the end of a stream, and nothing where the program left it.
_OK_AT_END = frozenset(
    f"openinference.instrumentation.{name}"
    for name in ("cohere", "mistralai", "ollama", "openai", "together")
)


def _is_streaming(span: ReadSpan, ttft_ms: int | None) -> bool:
    """Return whether a call was streamed; OpenInference's say it by the name of the method, too."""
    streamed = first(span.attributes, rows.STREAMED)
    if streamed is not None:
        return streamed is True
    named = span.scope.startswith("openinference.") and "stream" in span.name
    return named or ttft_ms is not None


_ANTHROPIC = "opentelemetry.instrumentation.genai.anthropic"
_GENAI_CLIENTS = frozenset((_ANTHROPIC, "opentelemetry.instrumentation.genai.openai"))


# What GenAI's instrumentations say of a stream that the program let go of unread.
DROPPED = "abandoned stream"


def _was_dropped(span: ReadSpan, *, may_be_left: bool) -> bool:
    """Return whether nobody wanted the rest: of a stream, or of a generator around it.

    `may_be_left`: it may be over before its end. Of a call that is awaited the answer is lost.
    """
    return span.status == SpanStatus.ERROR and (
        span.status_message == DROPPED
        or (may_be_left and _error(span)[0] == GeneratorExit.__name__)
    )


class _Ending(NamedTuple):
    """How a span ended; `pause` is {type: text} of what was raised to pause, as LangGraph does."""

    status: str = SpanStatus.OK
    error_type: str | None = None
    error_message: str | None = None
    pause: dict[str, str | None] | None = None


def _ending(span: ReadSpan, *, may_be_left: bool = True) -> _Ending:
    """Return how a span ended; what is not said to have failed is ok, and so is a pause."""
    if span.status != SpanStatus.ERROR or _was_dropped(span, may_be_left=may_be_left):
        return _Ending()
    kind, text = _error(span)
    if kind is not None and is_pause(kind):
        return _Ending(pause={kind.rpartition(".")[2]: text})
    return _Ending(SpanStatus.ERROR, kind, text)


def _error(span: ReadSpan) -> tuple[str | None, str | None]:
    """Return the (type, text) of a failure; the text without the type in front of it."""
    kind = first_text(span.attributes, ("error.type", "exception.type"))
    kind = None if kind == "_OTHER" else kind  # OpenTelemetry's word for an unknown type
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


def other_facts(
    span: ReadSpan, kind: str | None = None, *, is_root: bool = False, keep_blobs: bool = False
) -> SpanFacts:
    """Return what a span says that is not a call: what went in, what came out, how it ended."""
    given = span.attributes
    kind = kind or span_kind(given, name=span.name, scope=span.scope, is_root=is_root)
    ending = _ending(span)
    given_in, given_out = _INPUTS.get(kind, rows.RUN_INPUT), _OUTPUTS.get(kind, rows.RUN_OUTPUT)
    asked, output = first(given, given_in), first(given, given_out)
    if kind in _ASKED_IN_EVENTS and (asked is None or output is None):
        told, answered = _in_events(span, kind)
        asked, output = asked or told, output or answered
    if output is None:
        output = ending.pause
    if kind == SpanKind.RETRIEVER:
        output = first(given, rows.DOCUMENTS) or documents(given, keep_blobs=keep_blobs) or output
    return SpanFacts(
        kind=kind,
        name=_name(span, kind),
        input=bounded(from_json(asked), keep_blobs=keep_blobs),
        output=bounded(from_json(output), keep_blobs=keep_blobs),
        attributes=_unread(given),
        status=ending.status,
        error_type=ending.error_type,
        error_message=ending.error_message,
        tool_call_id=first_text(given, rows.TOOL_CALL_ID) if kind == SpanKind.TOOL else None,
    )


# The GenAI conventions before 1.37 had content in events alone; strands-agents still does.
_ASKED_IN_EVENTS = {SpanKind.TOOL: "gen_ai.tool.message", SpanKind.AGENT: "gen_ai.user.message"}


def _in_events(span: ReadSpan, kind: str) -> tuple[object, object]:
    """Return what a tool or an agent was asked and answered, as the events of its span have it."""
    asked = answered = None
    for event in span.events:
        if event.name == _ASKED_IN_EVENTS[kind]:
            asked = event.attributes.get("content")
        elif event.name == "gen_ai.choice":
            answered = event.attributes.get("message")
    return _text_in(asked), _text_in(answered)


def _text_in(content: object) -> object:
    """Return the text of blocks of text; anything else as it is."""
    blocks = from_json(content)
    if isinstance(blocks, list) and blocks and all(isinstance(one, dict) for one in blocks):
        texts = [one.get("text") for one in blocks]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    return content


def ending_facts(span: ReadSpan, kind: str) -> SpanFacts:
    """Return how a span ended that is not a call; of what came out only a pause, as LangGraph's."""
    ending = _ending(span)
    return SpanFacts(
        kind=kind,
        name=_name(span, kind),
        output=bounded(ending.pause),
        status=ending.status,
        error_type=ending.error_type,
        error_message=ending.error_message,
    )


_INPUTS = {SpanKind.TOOL: rows.TOOL_INPUT, SpanKind.RETRIEVER: rows.QUERY}
_OUTPUTS = {SpanKind.TOOL: rows.TOOL_OUTPUT}
_NAMES = {SpanKind.TOOL: rows.TOOL_NAME, SpanKind.AGENT: (*rows.AGENT_NAME, *rows.WORKFLOW)}


def _name(span: ReadSpan, kind: str) -> str:
    named = first_text(span.attributes, _NAMES.get(kind, ()))
    if named is None and kind == SpanKind.TOOL:
        # The conventions call its span so; some give it the attribute at its end only.
        named = rows.agent_in(span.name.removeprefix("execute_tool "))
    return cut_text(named or (rows.agent_in(span.name) if kind == SpanKind.AGENT else span.name))
