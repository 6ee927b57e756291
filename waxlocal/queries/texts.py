"""The message, answer and title of a run, extracted from its stored JSON."""

from __future__ import annotations

import json
from typing import Any

from waxlocal.decode import loads
from waxlocal.messages.words import words_of, words_of_calls

__all__ = ["answer_text", "asked_last", "decoded", "message_text", "title"]

TITLE_CHARS = 80
# Keys that programs commonly use for the question and the answer, in order of preference.
MESSAGE_KEYS = ("message", "question", "query", "prompt", "input", "text", "q")
ANSWER_KEYS = ("response", "answer", "output", "result", "text", "content", "message")
# Keys under which programs keep a whole conversation: of chats, of OpenAI's responses, of Gemini.
_CHAT_KEYS = ("messages", "input", "contents")


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
    value = decoded(result)
    # A call outside any run that asks for tools, and says nothing.
    calls = value.get("tool_calls") if isinstance(value, dict) and len(value) == 1 else None
    return words_of_calls(calls) or _text_of(value, ANSWER_KEYS)


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
        named = [words_of(value[key]) for key in keys if _is_said(value.get(key))]
        for text in (*named, *value.values()):
            if isinstance(text, str) and text:
                return text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _last_of_chat(value: Any) -> str:
    """Return what the user said last in inputs of the form `{"messages": [{"role": ...}]}`."""
    chats = [value.get(key) for key in _CHAT_KEYS] if isinstance(value, dict) else []
    return next(filter(None, map(asked_last, chats)), "")


def asked_last(messages: Any) -> str:
    """Return the user's last words in a list of messages, in any vendor's form; else nothing."""
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            said = words_of(message.get("content", message.get("parts")))
            if said:  # else it is the result of a tool
                return said
    return ""


def _is_said(value: Any) -> bool:
    """Return whether it is text, or the parts of a message with some text among them."""
    if not isinstance(value, list):
        return isinstance(value, str)
    return all(isinstance(one, dict) and "type" in one for one in value) and any(
        isinstance(one.get("text"), str) for one in value
    )
