"""The tokens of a call, as its span has them: all input and all output, or unknown."""

from __future__ import annotations

from waxlocal.capture import attribute_map as rows
from waxlocal.capture.attribute_map import first_count
from waxlocal.capture.facts import ReadSpan, SpanStatus
from waxlocal.capture.whole_values import with_counts_of_response
from waxlocal.token_counts import UNKNOWN, TokenCounts, settled

__all__ = ["cut_off", "token_counts", "whole"]


def token_counts(span: ReadSpan, response: object = None) -> TokenCounts:
    """Return the tokens of a call, as all input and all output; unknown where nobody counted.

    `response` is the whole one, where the span has it.
    """
    given = span.attributes
    details = {name: first_count(given, row) for name, row in rows.TOKEN_DETAILS.items()}
    counts = TokenCounts(
        first_count(given, rows.TOKENS_IN),
        first_count(given, rows.TOKENS_OUT),
        first_count(given, rows.CACHE_READ),
        first_count(given, rows.CACHE_WRITE),
        first_count(given, rows.REASONING),
        {name: number for name, number in details.items() if number} or None,
    )
    if span.status == SpanStatus.ERROR and not (counts.tokens_in or counts.tokens_out):
        return UNKNOWN  # the zeros of a failed call were not counted by anybody
    total = first_count(given, rows.TOKENS_TOTAL)
    told = settled(counts, total, cache_beside=_counts_cache_beside(span))
    return with_counts_of_response(response, told)


def whole(counts: TokenCounts, *, answered: bool) -> TokenCounts:
    """Return counts; unknown where one side of a call that was answered was not counted."""
    if counts.tokens_in is None and counts.tokens_out is not None:
        return TokenCounts(note=f"only the output was counted: {counts.tokens_out:,}")
    if counts.tokens_out is None and counts.tokens_in is not None and answered:
        return TokenCounts(note=f"only the input was counted: {counts.tokens_in:,}")
    return counts


def cut_off(counts: TokenCounts) -> TokenCounts:
    """Return the counts of an answer that ended before they were complete: they are unknown."""
    if not counts.is_known:
        return counts
    return TokenCounts(
        note=f"the answer was cut off before its end; until then {counts.tokens_in or 0:,} of "
        f"input and {counts.tokens_out or 0:,} of output were told"
    )


def _counts_cache_beside(span: ReadSpan) -> bool:
    return span.name.startswith("claude_code.") or span.scope.startswith(
        "com.anthropic.claude_code"
    )
