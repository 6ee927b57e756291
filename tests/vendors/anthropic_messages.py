"""Anthropic's messages; Bedrock has them, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.vendors.answers import Asked, Body, Said, Tool, pieces
from tests.vendors.endpoint import SIGNATURE, Endpoint, Vendor, event, list_of, part_texts, text_of
from tests.vendors.replies import Fault

__all__ = ["ANTHROPIC", "COUNT_TOKENS", "MESSAGES", "message", "message_events", "read_message"]

_STOP = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens", "filter": "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_body(fault: Fault, request: str) -> Body:
    """Return an error as Anthropic writes it."""
    kind = fault.type or _ERRORS.get(fault.status, "api_error")
    message = fault.message or kind.replace("_", " ").capitalize()
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request}


ANTHROPIC = Vendor(
    "anthropic",
    "request-id",
    error_body,
    lambda fault, request: event(error_body(fault, request), "error"),
)


def read_message(body: Body, model: str) -> Asked:
    """Return what a request asks, whichever service's."""
    messages = list_of(body, "messages")
    offered = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    return Asked(
        model=model,
        body=body,
        texts=[*part_texts(body.get("system")), *_texts(messages)],
        last_user=_last_user(messages),
        tools=[Tool(tool["name"], tool["input_schema"]) for tool in offered],
        tool_choice=_tool_choice(body.get("tool_choice") or {}),
        called=_called(messages),
        schema=_schema(body),
        stream=bool(body.get("stream")),
    )


def _read(body: Body, _path: Mapping[str, str]) -> Asked:
    return read_message(body, text_of(body, "model"))


def _tool_choice(choice: Body) -> str:
    match choice.get("type"):
        case "any":
            return "required"
        case "tool":
            return str(choice["name"])
        case "none":
            return "none"
    return "auto"


def _schema(body: Body) -> Body | None:
    config = body.get("output_config") or {}
    form = config.get("format") or body.get("output_format") or {}
    return form.get("schema") if form.get("type") == "json_schema" else None


def _texts(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        yield from part_texts(message["content"])
        for block in _blocks(message):
            if block.get("type") == "tool_result":
                yield from part_texts(block.get("content"))


def _blocks(message: Body) -> list[Any]:
    content = message["content"]
    return [] if isinstance(content, str) else list(content)


def _is_spoken(message: Body) -> bool:
    """Tell whether a message is the user's own, and not a tool's result."""
    return message["role"] == "user" and bool(part_texts(message["content"]))


def _last_user(messages: list[Any]) -> str:
    spoken = [message for message in messages if _is_spoken(message)]
    return " ".join(part_texts(spoken[-1]["content"])) if spoken else ""


def _called(messages: list[Any]) -> frozenset[str]:
    called: set[str] = set()
    for message in messages:
        if _is_spoken(message):
            called.clear()
        blocks = _blocks(message)
        called.update(block["name"] for block in blocks if block.get("type") == "tool_use")
    return frozenset(called)


def _usage(said: Said) -> dict[str, Any] | None:
    """Return the usage; here input tokens are those that the cache has nothing to do with."""
    used = said.usage
    return said.usage_as(
        {
            "input_tokens": used.tokens_in - used.cached - used.cache_write,
            "cache_creation_input_tokens": used.cache_write,
            "cache_read_input_tokens": used.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": used.cache_write - used.cache_write_1h,
                "ephemeral_1h_input_tokens": used.cache_write_1h,
            },
            "output_tokens": used.tokens_out,
            "server_tool_use": _searches(used.web_searches),
            "service_tier": "standard",
        }
    )


def _searches(count: int) -> dict[str, int] | None:
    return {"web_search_requests": count, "web_fetch_requests": 0} if count else None


def message(_asked: Asked, said: Said) -> dict[str, Any]:
    """Return a whole answer."""
    return {
        "id": said.answer_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": list(_content(said)),
        "stop_reason": _STOP.get(said.finish, said.finish),
        "stop_sequence": None,
        "usage": _usage(said),
    }


def _content(said: Said) -> Iterator[dict[str, Any]]:
    if said.reasoning:
        yield {"type": "thinking", "thinking": said.reasoning, "signature": SIGNATURE}
    if said.text or not said.tool_calls:
        yield {"type": "text", "text": said.text}
    for call in said.tool_calls:
        arguments = dict(call.arguments)
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def message_events(asked: Asked, said: Said) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream; the first has the usage of the input, the last but one all."""
    whole = message(asked, said)
    usage = whole["usage"]
    begun = None if usage is None else {**usage, "output_tokens": 1, "server_tool_use": None}
    nothing: Body = {"content": [], "stop_reason": None, "usage": begun}
    yield {"type": "message_start", "message": {**whole, **nothing}}
    for index, block in enumerate(whole["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": _begun(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": _final(usage)}
    yield {"type": "message_stop"}


def _final(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    left_out = ("cache_creation", "service_tier")
    return usage and {name: value for name, value in usage.items() if name not in left_out}


def _begun(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "text":
            return {**block, "text": ""}
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
    return {**block, "input": {}}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for piece in pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            for piece in pieces(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}


def _frames(asked: Asked, said: Said) -> Iterator[bytes]:
    for data in message_events(asked, said):
        yield event(data, data["type"])


def _count(_asked: Asked, said: Said) -> Body:
    return {"input_tokens": said.usage.tokens_in}


MESSAGES = Endpoint(ANTHROPIC, _read, message, _frames)
COUNT_TOKENS = Endpoint(ANTHROPIC, _read, _count)
