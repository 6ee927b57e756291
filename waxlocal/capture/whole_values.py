"""What stands only in the whole request and the whole response of a call.

OpenInference keeps both as JSON, beside the attributes that it takes from them. Of the vendors'
smaller APIs its instrumentations take less: cached tokens, the ids of tool calls, or the tools that
were offered stand there alone. What an attribute says comes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from waxlocal.capture.attribute_map import first_text
from waxlocal.capture.facts import Attributes
from waxlocal.decode import from_json
from waxlocal.errors import UnknownUsage
from waxlocal.messages.forms import Message, ToolCall
from waxlocal.token_counts import TokenCounts
from waxlocal.token_usage import read_usage

__all__ = [
    "id_of_response",
    "is_repr",
    "offered_tools",
    "response_in",
    "with_call_ids",
    "with_counts_of_response",
]

# `<groq.Stream object at 0x7f1711961610>`: what an instrumentation makes of an answer that it
# cannot read. It says nothing, and would stand in the place of the answer.
_REPR = re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>")


def is_repr(value: object) -> bool:
    """Return whether this is how Python prints an object that has no text."""
    return isinstance(value, str) and _REPR.fullmatch(value.strip()) is not None


def response_in(value: object) -> object:
    """Return the response that a value is, or holds: of a stream of Mistral's, it is the `data`."""
    found = from_json(value)
    inner = found.get("data") if isinstance(found, Mapping) else None
    return inner if isinstance(inner, Mapping) else found


def id_of_response(response: object) -> str | None:
    """Return the vendor's id of a response."""
    return first_text(response, ("id", "response_id")) if isinstance(response, Mapping) else None


def with_counts_of_response(response: object, counts: TokenCounts) -> TokenCounts:
    """Return the counts of a call, and those that only the response has.

    Where the vendor's bill counts by other numbers than the model's tokens (Cohere), the response
    says so, and those are taken: the price is theirs.
    """
    usage = _usage(response)
    if usage is None:
        return counts
    with suppress(UnknownUsage):
        told = read_usage(usage)
        if not counts.is_known or "billed_units" in usage:
            return told if told.is_known else counts
        if told.tokens_in == counts.tokens_in:
            return _filled(counts, told)
    return counts


def _filled(counts: TokenCounts, told: TokenCounts) -> TokenCounts:
    """Return counts with what they lack of the same call's usage."""
    lacking = {
        name: getattr(told, name)
        for name in ("cached", "cache_write", "reasoning")
        if getattr(counts, name) is None
    }
    lacking["details"] = {**(told.details or {}), **(counts.details or {})} or None
    if counts.reasoning is None and told.reasoning:
        # Gemini counts thoughts beside the answer, and its bill both.
        lacking["tokens_out"] = max(counts.tokens_out or 0, told.tokens_out or 0)
    return counts._replace(**lacking)


def _usage(response: object) -> Mapping[str, Any] | None:
    if not isinstance(response, Mapping):
        return None
    for name in ("usage", "usage_metadata", "meta"):  # Gemini; Cohere's embeddings
        found = response.get(name)
        if isinstance(found, Mapping) and found:
            return found
    return None


def offered_tools(given: Attributes) -> object:
    """Return the tools of the request, as the program sent them; None without any."""
    for name in ("llm.invocation_parameters", "input.value"):
        sent = given.get(name)
        if isinstance(sent, str) and '"tools"' not in sent:  # a whole conversation, most often
            continue
        request = from_json(sent)
        tools = request.get("tools") if isinstance(request, Mapping) else None
        if isinstance(tools, list) and tools and all(isinstance(one, Mapping) for one in tools):
            return [tool for one in tools for tool in _each(one)]
    return None


def _each(tool: Mapping[str, Any]) -> list[Any]:
    """Return a tool, or each of those that Gemini groups as one."""
    grouped = tool.get("function_declarations")
    return grouped if isinstance(grouped, list) and grouped else [tool]


def with_call_ids(answer: list[Message] | None, whole: list[Message] | None) -> None:
    """Put the ids of tool calls into an answer from the whole one, if it asks for the same."""
    calls, known = _calls(answer), _calls(whole)
    if [call["name"] for call in calls] != [call["name"] for call in known]:
        return
    for call, same in zip(calls, known, strict=True):
        call["id"] = call["id"] if call["id"] is not None else same["id"]


def _calls(messages: list[Message] | None) -> list[ToolCall]:
    return [call for message in messages or () for call in message.get("tool_calls", ())]
