"""Amazon Bedrock's runtime: converse, and invoke with Anthropic's messages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.vendors.answers import Asked, Body, Refused, Said, Tool, pieces
from tests.vendors.anthropic_messages import message, message_events, read_message
from tests.vendors.endpoint import SIGNATURE, Endpoint, Vendor, list_of, part_texts
from tests.vendors.event_stream import EVENT_STREAM, aws_event, aws_exception
from tests.vendors.replies import Fault

__all__ = ["BEDROCK", "CONVERSE", "INVOKE"]

_STOP = {
    "stop": "end_turn",
    "tools": "tool_use",
    "length": "max_tokens",
    "filter": "guardrail_intervened",
}
_ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_METRICS = {"latencyMs": 1}


def _error_name(fault: Fault) -> str:
    return fault.type or _ERRORS.get(fault.status, "InternalServerException")


def _error_body(fault: Fault, _request: str) -> Body:
    return {"message": fault.message or f"{_error_name(fault)}: the stand-in was told so."}


def _error_frame(fault: Fault, request: str) -> bytes:
    name = _error_name(fault)
    return aws_exception(name[:1].lower() + name[1:], _error_body(fault, request))


BEDROCK = Vendor(
    "bedrock",
    "x-amzn-requestid",
    _error_body,
    _error_frame,
    lambda fault: {"x-amzn-errortype": _error_name(fault)},
)


def _read(body: Body, path: Mapping[str, str]) -> Asked:
    messages = list_of(body, "messages")
    config = body.get("toolConfig") or {}
    offered = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    return Asked(
        model=path["model"],
        body=body,
        texts=[*part_texts(body.get("system")), *_texts(messages)],
        last_user=_last_user(messages),
        tools=[Tool(tool["name"], tool["inputSchema"].get("json") or {}) for tool in offered],
        tool_choice=_tool_choice(config.get("toolChoice") or {}),
        called=_called(messages),
        stream=path["call"] == "converse-stream",
    )


def _texts(messages: list[Any]) -> Iterator[str]:
    for said in messages:
        yield from part_texts(said["content"])
        for block in said["content"]:
            yield from part_texts(block.get("toolResult", {}).get("content"))


def _is_spoken(said: Body) -> bool:
    return said["role"] == "user" and bool(part_texts(said["content"]))


def _last_user(messages: list[Any]) -> str:
    spoken = [said for said in messages if _is_spoken(said)]
    return " ".join(part_texts(spoken[-1]["content"])) if spoken else ""


def _called(messages: list[Any]) -> frozenset[str]:
    called: set[str] = set()
    for said in messages:
        if _is_spoken(said):
            called.clear()
        called.update(block["toolUse"]["name"] for block in said["content"] if "toolUse" in block)
    return frozenset(called)


def _tool_choice(choice: Body) -> str:
    if "tool" in choice:
        return str(choice["tool"]["name"])
    return "required" if "any" in choice else "auto"


def _usage(said: Said) -> dict[str, Any] | None:
    """Return the usage; input tokens leave out the cache's here, and the total has them."""
    used = said.usage
    form = {
        "inputTokens": used.tokens_in - used.cached - used.cache_write,
        "outputTokens": used.tokens_out,
        "totalTokens": used.tokens_in + used.tokens_out,
    }
    if used.cached or used.cache_write:
        form |= {"cacheReadInputTokens": used.cached, "cacheWriteInputTokens": used.cache_write}
    return said.usage_as(form)


def _content(said: Said) -> Iterator[dict[str, Any]]:
    if said.reasoning:
        thought = {"text": said.reasoning, "signature": SIGNATURE}
        yield {"reasoningContent": {"reasoningText": thought}}
    if said.text or not said.tool_calls:
        yield {"text": said.text}
    for call in said.tool_calls:
        used = {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}
        yield {"toolUse": used}


def _whole(_asked: Asked, said: Said) -> Body:
    return {
        "output": {"message": {"role": "assistant", "content": list(_content(said))}},
        "stopReason": _STOP.get(said.finish, said.finish),
        "usage": _usage(said),
        "metrics": _METRICS,
    }


def _frames(_asked: Asked, said: Said) -> Iterator[bytes]:
    yield aws_event("messageStart", {"role": "assistant"})
    for index, block in enumerate(_content(said)):
        where = {"contentBlockIndex": index}
        if "toolUse" in block:
            begun = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            yield aws_event("contentBlockStart", {"start": {"toolUse": begun}, **where})
        for delta in _deltas(block):
            yield aws_event("contentBlockDelta", {"delta": delta, **where})
        yield aws_event("contentBlockStop", where)
    yield aws_event("messageStop", {"stopReason": _STOP.get(said.finish, said.finish)})
    yield aws_event("metadata", {"usage": _usage(said), "metrics": _METRICS})


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "toolUse" in block:
        for piece in pieces(json.dumps(block["toolUse"]["input"])):
            yield {"toolUse": {"input": piece}}
    elif "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        for piece in pieces(thought["text"]):
            yield {"reasoningContent": {"text": piece}}
        yield {"reasoningContent": {"signature": thought["signature"]}}
    else:
        for piece in pieces(block["text"]):
            yield {"text": piece}


def _read_invoke(body: Body, path: Mapping[str, str]) -> Asked:
    if "anthropic_version" not in body:
        raise Refused("The stand-in knows Anthropic's messages here, and no other bodies.")
    streamed = path["call"] == "invoke-with-response-stream"
    return read_message({**body, "stream": streamed}, path["model"])


def _invoke_frames(asked: Asked, said: Said) -> Iterator[bytes]:
    for data in message_events(asked, said):
        if data["type"] == "message_stop":
            data["amazon-bedrock-invocationMetrics"] = _invocation(said)
        yield aws_event("chunk", {"bytes": base64.b64encode(json.dumps(data).encode()).decode()})


def _invocation(said: Said) -> dict[str, int]:
    used = said.usage
    metrics = {
        "inputTokenCount": used.tokens_in - used.cached - used.cache_write,
        "outputTokenCount": used.tokens_out,
        "invocationLatency": _METRICS["latencyMs"],
        "firstByteLatency": _METRICS["latencyMs"],
    }
    if used.cached or used.cache_write:
        metrics["cacheReadInputTokenCount"] = used.cached
        metrics["cacheWriteInputTokenCount"] = used.cache_write
    return metrics


def _invoke_headers(said: Said) -> dict[str, str]:
    metrics = _invocation(said)
    return {
        "x-amzn-bedrock-input-token-count": str(metrics["inputTokenCount"]),
        "x-amzn-bedrock-output-token-count": str(metrics["outputTokenCount"]),
    }


CONVERSE = Endpoint(BEDROCK, _read, _whole, _frames, EVENT_STREAM)
INVOKE = Endpoint(
    BEDROCK, _read_invoke, message, _invoke_frames, EVENT_STREAM, headers=_invoke_headers
)
