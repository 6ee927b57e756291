"""Embeddings: the same text has the same vector, everywhere."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any

from tests.vendors.answers import Asked, Body, Said
from tests.vendors.endpoint import Endpoint, text_of
from tests.vendors.openai_chat import OPENAI

__all__ = ["EMBEDDINGS", "vector"]

_DIMENSIONS = 8


def vector(text: str, dimensions: int = _DIMENSIONS) -> list[float]:
    """Return numbers from -1 to 1 that a text alone decides; single precision holds them."""
    data = hashlib.shake_128(text.encode()).digest(dimensions)
    return [byte / 128 - 1 for byte in data]


def _texts(given: Any) -> list[str]:
    """Return the inputs: one or several texts, or tokens, each of which counts as a word."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given and isinstance(given[0], int):
        return [" ".join(map(str, given))]
    return [text for item in given or () for text in _texts(item)]


def _read(body: Body, _path: Mapping[str, str]) -> Asked:
    return Asked(text_of(body, "model"), body, texts=_texts(body.get("input")), tool_choice="none")


def _whole(asked: Asked, said: Said) -> Body:
    dimensions = asked.body.get("dimensions") or _DIMENSIONS
    made = [vector(text, dimensions) for text in asked.texts]
    if asked.body.get("encoding_format") == "base64":
        data: list[Any] = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in made]
    else:
        data = list(made)
    used = said.usage.tokens_in
    usage = said.usage_as({"prompt_tokens": used, "total_tokens": used})
    rows = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(data)]
    return {"object": "list", "data": rows, "model": said.model, "usage": usage}


EMBEDDINGS = Endpoint(OPENAI, _read, _whole)
