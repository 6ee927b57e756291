"""AWS's event stream: binary messages with headers and two checksums.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html has the form.
"""

from __future__ import annotations

import json
import struct
import zlib

from tests.vendors.answers import Body

__all__ = ["EVENT_STREAM", "aws_event", "aws_exception"]

EVENT_STREAM = "application/vnd.amazon.eventstream"
_TEXT = 7  # the type of a header's value


def aws_event(name: str, data: Body) -> bytes:
    """Return an event as it goes over the wire."""
    return _message({":event-type": name, ":message-type": "event"}, data)


def aws_exception(name: str, data: Body) -> bytes:
    """Return an error in the middle of a stream."""
    return _message({":exception-type": name, ":message-type": "exception"}, data)


def _message(headers: dict[str, str], data: Body) -> bytes:
    told = {**headers, ":content-type": "application/json"}
    encoded = b"".join(_header(name, value) for name, value in told.items())
    payload = json.dumps(data).encode()
    # Both lengths and their checksum, headers, payload, and the checksum of all that.
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    head = struct.pack(">B", len(name)) + name.encode()
    return head + struct.pack(">BH", _TEXT, len(value)) + value.encode()
