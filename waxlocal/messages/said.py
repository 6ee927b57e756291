"""What was said to a run, and what it answered, in whatever shape its program recorded it.

Inputs and results are JSON of any form: text, a conversation, the state of a graph, the arguments
of a function. The words of a person or an agent are those that stand where libraries and programs
put them. Where there are none, the values are shown under their names, and nobody is said to have
said them; never ids, never base64.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from waxlocal.decode import from_json
from waxlocal.messages.answers import choices_of
from waxlocal.messages.dialects import Form, conversation_in
from waxlocal.messages.reader import read_form
from waxlocal.messages.words import without_data, words_of, words_of_calls, words_of_message

__all__ = ["answered", "asked", "asked_last"]

# Levels of structures around the words; frameworks wrap a state once or twice.
_DEEPEST = 6


class _Side(NamedTuple):
    """Who speaks, and under which names programs keep what they say, in order of preference."""

    role: str
    names: tuple[str, ...]


_PERSON = _Side(
    "user",
    (
        *("message", "question", "query", "user_input", "user_message", "user_query"),
        *("messages", "prompt", "input", "contents", "text", "q", "task", "content"),
        *("chat_history", "history", "inputs", "state", "request", "body", "kwargs", "args"),
    ),
)
_AGENT = _Side(
    "assistant",
    (
        *("response", "answer", "output", "final_output", "final_answer", "reply", "completion"),
        *("generation", "result", "choices", "candidates", "generations", "text", "content"),
        *("message", "messages", "outputs", "state", "tool_calls"),
    ),
)
_CHOICES = ("choices", "candidates", "generations")
# What programs pass along beside the words: they say nothing to a reader.
_IDS = frozenset(
    (
        *("id", "uuid", "lc_id", "run_id", "session_id", "thread_id", "conversation_id", "user_id"),
        *("trace_id", "span_id", "request_id", "message_id", "workflow_id", "checkpoint_id"),
        *("checkpoint_ns", "parent_id", "response_id", "tool_call_id"),
    )
)
# A UUID, or a word with a number in it that nobody would type: `chatcmpl-9f8s7df98s7df`.
_ID = re.compile(r"(?=[^\d]*\d)[A-Za-z]*[-_]?[0-9A-Za-z_-]{16,}")
_LONGEST_ID = 200
# Base64 is longer than any word, of its letters alone.
_DATA = re.compile(r"(?=\D*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[\w+/=\r\n-]+", re.ASCII)
_LEAST_DATA = 200
# A longer text is like its beginning.
_ENOUGH_DATA = 2_000


def asked(inputs: object) -> str:
    """Return what a person said to a run, or what its program gave it; empty if nothing."""
    return _words(inputs, _PERSON) or _facts(_unwrapped(inputs, _PERSON))


def answered(result: object) -> str:
    """Return what a run answered, or what its program returned; empty if nothing."""
    return _words(result, _AGENT) or _facts(_unwrapped(result, _AGENT))


def asked_last(messages: object) -> str:
    """Return a person's last words in a list of messages, in any library's form; else nothing."""
    return _last_words(conversation_in(messages) or [], _PERSON.role)


def _last_words(forms: list[Form], role: str) -> str:
    """Return what was said last in this role; read from the end, as a history is long."""
    for form in reversed(forms):
        for message in reversed(read_form(form, role)):
            if message["role"] == role and (said := words_of_message(message)):
                return said
    return ""


def _words(value: object, side: _Side, depth: int = 0) -> str:
    """Return the words of one side in a value; empty if it holds none."""
    if isinstance(value, str):
        return _words_of_text(value, side, depth)
    if not isinstance(value, dict | list) or depth > _DEEPEST:
        return ""
    forms = conversation_in(value)
    if forms is not None:
        return _words_of_text(_last_words(forms, side.role), side, depth + 1)
    if isinstance(value, list):
        if _has_text(value):
            return words_of(value)
        # One text alone is the argument of a function; one structure may be a row that was found.
        alone = len(value) == 1 and isinstance(value[0], str | list)
        return _words(value[0], side, depth + 1) if alone else ""
    named = (_words_under(name, value[name], side, depth) for name in side.names if name in value)
    return next(filter(None, named), "")


def _words_of_text(value: str, side: _Side, depth: int) -> str:
    """Return text as it is; of JSON, which models answer and programs pass on, what it says."""
    inner = from_json(value) if depth <= _DEEPEST else value
    if isinstance(inner, dict | list):
        return _words(inner, side, depth + 1) or _facts(inner) or value
    return "[data]" if _is_data(value) else without_data(value)


def _words_under(name: str, value: object, side: _Side, depth: int) -> str:
    if name == "tool_calls":
        return words_of_calls(value)
    if name in _CHOICES and isinstance(value, list):
        said = (_words(one, side, depth + 1) for one in choices_of({name: value}) or ())
        return next(filter(None, said), "")
    return _words(value, side, depth + 1)


def _has_text(parts: list[Any]) -> bool:
    """Return whether it is the parts of a message, with some text among them."""
    return all(isinstance(one, dict) and "type" in one for one in parts) and any(
        isinstance(one.get("text"), str) for one in parts
    )


# -- values under their names ----------------------------------------------------------------------


def _unwrapped(value: object, side: _Side) -> object:
    """Return what one name alone stands for: a reader learns nothing from `result`."""
    for _ in range(_DEEPEST):
        if not isinstance(value, dict) or len(value) != 1 or value.keys().isdisjoint(side.names):
            break
        (value,) = value.values()
    return value


def _facts(value: object, depth: int = 0) -> str:
    if isinstance(value, str):
        return _fact_of_text(value, depth)
    if isinstance(value, dict | list):
        if conversation_in(value) is not None:  # of others: their words are not this side's
            return ""
        return ", ".join(_pairs(value, depth)) if isinstance(value, dict) else _listed(value, depth)
    return "" if value is None else json.dumps(value)


def _fact_of_text(value: str, depth: int) -> str:
    if depth and len(value) <= _LONGEST_ID and _ID.fullmatch(value):
        return ""
    return "[data]" if _is_data(value) else without_data(value)


def _is_data(value: str) -> bool:
    return len(value) >= _LEAST_DATA and _DATA.fullmatch(value[:_ENOUGH_DATA]) is not None


def _listed(values: list[Any], depth: int) -> str:
    if depth > _DEEPEST:
        return "…"
    said = list(filter(None, (_facts(one, depth + 1) for one in values)))
    return ("\n" if any(isinstance(one, dict | list) for one in values) else ", ").join(said)


def _pairs(value: dict[str, Any], depth: int) -> list[str]:
    if depth > _DEEPEST:
        return ["…"]
    said = ((name, _facts(one, depth + 1)) for name, one in value.items() if name not in _IDS)
    return [
        f"{name}: ({words})" if isinstance(value[name], dict) else f"{name}: {words}"
        for name, words in said
        if words
    ]
