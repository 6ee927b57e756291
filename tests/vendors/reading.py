"""Reads the streams that the vendors' APIs send."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, NamedTuple

__all__ = ["Event", "aws_events", "sse_events"]


class Event(NamedTuple):
    """One event of a stream; `data` is a text where it is not JSON."""

    name: str
    data: Any


def sse_events(text: str) -> list[Event]:
    """Return the events of an SSE stream."""
    return [_sse_event(block) for block in text.replace("\r\n", "\n").split("\n\n") if block]


def _sse_event(block: str) -> Event:
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    data = fields["data"]
    return Event(fields.get("event", ""), json.loads(data) if data.startswith("{") else data)


def aws_events(data: bytes) -> list[Event]:
    """Return the events of AWS's event stream; fails when a checksum is wrong."""
    events = []
    while data:
        length, headers_length, checksum = struct.unpack(">III", data[:12])
        message, data = data[:length], data[length:]
        assert zlib.crc32(message[:8]) == checksum
        assert zlib.crc32(message[:-4]) == int.from_bytes(message[-4:], "big")
        headers = _headers(message[12 : 12 + headers_length])
        name = headers.get(":event-type") or headers[":exception-type"]
        events.append(Event(name, json.loads(message[12 + headers_length : -4])))
    return events


def _headers(data: bytes) -> dict[str, str]:
    headers = {}
    while data:
        name, rest = data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
        kind, length = struct.unpack(">BH", rest[:3])
        assert kind == 7, "not a text"
        headers[name], data = rest[3 : 3 + length].decode(), rest[3 + length :]
    return headers
