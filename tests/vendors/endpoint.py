"""What an endpoint is to the server: how it reads a request, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.vendors.answers import Asked, Body, Refused, Said
from tests.vendors.replies import Fault

__all__ = [
    "CREATED",
    "SIGNATURE",
    "SSE",
    "Endpoint",
    "Vendor",
    "event",
    "list_of",
    "part_texts",
    "text_of",
]

SSE = "text/event-stream; charset=utf-8"
# Unix seconds of every answer: the same each time.
CREATED = 1_750_000_000
# What proves to Anthropic that it has thought so itself; here, anything.
SIGNATURE = "c3RhbmQtaW4="


@dataclass(frozen=True)
class Vendor:
    """What all endpoints of a vendor share."""

    name: str
    # The name of the header that carries the number of the request.
    id_header: str
    error_body: Callable[[Fault, str], Body]
    # An error in the middle of a stream.
    error_frame: Callable[[Fault, str], bytes]
    error_headers: Callable[[Fault], Mapping[str, str]] = lambda _fault: {}


@dataclass(frozen=True)
class Endpoint:
    """One call of a vendor's API.

    `read` takes the body and the names in the path, and raises Refused; `frames` is None where
    nothing is streamed.
    """

    vendor: Vendor
    read: Callable[[Body, Mapping[str, str]], Asked]
    whole: Callable[[Asked, Said], Any]
    frames: Callable[[Asked, Said], Iterator[bytes]] | None = None
    stream_type: str = SSE
    headers: Callable[[Said], Mapping[str, str]] = lambda _said: {}


def event(data: Body | str, name: str = "", *, newline: str = "\n") -> bytes:
    """Return one event of an SSE stream."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}{newline}" if name else ""
    return f"{head}data: {text}{newline}{newline}".encode()


def text_of(body: Body, name: str) -> str:
    """Return a text that a request must have."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"Missing required parameter: '{name}'.")
    return value


def list_of(body: Body, name: str) -> list[Any]:
    """Return a list that a request must have, and that must not be empty."""
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise Refused(f"'{name}' must be a list that is not empty.")
    return value


def part_texts(content: Any) -> list[str]:
    """Return the texts of a message's content: a text, or parts that may have one."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    parts = (part if isinstance(part, dict) else {"text": part} for part in content)
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]
