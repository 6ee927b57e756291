"""What was said to a run, and what it answered, in whatever shape its program recorded it.

Inputs and results are JSON of any form: text, a conversation, the state of a graph, the arguments
of a function. The words of a person or an agent are those that stand where libraries and programs
put them. Where there are none, the values are shown under their names (`facts`), and nobody is said
to have said them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from waxlocal.decode import from_json
from waxlocal.messages.answers import CHOICES, choices_of
from waxlocal.messages.dialects import Form, conversation_in
from waxlocal.messages.facts import (
    facts_of,
    is_plumbing,
    plain_name,
    plain_text,
    structure_of,
)
from waxlocal.messages.forms import Message
from waxlocal.messages.parts import are_parts
from waxlocal.messages.python_text import is_printed_message, is_row_of_fields
from waxlocal.messages.reader import read_form
from waxlocal.messages.words import words_of, words_of_calls

__all__ = ["answered", "asked", "asked_last"]

# Levels of structures around the words; frameworks wrap a state a few times.
_DEEPEST = 6
# Members of one structure that are looked into for a conversation.
_MOST_MEMBERS = 50


class _Side(NamedTuple):
    """Who speaks, and under which names programs keep what they say, in order of preference.

    `alone` are names that other values use, too: they count where nothing else stands beside them.
    """

    role: str
    names: tuple[str, ...]
    alone: frozenset[str]


# Names without `_` and in lower case: `userMessage` is `user_message`.
_PERSON = _Side(
    "user",
    (
        *("message", "usermessage", "newmessage", "currentmessage", "question", "userquestion"),
        *("query", "userquery", "querystr", "querybundle", "userinput", "userprompt", "humaninput"),
        *("usermsg", "msg", "input", "inputtext", "inputvalue", "inputcontent", "chatinput"),
        *("utterance", "messages"),
    ),
    frozenset(("prompt", "text", "content", "contents", "q", "task", "goal", "instruction")),
)
_AGENT = _Side(
    "assistant",
    (
        *("response", "finalresponse", "airesponse", "botresponse", "agentresponse"),
        *("answer", "finalanswer", "finaloutput", "output", "outputtext", "reply", "replies"),
        *("completion", "generation", "generatedtext", "result", "messages"),
    ),
    frozenset(("text", "content", "message", "summary", "raw", "data", "value")),
)
# What programs wrap inputs and results into. Text under these names is no words, unless it is JSON.
_HOLDERS = (
    *("inputs", "payload", "data", "req", "request", "event", "params", "body", "state"),
    *("kwargs", "update", "outputs", "returnvalues", "chatrequest", "value", "values"),
)
_OF_CALLS = frozenset(("args", "kwargs"))
# What stands under these has its words as `text`, whatever stands beside that: a chat's message.
_MESSAGES = frozenset(("message", "usermessage", "newmessage", "currentmessage", "msg", "reply"))
# An answer that is one block of JSON.
_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*)```\s*", re.IGNORECASE | re.DOTALL)
# Of a conversation that stands under these names `["human", "hi"]` is a message, too.
_OF_CONVERSATIONS = frozenset(("messages", "chathistory", "history", "conversation"))


def asked(inputs: object) -> str:
    """Return what a person said to a run, or what its program gave it; empty if nothing."""
    said = _words(inputs, _PERSON)
    return facts_of(_unwrapped(inputs, _PERSON)) if said is None else said


def answered(result: object) -> str:
    """Return what a run answered, or what its program returned; empty if nothing."""
    said = _words(result, _AGENT)
    return facts_of(_unwrapped(result, _AGENT)) if said is None else said


def asked_last(messages: object) -> str:
    """Return a person's last words in a list of messages, in any library's form; else nothing."""
    return _last_words(conversation_in(messages, pairs=True) or [], _PERSON, "user")


def _words(value: object, side: _Side, depth: int = 0, *, pairs: bool = False) -> str | None:
    """Return the words of one side; empty if it says nothing there, None if nobody speaks there."""
    if isinstance(value, str):
        return _words_of_text(value, side, depth)
    if not isinstance(value, dict | list) or depth > _DEEPEST:
        return None
    forms = conversation_in(value, pairs=pairs)
    if forms is not None:
        # Of one message without a role, whose words are asked for; of several, the first asks.
        return _last_words(forms, side, side.role if isinstance(value, dict) else "user")
    if isinstance(value, list):
        return _words_of_list(value, side, depth)
    return _words_of_dict(value, side, depth)


def _words_of_text(value: str, side: _Side, depth: int) -> str:
    """Return what somebody typed as it is; of JSON, which models and programs write, its words."""
    if not value.strip():
        return ""
    inner = structure_of(value) if depth <= _DEEPEST else None
    if inner is None:
        return (_words_of_fence(value, side, depth) if side is _AGENT else None) or plain_text(
            value
        )
    if side is _PERSON:  # what they paste stays as it is
        is_read = not depth or is_printed_message(value)
        return (_words(inner, side, depth + 1) if is_read else None) or plain_text(value)
    said = _words(inner, side, depth + 1)
    # `DEBUG=1` may be an answer.
    return said or ("" if is_row_of_fields(value) else facts_of(inner)) or value


def _words_of_fence(value: str, side: _Side, depth: int) -> str | None:
    """Return the words of JSON that a model wrote as a block of code; None if it has none."""
    found = _FENCED.fullmatch(value) if "```" in value[:20] else None
    inner = from_json(found[1]) if found else None
    return _words(inner, side, depth + 1) if isinstance(inner, dict) else None


def _last_words(forms: list[Form], side: _Side, speaker: str) -> str:
    """Return what a side said last; read from the end, as a history is long.

    A person's last message may be empty. An answer is one to that; without words, the tools that it
    asks for. `speaker` is who says a message without a role.
    """
    calls = ""
    pieces: list[str] = []
    for form in reversed(forms):
        for message in reversed(read_form(form, speaker)):
            speaks = message["role"] == side.role
            if pieces and not (speaks and _is_piece(form)):
                return "".join(reversed(pieces))
            if speaks:
                said = _words_of_message(message, side)
                if side is _PERSON or (said and not _is_piece(form)):
                    return said
                pieces += [said] if said else []
                calls = calls or words_of_calls(message.get("tool_calls"))
            elif message["role"] == "user" and side is _AGENT:
                return calls
    return "".join(reversed(pieces)) or calls


def _is_piece(form: Form) -> bool:
    """Return whether it is a piece of a stream, which the others go on with."""
    return str(form.get("type", "")).endswith("MessageChunk")


def _words_of_message(message: Message, side: _Side) -> str:
    """Return what a message says; of a structure instead of parts, what is in that."""
    content = message["content"]
    said = words_of(content)
    if said.strip():
        return _words_of_text(said, side, 1)
    structure = content[0] if isinstance(content, list) and len(content) == 1 else None
    if not isinstance(structure, dict) or "type" in structure:
        return ""
    return _words(structure, side, 1) or facts_of(structure)


def _words_of_list(value: list[Any], side: _Side, depth: int) -> str | None:
    if are_parts(value):
        return _last_words([{"role": side.role, "content": value}], side, side.role)
    if len(value) == 1 and isinstance(value[0], str | list):  # the argument of a function
        return _words(value[0], side, depth + 1)
    return _last_below(value, side, depth)


def _last_below(values: list[Any], side: _Side, depth: int) -> str | None:
    """Return the words of the last that speaks in what a graph or a stream told piece by piece."""
    inner = (one for one in reversed(values[-_MOST_MEMBERS:]) if isinstance(one, dict))
    return next(filter(None, (_conversation_below(one, side, depth + 1) for one in inner)), None)


def _words_of_dict(value: dict[str, Any], side: _Side, depth: int) -> str | None:
    by_name = {plain_name(name): one for name, one in value.items()}
    if side is _AGENT and (said := _words_of_choices(by_name, side, depth)) is not None:
        return said
    for name in side.names:
        if said := _words_under(name, by_name.get(name), side, depth):
            return said
    if side is _AGENT and (calls := words_of_calls(by_name.get("toolcalls"))):
        said = by_name.get("content")
        return said if isinstance(said, str) and said else calls
    others = [plain_name(name) for name, one in value.items() if not is_plumbing(name, one)]
    if len(others) == 1 and others[0] in side.alone:
        return _words(by_name[others[0]], side, depth + 1)
    if by_name.keys() <= _OF_CALLS and (said := _words(by_name.get("args"), side, depth + 1)):
        return said
    held = (by_name[name] for name in _HOLDERS if name in by_name)
    found = (_words_of_held(one, side, depth + 1) for one in held)
    return next(filter(None, found), None) or _conversation_below(value, side, depth)


def _words_under(name: str, value: object, side: _Side, depth: int) -> str | None:
    """Return the words under a name of this side; an answer of another kind is one, too."""
    if value in (None, "", [], {}):
        return None
    if name == "input" and isinstance(value, str):
        return _words_of_held(value, side, depth + 1) or _words(value, side, depth + 1)
    said = _words(value, side, depth + 1, pairs=name in _OF_CONVERSATIONS)
    if said is None and name in _MESSAGES and isinstance(value, dict):
        text = value.get("text")
        said = _words_of_text(text, side, depth + 1) if isinstance(text, str) and text else None
    if side is _AGENT and said is None:
        return facts_of(value)
    return said


def _words_of_held(value: object, side: _Side, depth: int) -> str | None:
    inner = structure_of(value) if isinstance(value, str) else value
    return _words(inner, side, depth) if isinstance(inner, dict | list) else None


def _words_of_choices(by_name: dict[str, Any], side: _Side, depth: int) -> str | None:
    """Return the answer in a vendor's response; empty if that says nothing, None if it is none."""
    choices = choices_of(by_name, CHOICES)
    if choices and (forms := _forms_of_choice(choices[0], side.role)) is not None:
        return _last_words(forms, side, side.role)
    output = by_name.get("output")
    if by_name.get("object") == "response" and isinstance(output, list):
        return _words(output, side, depth + 1) or ""
    return None


