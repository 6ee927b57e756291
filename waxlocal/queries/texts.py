"""The message, answer and title of a run, extracted from its stored JSON."""

from __future__ import annotations

import json
from typing import Any

from waxlocal.decode import loads

__all__ = ["answer_text", "decoded", "message_text", "title"]

TITLE_CHARS = 80
# Keys that programs commonly use for the question and the answer, in order of preference.
MESSAGE_KEYS = ("message", "question", "query", "prompt", "input", "text", "q")
ANSWER_KEYS = ("response", "answer", "output", "result", "text", "content", "message")


def decoded(stored: str | None) -> Any:
    """Return the value of stored JSON; text that is not valid JSON, or too deep, unchanged."""
    if stored is None:
        return None
    try:
        return loads(stored)
    except ValueError:
        return stored


def message_text(inputs: str | None) -> str:
    """Return the message to a run from its stored inputs; empty without inputs."""
    value = decoded(inputs)
    return _last_of_chat(value) or _text_of(value, MESSAGE_KEYS)


def answer_text(result: str | None) -> str:
    """Return the answer of a run from its stored result; empty without a result."""
    return _text_of(decoded(result), ANSWER_KEYS)


def title(message: str) -> str:
    """Return the first words of a message, on one line of at most 80 characters."""
    # Cut first: a message may have millions of characters.
    line = " ".join(message[: 10 * TITLE_CHARS].split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


def _text_of(value: Any, keys: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    if not value and not isinstance(value, int | float):
        return ""
    if isinstance(value, dict):
        named = [value[key] for key in keys if isinstance(value.get(key), str)]
        for text in (*named, *value.values()):
            if isinstance(text, str) and text:
                return text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _last_of_chat(value: Any) -> str:
    """Return the user's last message in inputs of the form `{"messages": [{"role": ...}]}`."""
    messages = value.get("messages") if isinstance(value, dict) else None
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            return content if isinstance(content, str) else ""
    return ""
