"""What is said in a run, in pieces: its message and answer, its prompts, tools and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from waxlocal.decode import from_json
from waxlocal.messages.answers import choices_of
from waxlocal.messages.dialects import conversation_in
from waxlocal.messages.facts import plain_text
from waxlocal.messages.forms import Message, ToolCall
from waxlocal.messages.parts import tool_call
from waxlocal.messages.reader import read_form
from waxlocal.messages.words import words_of
from waxlocal.queries.texts import answer_text, decoded, message_text

__all__ = ["COLUMNS", "Piece", "RunRows", "pieces", "texts_in", "tool_names"]

# Of the index, in the order in which a reader looks for the words.
COLUMNS = ("message", "answer", "errors", "tools", "prompts")
# A text of millions of characters is no message: this much of it is found.
MOST_CHARS = 1_000_000
# The event of an answer that is given beside the result.
OUTPUT_TEXT = "output_text"

Row = Mapping[str, Any]


class Piece(NamedTuple):
    """A text, and the column of the index it belongs to.

    `position` and `name` are those of its record, if it has one: the tool, the step. What is `own`
    was said in this run; the rest may be history that is sent again.
    """

    column: str
    text: str
    position: int | None = None
    name: str = ""
    own: bool = True


@dataclass
class RunRows:
    """A run and those of its records that have words, as they are stored."""

    run: Row
    calls: list[Row] = field(default_factory=list)
    spans: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)


def pieces(rows: RunRows, contents: Mapping[str, str]) -> Iterator[Piece]:
    """Give what is said in a run; `contents` are its messages by their keys: those wanted."""
    run = rows.run
    yield from _said("message", message_text(run["inputs"]), run["inputs"])
    yield from _said("answer", answer_text(run["result"]), run["result"])
    yield from _errors(run["error_type"], run["error"])
    for call in rows.calls:
        yield from _of_call(call, contents)
    for span in rows.spans:
        yield from _errors(None, span["error"], span["position"], span["name"])
        yield from _of_record(span, span["name"], span["input"], span["output"])
    for step in rows.steps:
        yield from _of_record(step, step["step_name"], step["output"])
    for event in rows.events:
        column = "answer" if event["event"] == OUTPUT_TEXT else "tools"
        yield from _of_record(event, event["event"], event["data"], column=column)


def _said(column: str, words: str, stored: str | None) -> Iterator[Piece]:
    if words:
        yield Piece(column, words[:MOST_CHARS])
    for text in texts_in(decoded(stored)):
        if text != words:
            yield Piece(column, text, own=False)


def _errors(
    kind: str | None, message: str | None, position: int | None = None, name: str = ""
) -> Iterator[Piece]:
    said = ": ".join(filter(None, (kind, message)))
    if said:
        yield Piece("errors", said[:MOST_CHARS], position, name)


def _of_record(
    record: Row, name: str | None, *values: str | None, column: str = "tools"
) -> Iterator[Piece]:
    at, name = record["position"], name or ""
    if column == "tools" and name:
        yield Piece(column, name, at)
    for value in values:
        yield from (Piece(column, text, at, name) for text in texts_in(decoded(value)))


def _of_call(call: Row, contents: Mapping[str, str]) -> Iterator[Piece]:
    at = call["position"]
    yield from _errors(call["error_type"], call["error_message"], at)
    said = call["response"] if call["response"] is not None else call["response_preview"]
    for text in (*texts_in(said), *_of_tool_calls(_tool_calls(call))):
        yield Piece("prompts", text, at)
    whole = decoded(call["messages"]) if call["messages"] is not None else call["prompt_preview"]
    known = (decoded(contents[key]) for key in call["keys"] if key in contents)
    for text in (*texts_in(whole), *(text for one in known for text in texts_in([one]))):
        yield Piece("prompts", text, at, own=False)


def _tool_calls(call: Row) -> object:
    details = decoded(call["details"])
    return details.get("tool_calls") if isinstance(details, dict) else None


def tool_names(rows: RunRows) -> Iterator[str]:
    """Give the names of the tools that a run has called, or that its model asked for."""
    for span in rows.spans:
        if span["kind"] == "tool" and span["name"]:
            yield span["name"]
    asked = [_tool_calls(call) for call in rows.calls]
    answers = [from_json(call["response"]) for call in rows.calls]
    asked += [
        message.get("tool_calls")
        for answer in (*answers, decoded(rows.run["result"]))
        for message in _messages_in(answer)
    ]
    for calls in asked:
        yield from (one["name"] for one in _read_calls(calls))


def _messages_in(answer: object) -> Iterator[Message]:
    found = answer
    if isinstance(answer, dict) and (choices := choices_of(answer)):
        found = choices[0]
    for form in (conversation_in(found) or []) if isinstance(found, dict | list) else ():
        yield from read_form(form, "assistant")


def _read_calls(calls: object) -> Iterator[ToolCall]:
    for one in calls if isinstance(calls, list) else ():
        if isinstance(one, dict) and isinstance((read := tool_call(one))["name"], str):
            yield read


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
                waiting += reversed(list(_in_messages(forms)))
            elif isinstance(inner, dict):
                waiting += reversed(inner.values())
            else:
                waiting += reversed(inner)
        elif isinstance(inner, str):
            if inner.strip():
                yield plain_text(inner)[:MOST_CHARS]
        elif inner is not None and not isinstance(inner, bool):
            yield str(inner)


def _in_messages(forms: Iterable[dict[str, Any]]) -> Iterator[object]:
    for form in forms:
        for message in read_form(form, "user"):
            content = message["content"]
            yield message.get("reasoning")
            if isinstance(content, list) and words_of(content):
                yield from (words_of([part]) for part in content)
            else:  # a text may be JSON; what is none is the result of a tool
                yield content
            yield from _of_tool_calls(message.get("tool_calls"))


def _of_tool_calls(calls: object) -> Iterator[str]:
    for call in _read_calls(calls):
        yield f"calls {call['name']}"
        yield from texts_in(call["arguments"])
