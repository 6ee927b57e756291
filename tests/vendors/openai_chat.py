"""OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.vendors.answers import Asked, Body, Said, Tool, pieces
from tests.vendors.endpoint import CREATED, Endpoint, Vendor, event, list_of, part_texts, text_of
from tests.vendors.replies import Fault

__all__ = ["CHAT", "OPENAI"]

_FINISH = {"tools": "tool_calls", "filter": "content_filter"}
# Status: type, code, message.
_ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
_SERVER_ERROR = ("server_error", None, "The server had an error while processing your request.")


def error_body(fault: Fault, _request: str) -> Body:
    """Return an error as OpenAI writes it."""
    kind, code, message = _ERRORS.get(fault.status, _SERVER_ERROR)
    return {
        "error": {
            "message": fault.message or message,
            "type": fault.type or kind,
            "param": None,
            "code": code,
        }
    }


OPENAI = Vendor(
    "openai", "x-request-id", error_body, lambda fault, request: event(error_body(fault, request))
)


def _read(body: Body, _path: Mapping[str, str]) -> Asked:
    messages = list_of(body, "messages")
    offered = [tool["function"] for tool in body.get("tools") or () if "function" in tool]
    return Asked(
        model=text_of(body, "model"),
        body=body,
        texts=[text for message in messages for text in part_texts(message.get("content"))],
        last_user=_last_user(messages),
        tools=[Tool(tool["name"], tool.get("parameters") or {}) for tool in offered],
        tool_choice=_tool_choice(body.get("tool_choice")),
        called=_called(messages),
        schema=_schema(body.get("response_format") or {}),
        stream=bool(body.get("stream")),
    )


def _last_user(messages: list[Any]) -> str:
    said = [message for message in messages if message.get("role") == "user"]
    return " ".join(part_texts(said[-1].get("content"))) if said else ""


def _called(messages: list[Any]) -> frozenset[str]:
    called: set[str] = set()
    for message in messages:
        if message.get("role") == "user":
            called.clear()
        called.update(call["function"]["name"] for call in message.get("tool_calls") or ())
    return frozenset(called)


def _tool_choice(choice: Any) -> str:
    if isinstance(choice, dict):
        return str((choice.get("function") or choice).get("name") or "auto")
    return choice or "auto"


def _schema(response_format: Body) -> Body | None:
    match response_format.get("type"):
        case "json_schema":
            return response_format["json_schema"].get("schema") or {}
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return None


def _usage(said: Said, choices: int) -> dict[str, Any] | None:
    used = said.usage
    tokens_out = used.tokens_out * choices
    return said.usage_as(
        {
            "prompt_tokens": used.tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": used.tokens_in + tokens_out,
            "prompt_tokens_details": {
                "cached_tokens": used.cached,
                "cache_write_tokens": used.cache_write,
                "audio_tokens": used.audio_in,
            },
            "completion_tokens_details": {
                "reasoning_tokens": used.reasoning * choices,
                "audio_tokens": used.audio_out * choices,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
    )


def _choices(asked: Asked) -> int:
    return int(asked.body.get("n") or 1)


def _call(call: Any) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments))
    return {"id": call.id, "type": "function", "function": _function(call.name, arguments)}


def _function(name: str, arguments: str) -> dict[str, str]:
    return {"name": name, "arguments": arguments}


def _text(said: Said, choice: int) -> str:
    """Return a choice's text: the second and later ones differ, so that each can be told."""
    return said.text if choice == 0 or not said.text else f"{said.text} ({choice + 1})"


def _whole(asked: Asked, said: Said) -> Body:
    choices = []
    for index in range(_choices(asked)):
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _text(said, index) or None,
            "refusal": None,
            "annotations": [],
        }
        if said.tool_calls:
            message["tool_calls"] = [_call(call) for call in said.tool_calls]
        finish = _FINISH.get(said.finish, said.finish)
        choices.append(
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        )
    usage = _usage(said, len(choices))
    whole = {**_head(said, "chat.completion"), "choices": choices}
    return whole if usage is None else {**whole, "usage": usage}


def _head(said: Said, kind: str) -> dict[str, Any]:
    return {
        "id": said.answer_id("chatcmpl-"),
        "object": kind,
        "created": CREATED,
        "model": said.model,
        "service_tier": "default",
        "system_fingerprint": "fp_stand_in",
    }


def _frames(asked: Asked, said: Said) -> Iterator[bytes]:
    """Yield the chunks: each choice's in turn, then the usage where the request asks for it."""
    head = _head(said, "chat.completion.chunk")
    wants_usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
    rest = {"usage": None} if wants_usage else {}
    for index in range(_choices(asked)):
        for delta, finish in _deltas(said, index):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            yield event({**head, "choices": [choice], **rest})
    usage = _usage(said, _choices(asked)) if wants_usage else None
    if usage is not None:
        yield event({**head, "choices": [], "usage": usage})
    yield event("[DONE]")


def _deltas(said: Said, choice: int) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": None if said.tool_calls else "", "refusal": None}, None
    for piece in pieces(_text(said, choice)):
        yield {"content": piece}, None
    for place, call in enumerate(said.tool_calls):
        begun = {"index": place, **_call(call), "function": _function(call.name, "")}
        yield {"tool_calls": [begun]}, None
        for piece in pieces(json.dumps(dict(call.arguments))):
            more = {"index": place, "function": {"arguments": piece}}
            yield {"tool_calls": [more]}, None
    yield {}, _FINISH.get(said.finish, said.finish)


CHAT = Endpoint(OPENAI, _read, _whole, _frames)
