"""From a request and a reply to what is said, the same for all vendors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.vendors.replies import Fault, Reply, ToolCall, Usage

__all__ = ["Asked", "Body", "Refused", "Said", "Tool", "count_words", "example", "pieces", "say"]

Body = Mapping[str, Any]


class Refused(Exception):
    """A request that the vendor would not take."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.fault = Fault(status, message)


@dataclass(frozen=True)
class Tool:
    """A tool that the request offers, with the JSON schema of its arguments."""

    name: str
    schema: Body


@dataclass(frozen=True)
class Asked:
    """What an endpoint has read in a request."""

    model: str
    body: Body
    # Everything that the model reads, in order; counted by words.
    texts: Sequence[str] = ()
    last_user: str = ""
    tools: Sequence[Tool] = ()
    # "auto", "none", "required", or the name of a tool.
    tool_choice: str = "auto"
    # The tools that this conversation has called since the user last spoke.
    called: frozenset[str] = frozenset()
    # The schema that the answer's text must fit, or None for plain text.
    schema: Body | None = None
    stream: bool = False


@dataclass(frozen=True)
class Said:
    """The answer, before a vendor's form is given to it."""

    number: int
    model: str
    text: str
    tool_calls: Sequence[ToolCall]
    reasoning: str
    usage: Usage
    raw_usage: Body | None
    finish: str
    response_id: str | None = None

    def named(self, prefix: str) -> str:
        """Return an id that begins as the vendor's do: the number of the request makes it."""
        return f"{prefix}{self.number:08d}"

    def answer_id(self, prefix: str) -> str:
        """Return the id of the whole answer."""
        return self.named(prefix) if self.response_id is None else self.response_id

    def usage_as(self, form: Body) -> dict[str, Any] | None:
        """Return the usage to send: the vendor's form, or what the reply has in its place."""
        return dict(form if self.raw_usage is None else self.raw_usage) or None


def say(asked: Asked, reply: Reply, number: int) -> Said:
    """Return the answer to a request.

    `number` is that of the request at this server: it makes the ids, so that figures and ids are
    the same each time a program runs.
    """
    calls = reply.tool_calls or (_tool_calls(asked) if reply.text is None else ())
    text = _text(asked, reply, bool(calls))
    named = tuple(_with_id(call, number, place) for place, call in enumerate(calls))
    spoken = [text, reply.reasoning, *(json.dumps(dict(call.arguments)) for call in named)]
    counted = Usage(
        tokens_in=sum(map(count_words, asked.texts)),
        tokens_out=sum(map(count_words, spoken)),
        reasoning=count_words(reply.reasoning),
    )
    return Said(
        number=number,
        model=reply.model or asked.model,
        text=text,
        tool_calls=named,
        reasoning=reply.reasoning,
        usage=reply.usage or counted,
        raw_usage=reply.raw_usage,
        finish=reply.finish or ("tools" if named else "stop"),
        response_id=reply.response_id,
    )


def _text(asked: Asked, reply: Reply, calls: bool) -> str:
    if reply.text is not None:
        return reply.text
    if calls:
        return ""
    if asked.schema is not None:
        return json.dumps(example(asked.schema, asked.last_user))
    return f"You said: {asked.last_user}"


def _tool_calls(asked: Asked) -> tuple[ToolCall, ...]:
    """Call each tool once, one after the other; a loop of an agent so comes to its end."""
    wanted = [tool for tool in asked.tools if tool.name not in asked.called]
    if asked.tool_choice == "none" or not asked.tools:
        return ()
    if asked.tool_choice not in ("auto", "required"):
        wanted = [tool for tool in asked.tools if tool.name == asked.tool_choice]
    elif asked.tool_choice == "required" and not wanted:
        wanted = [asked.tools[-1]]
    return tuple(ToolCall(tool.name, example(tool.schema, asked.last_user)) for tool in wanted[:1])


def _with_id(call: ToolCall, number: int, place: int) -> ToolCall:
    return call if call.id else ToolCall(call.name, call.arguments, f"call_{number:08d}{place:02d}")


def count_words(text: str) -> int:
    """Return the tokens of a text, as the stand-in counts them."""
    return len(text.split())


def pieces(text: str) -> Iterator[str]:
    """Yield a text word by word, each with the space before it: the chunks of a stream."""
    yield from re.findall(r"\s*\S+|\s+$", text)


def example(schema: Body, text: str) -> Any:
    """Return a value that fits a JSON schema; each text in it is the given one."""
    return _Example(schema, text).of(schema)


@dataclass
class _Example:
    root: Body
    text: str

    def of(self, schema: Body) -> Any:
        if "$ref" in schema:
            return self.of(self._target(schema["$ref"]))
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        for several in ("anyOf", "oneOf", "allOf"):
            if schema.get(several):
                return self.of(schema[several][0])
        return self._of_type(schema)

    def _of_type(self, schema: Body) -> Any:
        kind = schema.get("type", "object")
        match str(kind[0] if isinstance(kind, list) else kind).lower():
            case "object":
                return {name: self.of(part) for name, part in schema.get("properties", {}).items()}
            case "array":
                return [self.of(schema["items"])] if schema.get("items") else []
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case "null":
                return None
        return self.text

    def _target(self, ref: str) -> Body:
        found: Any = self.root
        for name in ref.removeprefix("#/").split("/"):
            found = found[name]
        return found  # type: ignore[no-any-return]
