"""The words of a message whose content is a list of parts, in any vendor's form."""

from __future__ import annotations

from typing import Any

__all__ = ["words_of"]

# A part that is one of these is named in its place: its base64 says nothing.
_MEDIA = ("image", "audio", "video", "document", "file")
# Where a part says what its data is, whatever it calls itself.
_KINDS = ("type", "modality", "blob", "mime_type", "mimeType", "media_type", "mediaType")


def words_of(content: object) -> str:
    """Return a text, or the words of parts, each of them on its own line: `[image]` of an image."""
    parts = content if isinstance(content, list) else [content]
    return "\n".join(filter(None, map(_words_of_part, parts)))


def _words_of_part(part: object) -> str:
    if not isinstance(part, dict):
        return part if isinstance(part, str) else ""
    text = part.get("text")
    if isinstance(text, str):
        return text
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
