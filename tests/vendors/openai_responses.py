"""OpenAI's responses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from tests.vendors.answers import Asked, Body, Refused, Said, Tool, pieces
from tests.vendors.endpoint import CREATED, Endpoint, event, part_texts, text_of
from tests.vendors.openai_chat import OPENAI
from tests.vendors.replies import ToolCall

__all__ = ["RESPONSES"]

# What an answer repeats of its request, and what it says when the request does not.
_REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}


def _read(body: Body, _path: Mapping[str, str]) -> Asked:
    items = _items(body)
    texts = [text for item in items for text in _item_texts(item)]
    offered = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    choice = body.get("tool_choice") or "auto"
    form = (body.get("text") or {}).get("format") or {}
    return Asked(
        model=text_of(body, "model"),
        body=body,
        texts=[body.get("instructions") or "", *texts],
        last_user=_last_user(items),
        tools=[Tool(tool["name"], tool.get("parameters") or {}) for tool in offered],
        tool_choice=str(choice.get("name") or "auto") if isinstance(choice, dict) else choice,
        called=_called(items),
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        stream=bool(body.get("stream")),
    )


def _items(body: Body) -> list[Any]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise Refused("Missing required parameter: 'input'.")
    return given


def _item_texts(item: Body) -> list[str]:
    return part_texts(item.get("content") or item.get("output"))


def _last_user(items: list[Any]) -> str:
    said = [item for item in items if item.get("role") == "user"]
    return " ".join(_item_texts(said[-1])) if said else ""


def _called(items: list[Any]) -> frozenset[str]:
    called: set[str] = set()
    for item in items:
        if item.get("role") == "user":
            called.clear()
        if item.get("type") == "function_call":
            called.add(item["name"])
    return frozenset(called)


def _usage(said: Said) -> dict[str, Any] | None:
    used = said.usage
    return said.usage_as(
        {
            "input_tokens": used.tokens_in,
            "input_tokens_details": {
                "cached_tokens": used.cached,
                "cache_write_tokens": used.cache_write,
            },
            "output_tokens": used.tokens_out,
            "output_tokens_details": {"reasoning_tokens": used.reasoning},
            "total_tokens": used.tokens_in + used.tokens_out,
        }
    )


def _whole(asked: Asked, said: Said) -> Body:
    why = _INCOMPLETE.get(said.finish)
    return {
        **_head(asked, said),
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": list(_output(said)),
        "usage": _usage(said),
    }


def _head(asked: Asked, said: Said) -> dict[str, Any]:
    given = {name: asked.body.get(name) for name in _REPEATED}
    repeated = {
        name: default if given[name] is None else given[name] for name, default in _REPEATED.items()
    }
    return {
        "id": said.answer_id("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": said.model,
        "output": [],
        "usage": None,
        "service_tier": "default",
        **repeated,
    }


def _output(said: Said) -> Iterator[dict[str, Any]]:
    """Yield the items of an answer: what was thought, what is said, the tools asked for."""
    if said.reasoning:
        summary = [{"type": "summary_text", "text": said.reasoning}]
        yield {"id": said.named("rs_"), "type": "reasoning", "summary": summary}
    if said.text or not said.tool_calls:
        yield _message(said, [_text_part(said.text)], "completed")
    for place, call in enumerate(said.tool_calls):
        yield _function_call(said, place, call, json.dumps(dict(call.arguments)), "completed")


def _message(said: Said, content: list[Any], status: str) -> dict[str, Any]:
    return {
        "id": said.named("msg_"),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _function_call(
    said: Said, place: int, call: ToolCall, arguments: str, status: str
) -> dict[str, Any]:
    return {
        "id": f"{said.named('fc_')}{place:02d}",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def _frames(asked: Asked, said: Said) -> Iterator[bytes]:
    numbers = count()
    for name, data in _events(asked, said):
        yield event({"type": name, "sequence_number": next(numbers), **data}, name)


def _events(asked: Asked, said: Said) -> Iterator[tuple[str, Body]]:
    head = _head(asked, said)
    yield "response.created", {"response": head}
    yield "response.in_progress", {"response": head}
    for index, item in enumerate(_output(said)):
        for name, data in _item_events(item):
            yield f"response.{name}", {"output_index": index, **data}
    whole = _whole(asked, said)
    yield f"response.{whole['status']}", {"response": whole}


def _item_events(item: dict[str, Any]) -> Iterator[tuple[str, Body]]:
    match item["type"]:
        case "message":
            begun, inside = {**item, "content": [], "status": "in_progress"}, _message_events(item)
        case "reasoning":
            begun, inside = {**item, "summary": []}, _reasoning_events(item)
        case _:
            begun, inside = {**item, "arguments": "", "status": "in_progress"}, _call_events(item)
    yield "output_item.added", {"item": begun}
    yield from inside
    yield "output_item.done", {"item": item}


def _message_events(item: dict[str, Any]) -> Iterator[tuple[str, Body]]:
    where = {"item_id": item["id"], "content_index": 0}
    text = item["content"][0]["text"]
    yield "content_part.added", {**where, "part": _text_part("")}
    for piece in pieces(text):
        yield "output_text.delta", {**where, "delta": piece, "logprobs": []}
    yield "output_text.done", {**where, "text": text, "logprobs": []}
    yield "content_part.done", {**where, "part": _text_part(text)}


def _reasoning_events(item: dict[str, Any]) -> Iterator[tuple[str, Body]]:
    where = {"item_id": item["id"], "summary_index": 0}
    part = item["summary"][0]
    yield "reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield "reasoning_summary_text.delta", {**where, "delta": piece}
    yield "reasoning_summary_text.done", {**where, "text": part["text"]}
    yield "reasoning_summary_part.done", {**where, "part": part}


def _call_events(item: dict[str, Any]) -> Iterator[tuple[str, Body]]:
    where = {"item_id": item["id"]}
    for piece in pieces(item["arguments"]):
        yield "function_call_arguments.delta", {**where, "delta": piece}
    done = {"name": item["name"], "arguments": item["arguments"]}
    yield "function_call_arguments.done", {**where, **done}


RESPONSES = Endpoint(OPENAI, _read, _whole, _frames)
