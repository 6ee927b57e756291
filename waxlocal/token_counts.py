"""How many tokens a call took, and what an emitter's input count means.

waxlocal's `tokens_in` is all input, and `tokens_out` all output. Most emitters count so, too. Some
count the cached tokens beside the input (Anthropic's API, Bedrock's Converse, Claude Code), some
the reasoning tokens beside the output (Gemini, xAI). To take one for the other loses most of a long
prompt, which is nearly all cache. Where nothing else is known, the numbers themselves decide, and
`note` says so.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MAX_COUNT", "UNKNOWN", "TokenCounts", "count", "settled"]

# No call comes near; and the sum of a few still fits SQLite's integers and JavaScript's numbers.
MAX_COUNT = 10**15


class TokenCounts(NamedTuple):
    """The tokens of a call; None is unknown, and 0 only what somebody counted.

    `cached` and `cache_write` are parts of `tokens_in`: read from the provider's cache, and written
    to it. `reasoning` is a part of `tokens_out`. `details` has finer counts by name: `audio_in`,
    `cache_write_1h`, ...
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    details: dict[str, int] | None = None
    note: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the input or the output was counted."""
        return self.tokens_in is not None or self.tokens_out is not None


UNKNOWN = TokenCounts()


def count(value: object) -> int | None:
    """Return a number of tokens; None for anything that is not a count.

    Takes whole numbers as `int`, as `float` (Cohere) and as digits (OTLP's JSON writes 64 bits so).
    """
    if isinstance(value, str):
        digits = len(value) <= 16 and value.isascii() and value.isdigit()
        number = int(value) if digits else -1
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else -1
    else:
        number = int(value) if isinstance(value, int) and not isinstance(value, bool) else -1
    return number if 0 <= number <= MAX_COUNT else None


def settled(
    counts: TokenCounts,
    total: int | None = None,
    *,
    cache_beside: bool = False,
    reasoning_beside: bool = False,
) -> TokenCounts:
    """Return the counts with `tokens_in` as all input, and `tokens_out` as all output.

    `total` is the sum that the emitter sent. `cache_beside` says that this emitter is known to
    count cached tokens beside the input, `reasoning_beside` the same of reasoning and output.
    """
    return _with_reasoning(_with_cache(counts, total, cache_beside), total, reasoning_beside)


def _with_cache(counts: TokenCounts, total: int | None, known_beside: bool) -> TokenCounts:
    tokens_in = counts.tokens_in
    beside = (counts.cached or 0) + (counts.cache_write or 0)
    if tokens_in is None or not beside:
        return counts
    note = ""
    if not known_beside:
        why = _why_beside(beside, tokens_in, "input", counts.tokens_out or 0, total)
        if not why:
            return counts
        note = f"{beside:,} cached tokens were counted beside the input: {why}"
    return counts._replace(tokens_in=tokens_in + beside, note=_joined(counts.note, note))


def _with_reasoning(counts: TokenCounts, total: int | None, known_beside: bool) -> TokenCounts:
    tokens_out, reasoning = counts.tokens_out, counts.reasoning
    if tokens_out is None or not reasoning:
        return counts
    note = ""
    if not known_beside:
        why = _why_beside(reasoning, tokens_out, "output", counts.tokens_in, total)
        if not why:
            return counts
        note = f"{reasoning:,} reasoning tokens were counted beside the output: {why}"
    return counts._replace(tokens_out=tokens_out + reasoning, note=_joined(counts.note, note))


def _why_beside(part: int, whole: int, side: str, other: int | None, total: int | None) -> str:
    """Return why a part must have been counted beside its side, not in it; empty if it need not.

    `other`: the tokens of the other side.
    """
    if part > whole:
        return f"more than the {whole:,} of {side}"
    if total is not None and other is not None and total == whole + other + part:
        return f"as the total of {total:,} says"
    return ""


def _joined(before: str, note: str) -> str:
    return f"{before}; {note}" if before and note else before or note
