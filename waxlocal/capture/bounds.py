"""Values of a span, bounded: text by size, structures by depth and parts, blobs by their hash.

What arrives here may be anything: another process wrote it, or a hook handed over live objects. So
each value is copied into plain ones, and nothing raises.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from waxlocal.encode import as_text, text
from waxlocal.known_types import Reader, is_opaque, reader_of
from waxlocal.signal_handlers import Suppress

__all__ = ["MAX_DEPTH", "MAX_TEXT", "blob", "bounded", "cut_text"]

# The bytes of one text, in UTF-8.
MAX_TEXT = 1024 * 1024
MAX_DEPTH = 32
# Of one value together: a list that holds itself ten times has 10^32 parts within the depth.
MAX_PARTS = 100_000
# Shorter base64 is not an image; a short word looks like base64, too.
MIN_BLOB = 64

# Under which names a structure says what its data is, and where the data is.
_MIME_NAMES = ("mime_type", "mimeType", "media_type", "mediaType")
_DATA_NAMES = ("data", "content", "bytes", "base64", "image", "file_data")
# OpenAI says only this of recorded speech.
_AUDIO_FORMATS = frozenset(("wav", "mp3", "pcm16", "flac", "opus", "aac"))
_MARKS = frozenset((*_MIME_NAMES, "format"))
_DATA_URL = "data:"
_UNNAMED = "application/octet-stream"
_SCALARS = frozenset((bool, int, float))


def cut_text(value: str) -> str:
    """Return the text; its first MiB and a mark if it is longer. Replaces lone surrogates."""
    if len(value) > MAX_TEXT // 4:
        encoded = value.encode("utf-8", "replace")
        if len(encoded) > MAX_TEXT:
            start = encoded[:MAX_TEXT].decode("utf-8", "ignore")
            return f"{start}… [cut: {len(encoded):,} bytes]"
    return text(value)


def blob(mime: str, data: bytes | str) -> dict[str, Any]:
    """Return what stands for binary data: its type, size and SHA-256. Text is taken as base64."""
    raw = data if isinstance(data, bytes) else _decoded(data)
    return {"blob": mime, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def bounded(value: object, *, keep_blobs: bool = False) -> Any:
    """Return a copy of any value in plain ones: at most 32 levels, 1 MiB a text, 100,000 parts.

    Binary data becomes its type, size and hash, unless `keep_blobs`; then it stays, as base64.
    """
    with Suppress(Exception):  # a list or a mapping of the program's own that cannot be read
        return _Copy(keep_blobs).of(value, 0)
    return cut_text(as_text(value))


class _Copy:
    def __init__(self, keep_blobs: bool) -> None:
        self.keep_blobs = keep_blobs
        self.parts = 0

    def of(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind in _SCALARS:
            return value
        if depth < MAX_DEPTH:
            if kind is dict:
                return self.mapping(value, depth)
            if kind is list or kind is tuple:
                return self.items(value, depth)
        return self.other(value, depth)

    def other(self, value: object, depth: int) -> Any:
        """Return what is not of one of JSON's own types, or is too deep."""
        if isinstance(value, str):
            return self.text(str.__str__(value))  # of a member of an enumeration, its value
        if isinstance(value, bytes | bytearray | memoryview):
            return self.data(_UNNAMED, bytes(value))
        if depth >= MAX_DEPTH:
            return {"$deep": type(value).__name__}
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self.items(value, depth)
        return self.object(value, depth)

    def text(self, value: str) -> Any:
        if value[:5] == _DATA_URL:
            head, comma, data = value.partition(",")
            if comma and head.endswith(";base64"):
                mime = head[len(_DATA_URL) :].partition(";")[0]
                return value if self.keep_blobs else blob(cut_text(mime), data)
        return cut_text(value)

    def data(self, mime: str, data: bytes | str) -> Any:
        if not self.keep_blobs:
            return blob(mime, data)
        return data if isinstance(data, str) else base64.b64encode(data).decode("ascii")

    def mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        copy: dict[str, Any] = {}
        held = None if _MARKS.isdisjoint(value) else _data_in(value)
        for name, inner in _items_of(value):
            self.parts += 1
            if self.parts > MAX_PARTS:
                copy["$more"] = len(value) - len(copy)
                break
            key = cut_text(name) if type(name) is str else as_text(name)
            if held is not None and name == held[1]:
                copy[key] = self.data(held[0], inner)
            else:
                copy[key] = self.of(inner, depth + 1)
        return copy

    def items(self, value: Any, depth: int) -> Any:
        copy: list[Any] = []
        for inner in value:
            self.parts += 1
            if self.parts > MAX_PARTS:
                copy.append({"$more": len(value) - len(copy)})
                break
            copy.append(self.of(inner, depth + 1))
        return copy

    def object(self, value: object, depth: int) -> Any:
        """Return a dataclass, a model or a plain object by its fields, others as their text."""
        with Suppress(Exception):
            found = _reader(type(value))
            if found is not None:
                reader, kind = found
                return self.of(reader(kind, value), depth + 1)
            if not is_opaque(type(value)):
                fields = object.__getattribute__(value, "__dict__")
                if not _FIELDS_OF_CONTENT.isdisjoint(fields):
                    return self.mapping(fields, depth)
        return cut_text(as_text(value))