def _forms_of_choice(choice: object, role: str) -> list[Form] | None:
    if isinstance(choice, dict) and isinstance(choice.get("text"), str):  # older completions
        known = "finish_reason" in choice or "generation_info" in choice
        return [{"role": role, "content": choice["text"]}] if known else None
    return conversation_in(choice) if isinstance(choice, dict) else None


def _conversation_below(value: dict[str, Any], side: _Side, depth: int) -> str | None:
    """Return the words of a conversation in a structure, under whatever name."""
    if depth > _DEEPEST:
        return None
    for name, inner in _members(value):
        forms = conversation_in(inner, pairs=plain_name(name) in _OF_CONVERSATIONS)
        if forms is not None:
            said: str | None = _last_words(forms, side, "user")
        elif isinstance(inner, dict):
            said = _conversation_below(inner, side, depth + 1)
        else:
            said = _last_below(inner, side, depth + 1)
        if said:
            return said
    return None


def _members(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, inner in list(value.items())[:_MOST_MEMBERS]:
        if isinstance(inner, dict | list):
            yield name, inner


def _unwrapped(value: object, side: _Side) -> object:
    """Return what one name alone stands for: a reader learns nothing from `result`."""
    usual = {*side.names, *side.alone, *_HOLDERS}
    for _ in range(_DEEPEST):
        if not isinstance(value, dict) or len(value) != 1:
            break
        ((name, inner),) = value.items()
        if plain_name(name) not in usual:
            break
        value = inner
    return value
