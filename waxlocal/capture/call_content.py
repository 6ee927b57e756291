"""What was said in a call: the prompt, the answer, the tools offered and asked for.

Each vocabulary has its own places for it. The prompt is that of the first source that has one, and
so is the answer; what a completion hook was handed comes before all attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from waxlocal.capture.attribute_map import PIECES, first
from waxlocal.capture.bounds import bounded
from waxlocal.capture.facts import Attributes, Completion, ReadSpan
from waxlocal.capture.gen_ai_messages import (
    event_messages,
    read_messages,
    read_system,
    read_tools,
)
from waxlocal.capture.open_inference import (
    embedded_texts,
    flat_messages,
    flat_tools,
    legacy_messages,
    legacy_tools,
)
from waxlocal.capture.whole_values import is_repr, offered_tools, response_in, with_call_ids
from waxlocal.decode import from_json
from waxlocal.messages.answers import choices_of
from waxlocal.messages.forms import Message, ToolCall
from waxlocal.messages.parts import text_of
from waxlocal.messages.words import words_of

__all__ = [
    "answer_in",
    "answer_texts",
    "answer_words",
    "content_of",
    "prompt_in",
    "tool_calls_of",
    "tools_of",
    "words_of_message",
]


def content_of(
    span: ReadSpan, completion: Completion, keep_blobs: bool
) -> tuple[list[Message] | None, list[Message] | None]:
    """Return the (prompt, answer) of a call: of the first source that has one, each for itself."""
    given = span.attributes
    prompt = _system_and(completion.system_instruction, completion.inputs, keep_blobs)
    prompt = prompt or prompt_in(given, keep_blobs)
    answer = read_messages(completion.outputs, "assistant", keep_blobs=keep_blobs)
    answer = answer or answer_in(given, keep_blobs)
    if span.events and (prompt is None or answer is None):
        told, said = event_messages(span.events, keep_blobs=keep_blobs)
        prompt, answer = prompt or told, answer or said
    prompt = prompt or read_messages(_whole(given, "input"), keep_blobs=keep_blobs)
    if answer is None or _lacks_ids(answer):
        whole = _answer_within(_whole(given, "output"), keep_blobs)
        with_call_ids(answer, whole)
        answer = answer or whole or _pieces(given)
    return prompt, answer


def _pieces(given: Attributes) -> list[Message] | None:
    """Return what had come of an answer when its stream was left."""
    pieces = given.get(PIECES)
    if not isinstance(pieces, list | tuple):
        return None
    return [{"role": "assistant", "content": "".join(map(str, pieces))}]


def _lacks_ids(answer: list[Message]) -> bool:
    return any(call["id"] is None for call in tool_calls_of(answer) or ())


def _system_and(system: object, inputs: object, keep_blobs: bool) -> list[Message] | None:
    said = read_messages(inputs, keep_blobs=keep_blobs) or []
    if system is None or any(message["role"] == "system" for message in said[:1]):
        return said or None
    return [*read_system(system, keep_blobs=keep_blobs), *said] or None


def prompt_in(given: Attributes, keep_blobs: bool) -> list[Message] | None:
    """Return the prompt that attributes hold, of the first vocabulary that has one."""

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


def answer_in(given: Attributes, keep_blobs: bool) -> list[Message] | None:
    """Return the answer that attributes hold, of the first vocabulary that has one."""

    def read(name: str) -> list[Message] | None:
        return read_messages(given.get(name), "assistant", keep_blobs=keep_blobs)

    sources: tuple[Callable[[], list[Message] | None], ...] = (
        lambda: read("gen_ai.output.messages"),
        lambda: flat_messages(given, "llm.output_messages", "assistant", keep_blobs=keep_blobs),
        lambda: _ai_sdk_answer(given),
        lambda: legacy_messages(given, "gen_ai.completion", "assistant", keep_blobs=keep_blobs),
        lambda: read("langfuse.observation.output"),
        lambda: _answer_within(given.get("gcp.vertex.agent.llm_response"), keep_blobs),
        lambda: _answer_within(given.get("gen_ai.completion"), keep_blobs),
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


def _answer_within(value: object, keep_blobs: bool) -> list[Message] | None:
    """Return the answer in a vendor's response, or in whatever else an output is."""
    found = response_in(value)
    if is_repr(found):
        return None
    choices = choices_of(found)
    if choices is None and isinstance(found, Mapping) and found.get("data") is not None:
        return None  # the vectors of an embedding
    return read_messages(found if choices is None else choices, "assistant", keep_blobs=keep_blobs)


def tools_of(given: Attributes, completion: Completion) -> list[Any] | None:
    """Return the definitions of the tools that were offered to the model."""
    return (
        read_tools(completion.tool_definitions)
        or read_tools(given.get("gen_ai.tool.definitions"))
        or flat_tools(given)
        or read_tools(given.get("ai.prompt.tools"))
        or legacy_tools(given)
        or read_tools(offered_tools(given))
    )


def answer_texts(answer: list[Message] | None) -> list[str]:
    """Return the texts of an answer: of each choice, or of each part, that has any."""
    return list(filter(None, map(_text_of_message, answer or ())))


def _text_of_message(message: Message) -> str | None:
    """Return what a message says: its text, or all of its parts as JSON where none is text."""
    content = message["content"]
    if isinstance(content, list):
        content = _texts(message) or text_of(content)
    return str(content) if content else None


def words_of_message(message: Message) -> str | None:
    """Return what a message says in words: of an image and a question about it, the question.

    Of an image alone, `[image]`; no data of it, even where that is kept in the message.
    """
    content = message["content"]
    if isinstance(content, list):
        content = _texts(message) or words_of(content) or text_of(bounded(content))
    return str(content) if content else None


def _texts(message: Message) -> str:
    # The parts of an answer continue one another; those of a question stand by themselves.
    return ("" if message["role"] == "assistant" else "\n").join(
        part["text"] for part in message["content"] if isinstance(part.get("text"), str)
    )


def answer_words(answer: list[Message] | None) -> str | None:
    """Return an answer in words: of the first choice that has any."""
    return next(filter(None, map(words_of_message, answer or ())), None)


def tool_calls_of(answer: list[Message] | None) -> list[ToolCall] | None:
    """Return the calls of tools that an answer asks for."""
    found = [call for message in answer or () for call in message.get("tool_calls", ())]
    return found or None
