"""What is said in a run, in pieces: its message and answer, its prompts, tools and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from waxlocal.decode import from_json
from waxlocal.messages.dialects import conversation_in
from waxlocal.messages.facts import plain_text
from waxlocal.messages.reader import read_form
from waxlocal.messages.words import words_of, words_of_calls
from waxlocal.queries.texts import answer_text, decoded, message_text

__all__ = ["COLUMNS", "Piece", "RunRows", "pieces", "texts_in", "tool_names"]

# Of the index, in the order in which a reader looks for the words.
COLUMNS = ("message", "answer", "errors", "tools", "prompts")
# A text of millions of characters is no message: this much of it is found.
MOST_CHARS = 1_000_000

Row = Mapping[str, Any]


class Piece(NamedTuple):
    """A text, the column of the index it belongs to, and the position of its record, if any.

    What is `own` was said in this run; the rest may be history that is sent again.
    """

    column: str
    text: str
    position: int | None = None
    own: bool = True


@dataclass
class RunRows:
    """A run and those of its records that have words, as they are stored."""

    run: Row
    calls: list[Row] = field(default_factory=list)
    spans: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)


def pieces(rows: RunRows, contents: Mapping[str, str]) -> Iterator[Piece]:
    """Give what is said in a run; `contents` are its messages by their keys: those wanted."""
    run = rows.run
    yield from _said("message", message_text(run["inputs"]), run["inputs"])
    yield from _said("answer", answer_text(run["result"]), run["result"])
    yield from _errors(run["error_type"], run["error"], None)
    for call in rows.calls:
        yield from _of_call(call, contents)
    for span in rows.spans:
        at = span["position"]
        yield from _errors(None, span["error"], at)
        told = (span["name"], *texts_in(decoded(span["input"])), *texts_in(decoded(span["output"])))
        yield from (Piece("tools", text, at) for text in told if text)
    for step in rows.steps:
        told = (step["step_name"], *texts_in(decoded(step["output"])))
        yield from (Piece("tools", text, step["position"]) for text in told if text)


def _said(column: str, words: str, stored: str | None) -> Iterator[Piece]:
    if words:
        yield Piece(column, words[:MOST_CHARS])
    for text in texts_in(decoded(stored)):
        if text != words:
            yield Piece(column, text, own=False)


def _errors(kind: str | None, message: str | None, position: int | None) -> Iterator[Piece]:
    said = ": ".join(filter(None, (kind, message)))
    if said:
        yield Piece("errors", said[:MOST_CHARS], position)


def _of_call(call: Row, contents: Mapping[str, str]) -> Iterator[Piece]:
    at = call["position"]
    yield from _errors(call["error_type"], call["error_message"], at)
    said = call["response"] if call["response"] is not None else call["response_preview"]
    asked = words_of_calls(_tool_calls(call))
    for text in filter(None, (said, asked)):
        yield Piece("prompts", plain_text(text)[:MOST_CHARS], at)
    whole = decoded(call["messages"]) if call["messages"] is not None else call["prompt_preview"]
    for text in texts_in(whole):
        yield Piece("prompts", text, at, own=False)
    for key in call["keys"]:
        if key in contents:
            for text in texts_in([decoded(contents[key])]):
                yield Piece("prompts", text, at, own=False)


def _tool_calls(call: Row) -> object:
    details = decoded(call["details"])
    return details.get("tool_calls") if isinstance(details, dict) else None


def tool_names(rows: RunRows) -> Iterator[str]:
    """Give the names of the tools that a run has called, or that its model asked for."""
    for span in rows.spans:
        if span["kind"] == "tool":
            yield span["name"]
    for call in rows.calls:
        calls = _tool_calls(call)
        for one in calls if isinstance(calls, list) else ():
            name = one.get("name") if isinstance(one, dict) else None
            if isinstance(name, str):
                yield name


def texts_in(value: object) -> Iterator[str]:
    """Give the texts in a value: what its messages say, else each text and number in it.

    Data, as of an image, is only named.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        inner = from_json(one)
        if isinstance(inner, dict | list):
            forms = conversation_in(inner)
            if forms is not None:
                yield from _of_messages(forms)
            else:
                waiting += reversed(inner.values() if isinstance(inner, dict) else inner)
        elif isinstance(one, str):
            if one.strip():
                yield plain_text(one)[:MOST_CHARS]
        elif one is not None and not isinstance(one, bool):
            yield str(one)


def _of_messages(forms: Iterable[dict[str, Any]]) -> Iterator[str]:
    for form in forms:
        for message in read_form(form, "user"):
            content = message["content"]
            calls = words_of_calls(message.get("tool_calls"))
            told = (message.get("reasoning"), words_of(content), calls)
            yield from (text[:MOST_CHARS] for text in told if isinstance(text, str) and text)
            if not told[1] and isinstance(content, dict | list):  # the result of a tool
                yield from texts_in(content)