# What the objects of messages and tools have one of, whoever made their class.
_FIELDS_OF_CONTENT = frozenset(("role", "type", "parts", "content", "function", "parameters"))


# Of the types of a library's messages there are a dozen, and of messages a million.
MAX_TYPES = 256
_KNOWN: dict[type, tuple[Reader, Any] | None] = {}


def _reader(kind: type) -> tuple[Reader, Any] | None:
    """Return what reads values of this type; remembered, as finding it takes longer."""
    if kind not in _KNOWN:
        if len(_KNOWN) >= MAX_TYPES:
            _KNOWN.clear()
        _KNOWN[kind] = reader_of(kind)
    return _KNOWN.get(kind)


def _items_of(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    if type(value) is dict:
        return list(value.items())
    with Suppress(Exception):
        return list(value.items())
    return []


def _data_in(value: Mapping[Any, Any]) -> tuple[str, str] | None:
    """Return (MIME type, name of the data) of a structure that holds binary data."""
    with Suppress(Exception):
        mime = _mime(value)
        if value.get("type") == "blob" and isinstance(value.get("content"), str | bytes):
            return mime or _UNNAMED, "content"
        if mime and (name := _data_name(value)):
            return mime, name
    return None


def _data_name(value: Mapping[Any, Any]) -> str:
    for name in _DATA_NAMES:
        data = value.get(name)
        if isinstance(data, bytes) or (isinstance(data, str) and _is_base64(data)):
            return name
    return ""


def _mime(value: Mapping[Any, Any]) -> str:
    for name in _MIME_NAMES:
        mime = value.get(name)
        if isinstance(mime, str) and mime:
            return mime[:200]
    sound = value.get("format")
    return f"audio/{sound}" if isinstance(sound, str) and sound in _AUDIO_FORMATS else ""


def _is_base64(value: str) -> bool:
    """Return whether text looks like base64: long, and of its letters alone at the start."""
    start = value[:256].replace("\n", "").replace("\r", "")
    return (
        len(value) >= MIN_BLOB
        and start.isascii()
        and start.replace("+", "").replace("/", "").replace("-", "").replace("_", "")
        .rstrip("=").isalnum()
    )  # fmt: skip


def _decoded(data: str) -> bytes:
    """Return base64 as bytes; text that is none, as its own."""
    raw = data.encode("utf-8", "replace")
    try:
        return base64.b64decode(raw.translate(_URL_SAFE), validate=False)
    except ValueError:
        return raw


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
