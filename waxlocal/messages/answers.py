"""Where the answer stands in the response of a vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CHOICES", "choices_of"]

# OpenAI's chat, Gemini's, LangChain's.
CHOICES = ("choices", "candidates", "generations")
# And OpenAI's responses.
_HOLDERS = ("choices", "candidates", "output", "generations")


def choices_of(response: object, holders: Sequence[str] = _HOLDERS) -> list[object] | None:
    """Return the answers in a response, as messages or what is like them; None if it has none."""
    if isinstance(response, Mapping):
        for name in holders:
            items = response.get(name)
            if isinstance(items, list) and items:
                return [_of_choice(item) for item in items]
    return None


def _of_choice(item: object) -> object:
    if isinstance(item, list) and item:  # LangChain: a list of generations for each prompt
        item = item[0]
    if isinstance(item, Mapping):
        names = ("message", "content", "delta")
        return next((item[name] for name in names if _inner(item, name)), item)
    return item


def _inner(item: Mapping[str, Any], name: str) -> bool:
    return isinstance(item.get(name), Mapping)
