"""LangChain's messages, documents and answers, read into waxlocal's form.

LangChain is not imported. Its versions differ in what is an attribute and what is
missing, so everything is asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waxlocal.capture.bounds import bounded
from waxlocal.capture.callbacks import is_message
from waxlocal.capture.places import keeps_blobs
from waxlocal.encode import dumps
from waxlocal.messages.roles import role_of
from waxlocal.shim.model_calls import Answer, ModelCall, member, tokens_of
from waxlocal.token_counts import TokenCounts

__all__ = ["answer_of", "call_of", "messages_of", "plain", "span_name"]

# How deep inputs and outputs are searched for messages and documents.
MAX_DEPTH = 6

_SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "seed", "stop")


def span_name(serialized: Any, kwargs: Mapping[str, Any], default: str) -> str:
    """Return the name of a chain, a tool or a retriever."""
    said = kwargs.get("name") or member(serialized, "name")
    path = member(serialized, "id")
    return str(said or (path[-1] if isinstance(path, list) and path else default))


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a value with messages and documents in it as dicts."""
    if depth and isinstance(value, dict):
        return {key: plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in value]
    if is_message(value):
        return _message(value)
    if hasattr(value, "page_content"):
        found = {"content": value.page_content, "metadata": plain(value.metadata, depth - 1)}
        named = getattr(value, "id", None)
        return found if named is None else {"id": named, **found}
    if hasattr(value, "to_messages"):  # the value of a prompt
        return messages_of(value.to_messages())
    return value


def messages_of(messages: Any) -> list[dict[str, Any]]:
    """Return messages, or the texts of prompts, as dicts with role and content."""
    return [
        _message(message) if is_message(message) else {"role": "user", "content": str(message)}
        for message in messages
    ]


def _message(message: Any) -> dict[str, Any]:
    kind = str(message.type)
    # The message of a role that the program names.
    role = getattr(message, "role", None) if kind == "chat" else None
    content = message.content
    if not isinstance(content, str):  # parts: an image is kept as those of captured calls are
        content = bounded(content, keep_blobs=keeps_blobs(None))
    found: dict[str, Any] = {"role": role_of(str(role or kind)), "content": content}
    for name in ("tool_calls", "tool_call_id", "name"):
        if said := getattr(message, name, None):
            found[name] = said
    return found


def call_of(serialized: Any, messages: Any, kwargs: Mapping[str, Any]) -> ModelCall:
    """Return a call at its beginning: what is asked for, of which model."""
    asked = kwargs.get("invocation_params") or {}
    metadata = kwargs.get("metadata") or {}
    settings = {name: asked.get(name) for name in _SETTINGS}
    settings["temperature"] = settings["temperature"] or metadata.get("ls_temperature")
    model = (
        metadata.get("ls_model_name")
        or asked.get("model")
        or asked.get("model_name")
        or asked.get("model_id")
        or span_name(serialized, {}, "")
    )
    return ModelCall(
        model=str(model),
        provider=str(metadata.get("ls_provider") or ""),
        task="langchain.llm",
        framework="langchain",
        config=settings,
        messages=messages_of(messages),
    )


def answer_of(response: Any) -> Answer:
    """Return what an `LLMResult` says: the text, the model that answered, the tokens."""
    generations = [each for batch in getattr(response, "generations", None) or () for each in batch]
    overall = getattr(response, "llm_output", None) or {}
    first = generations[0] if generations else None
    message = getattr(first, "message", None)
    about = getattr(message, "response_metadata", None) or {}
    model = about.get("model_name") or about.get("model") or overall.get("model_name") or ""
    usage = _first(overall, "token_usage", "usage")
    return Answer(
        text=_text(first, message),
        model=str(model),
        provider=str(about.get("model_provider") or ""),
        tokens=_tokens_of_messages(generations) or tokens_of(usage),
    )


def _text(generation: Any, message: Any) -> str:
    content = getattr(message, "content", None)
    text = getattr(generation, "text", "") or (content if isinstance(content, str) else "")
    calls = getattr(message, "tool_calls", None)
    if not text and (calls or content):
        return dumps(calls or content)
    return str(text)


def _tokens_of_messages(generations: list[Any]) -> TokenCounts | None:
    """Return the sum over the answers of one call (`n` of them, or one per prompt)."""
    found = [
        tokens_of(usage)
        for generation in generations
        if (usage := getattr(getattr(generation, "message", None), "usage_metadata", None))
    ]
    if len(found) < 2:
        return found[0] if found else None
    return TokenCounts(
        tokens_in=_sum(counts.tokens_in for counts in found),
        tokens_out=_sum(counts.tokens_out for counts in found),
        cached=_sum(counts.cached for counts in found),
        cache_write=_sum(counts.cache_write for counts in found),
        reasoning=_sum(counts.reasoning for counts in found),
        note=found[0].note,
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _first(holder: Any, *names: str) -> Any:
    return next((value for name in names if (value := member(holder, name)) is not None), None)
