"""What a span says, in waxlocal's terms. None is always unknown: never 0, never empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from waxlocal.messages.forms import Message, ToolCall
from waxlocal.token_counts import UNKNOWN, TokenCounts

__all__ = [
    "Attributes",
    "CallFacts",
    "Completion",
    "ReadSpan",
    "Row",
    "RunFacts",
    "SpanEvent",
    "SpanFacts",
    "SpanKind",
    "SpanStatus",
]

# What an emitter attached to a span: any names, any values.
Attributes = Mapping[Any, Any]

# The columns of a call by name, without its key; what the price list gives is not in it.
Row = dict[str, Any]


class SpanKind:
    """The kinds of spans."""

    LLM: Final = "llm"
    EMBEDDING: Final = "embedding"
    AGENT: Final = "agent"
    CHAIN: Final = "chain"
    TOOL: Final = "tool"
    RETRIEVER: Final = "retriever"
    OTHER: Final = "other"


class SpanStatus:
    """How a span ended, as its emitter says: most leave a success unset."""

    UNSET: Final = "unset"
    OK: Final = "ok"
    ERROR: Final = "error"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one time within a span; the time in nanoseconds since 1970."""

    name: str
    attributes: Attributes = field(default_factory=dict)
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """A span as it was received: from the SDK in this process, or over the network.

    `start_ns` is in nanoseconds since 1970; `scope` is the name of the instrumentation.
    """

    name: str
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    scope: str = ""
    resource: Attributes = field(default_factory=dict)
    status: str = SpanStatus.UNSET
    status_message: str = ""
    start_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The typed content that an instrumentation hands to a completion hook, beside the span."""

    inputs: object = None
    outputs: object = None
    system_instruction: object = None
    tool_definitions: object = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One call of a model, or of an embedding model.

    `cost` is in dollars, and given by the emitter. `messages` are the whole prompt, the system text
    first. `status` is "ok" or "error"; a stream that was left early is ok, with the finish reason
    "abandoned". `response` is the answer of the first choice, `said` the same in words, without the
    data of an image; `other_answers` are those of the other choices, where several were asked for.
    `attributes` are those that nothing else of this was read from.
    """

    model: str | None = None
    requested_model: str | None = None
    provider: str | None = None
    task: str | None = None
    tokens: TokenCounts = UNKNOWN
    cost: float | None = None
    ttft_ms: int | None = None
    is_streaming: bool = False
    finish_reason: str | None = None
    response_id: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] | None = None
    tools: list[Any] | None = None
    response: str | None = None
    said: str | None = None
    other_answers: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    status: str = SpanStatus.OK
    error_type: str | None = None
    error_message: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens_in(self) -> int | None:
        """All input tokens, cached ones included."""
        return self.tokens.tokens_in

    @property
    def tokens_out(self) -> int | None:
        """All output tokens, reasoning included."""
        return self.tokens.tokens_out

    @property
    def cached(self) -> int | None:
        """The input tokens that were read from the provider's cache."""
        return self.tokens.cached

    @property
    def cache_write(self) -> int | None:
        """The input tokens that were written to the provider's cache."""
        return self.tokens.cache_write

    @property
    def reasoning(self) -> int | None:
        """The output tokens that were spent on reasoning."""
        return self.tokens.reasoning

    @property
    def usage_note(self) -> str:
        """Which sum was made, and why; empty where the emitter's counts stand as they are."""
        return self.tokens.note


@dataclass(frozen=True, slots=True)
class SpanFacts:
    """Any span that is not a call: an agent, a chain, a tool, a retrieval.

    `name` is that of the tool or the agent where the span says it, else the span's own.
    `attributes` are those that nothing else of this was read from, bounded in size and depth.
    """

    kind: str
    name: str
    input: Any = None
    output: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    status: str = SpanStatus.OK
    error_type: str | None = None
    error_message: str | None = None
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a span says of the run it stands for.

    `inputs` are {"message", "messages"} of a conversation, {"input"} of anything else; `result` is
    {"response"} where there is a text, {"output"} otherwise. `session_was_generated` says that the
    instrumentation made up the session, so that one of a single turn says nothing.
    """

    session_id: str | None = None
    session_was_generated: bool = False
    user_id: str | None = None
    agent_name: str | None = None
    workflow_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
