"""What a message says in words, where its content is parts or calls of tools, in any form."""

from __future__ import annotations

import json
import re
from typing import Any

from waxlocal.messages.parts import tool_call

__all__ = ["without_data", "words_of", "words_of_calls"]

# A part that is one of these is named in its place: its base64 says nothing.
_MEDIA = ("image", "audio", "video", "document", "file")
# Where a part says what its data is, whatever it calls itself.
_KINDS = (
    *("type", "modality", "kind", "block_type", "content_type"),
    *("blob", "mime_type", "mimeType", "media_type", "mediaType", "image_mimetype"),
)
# An image within a text, as Markdown has it. Short base64 is none.
_DATA_URL = re.compile(r"data:(\w{0,16})[\w.+/;=%-]{0,80};base64,[\w+/=-]{16,}", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{200,}={0,2}")


def words_of(content: object) -> str:
    """Return a text, or the words of parts, each of them on its own line: `[image]` of an image."""
    parts = content if isinstance(content, list) else [content]
    return "\n".join(filter(None, map(_words_of_part, parts)))


def words_of_calls(calls: object) -> str:
    """Return the tools that an answer asks for, each on its own line: `calls book({"room": 3})`."""
    asked = (_words_of_call(call) for call in (calls if isinstance(calls, list) else ()))
    return "\n".join(filter(None, asked))


def without_data(text: str) -> str:
    """Return a text in which images and other data are named: `[image]`."""
    return _DATA_URL.sub(_name_of_data, text) if ";base64," in text.lower() else text


def _name_of_data(found: re.Match[str]) -> str:
    kind = found[1].lower()
    return f"[{kind}]" if kind in _MEDIA else "[file]"


def _words_of_call(call: object) -> str:
    read = tool_call(call) if isinstance(call, dict) else {"name": ""}
    if not read["name"] or read["arguments"] is None:  # without content, only the name is kept
        return f"calls {read['name']}" if read["name"] else ""
    given = read["arguments"]
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return f"calls {read['name']}({_BASE64.sub('[data]', text)})"


def _words_of_part(part: object) -> str:
    if not isinstance(part, dict):
        return without_data(part) if isinstance(part, str) else ""
    text = part.get("text")
    if isinstance(text, str):
        return without_data(text)
    media = _media_of(part)
    return f"[{media}]" if media else ""


def _media_of(part: dict[str, Any]) -> str:
    told = _kinds_told(part)
    if len(part) == 1:  # Bedrock's parts have no type, nor Gemini's: {"image": {...}}
        ((name, inner),) = part.items()
        told.append(str(name))
        if isinstance(inner, dict):
            told += _kinds_told(inner)
    found = (word for kind in told for word in _MEDIA if word in kind)
    return next(found, "file" if any("/" in kind for kind in told) else "")


def _kinds_told(part: dict[str, Any]) -> list[str]:
    return [kind for name in _KINDS if isinstance(kind := part.get(name), str)]
