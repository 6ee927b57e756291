"""Counts of tokens, as the program hands them over, of which a part is greater than its whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.token_counts import MAX_COUNT, TokenCounts, settled

__all__ = ["sound_counts"]

_PARTS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")
_COUNTED = ("tokens_in", "tokens_out", *_PARTS)


def sound_counts(
    call: Mapping[str, Any], *, is_known: bool = True
) -> tuple[dict[str, int | None], str]:
    """Return the five counts of a call by name, and a note if one had to be changed.

    A part that is greater than its whole was counted beside it, as Anthropic counts its cache: then
    the whole is their sum. Not so of a whole that is not known (`is_known`), nor of counts beyond
    all sense.
    """
    given: dict[str, int | None] = {name: call[name] for name in _COUNTED}
    if not is_known or any(not 0 <= (number or 0) <= MAX_COUNT for number in given.values()):
        return given, ""  # kept as they are, as by the original
    cached, written, reasoning = parts = [given.get(name) for name in _PARTS]
    whole = settled(
        TokenCounts(given.get("tokens_in"), given.get("tokens_out"), cached, written, reasoning)
    )
    counts = {"tokens_in": whole.tokens_in, "tokens_out": whole.tokens_out}
    return counts | dict(zip(_PARTS, parts, strict=True)), whole.note
