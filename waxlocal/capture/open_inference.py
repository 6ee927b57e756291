"""The flattened messages, tools and documents of OpenInference, and those of early traceloop."""

from __future__ import annotations

from typing import Any

from waxlocal.capture.bounds import bounded
from waxlocal.capture.facts import Attributes
from waxlocal.capture.flattened import items_of, listed
from waxlocal.decode import from_json
from waxlocal.messages.forms import Message
from waxlocal.messages.reader import messages_of

__all__ = [
    "documents",
    "embedded_texts",
    "flat_messages",
    "flat_tools",
    "legacy_messages",
    "legacy_tools",
]

_DOCUMENTS = ("retrieval.documents", "reranker.output_documents")


def flat_messages(
    attributes: Attributes, prefix: str, role: str = "user", *, keep_blobs: bool = False
) -> list[Message] | None:
    """Return the messages under `llm.input_messages` or `llm.output_messages`; None without any."""
    found = [message for item in items_of(attributes, prefix) if (message := _message(item))]
    return messages_of(bounded(found, keep_blobs=keep_blobs), role) or None


def _message(item: object) -> dict[str, Any]:
    said = item.get("message") if isinstance(item, dict) else None
    if not isinstance(said, dict):
        return {}
    message = {name: said[name] for name in ("role", "name", "tool_call_id") if name in said}
    parts = [_part(part) for part in listed(said.get("contents"))]
    # Anthropic's blocks are flattened without a name of their own: `content.0`.
    message["content"] = parts or listed(said.get("content")) or said.get("content")
    calls = [call for call in listed(said.get("tool_calls")) if isinstance(call, dict)]
    if not calls and said.get("function_call_name") is not None:
        arguments = said.get("function_call_arguments_json")
        calls = [{"name": said["function_call_name"], "arguments": arguments}]
    if calls:
        message["tool_calls"] = calls
    return message


def _part(item: object) -> Any:
    """Return a part as OpenAI writes it: the URL of an image stands one level less deep."""
    part = item.get("message_content") if isinstance(item, dict) else None
    if not isinstance(part, dict):
        return item
    image = part.get("image")
    if isinstance(image, dict):
        inner = image.get("image")
        return {"type": "image", "url": inner.get("url") if isinstance(inner, dict) else image}
    return part


def flat_tools(attributes: Attributes) -> list[Any] | None:
    """Return the tools under `llm.tools`: each the JSON schema that was sent."""
    found = []
    for item in items_of(attributes, "llm.tools"):
        tool = item.get("tool") if isinstance(item, dict) else None
        if isinstance(tool, dict):
            found.append(from_json(tool["json_schema"]) if "json_schema" in tool else tool)
    return bounded(found) or None


def legacy_messages(
    attributes: Attributes, prefix: str, role: str = "user", *, keep_blobs: bool = False
) -> list[Message] | None:
    """Return the messages under `gen_ai.prompt` or `gen_ai.completion`, as traceloop began."""
    found = []
    for item in items_of(attributes, prefix):
        if not isinstance(item, dict):
            continue
        calls = [call for call in listed(item.get("tool_calls")) if isinstance(call, dict)]
        message = {**item, "content": _legacy_content(item.get("content"))}
        message.pop("tool_calls", None)
        found.append({**message, "tool_calls": calls} if calls else message)
    return messages_of(bounded(found, keep_blobs=keep_blobs), role) or None


def _legacy_content(value: object) -> object:
    """Return JSON text of parts as the parts; a prompt that is JSON for itself stays as it is."""
    found = from_json(value)
    if isinstance(found, list) and all(isinstance(part, dict) and "type" in part for part in found):
        return found
    return value


def legacy_tools(attributes: Attributes) -> list[Any] | None:
    """Return the tools under `llm.request.functions`."""
    found = [
        {name: from_json(value) for name, value in item.items()}
        for item in items_of(attributes, "llm.request.functions")
        if isinstance(item, dict)
    ]
    return bounded(found) or None


def documents(attributes: Attributes, *, keep_blobs: bool = False) -> list[Any] | None:
    """Return what a retriever found or a reranker kept: id, content, score, metadata of each."""
    for prefix in _DOCUMENTS:
        found = [
            {name: from_json(value) for name, value in item["document"].items()}
            for item in items_of(attributes, prefix)
            if isinstance(item, dict) and isinstance(item.get("document"), dict)
        ]
        if found:
            plain: list[Any] = bounded(found, keep_blobs=keep_blobs)
            return plain
    return None


def embedded_texts(attributes: Attributes) -> list[Message] | None:
    """Return the texts that an embedding was asked for, as a prompt."""
    texts = []
    for item in items_of(attributes, "embedding.embeddings"):
        inner = item.get("embedding") if isinstance(item, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("text"), str):
            texts.append(inner["text"])
    return messages_of(bounded(texts)) or None
