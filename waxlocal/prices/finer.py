"""Finer counts of a call's tokens that have a price of their own at some vendors.

They stand in `details.token_details` of a call, as the provider told them. Each is a part of one of
the counts that every call has, and was charged as such; so only the difference is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["FINER_COUNTS", "Charged", "difference"]

# The tokens that were charged as one part of a call, and at which rate.
Charged = tuple[int, float]


class FinerCount(NamedTuple):
    """What it is a part of, what the price list calls its price, and what its tokens are."""

    part: str
    listed: str
    words: str


FINER_COUNTS = {
    "cache_write_1h": FinerCount(
        "cache_write", "cache_write_1h_mtok", "kept in the cache for an hour"
    ),
    "audio_in": FinerCount("input", "input_audio_mtok", "of sound"),
    "image_in": FinerCount("input", "input_image_mtok", "of images"),
    "video_in": FinerCount("input", "input_video_mtok", "of video"),
    "audio_out": FinerCount("output", "output_audio_mtok", "of sound"),
    "image_out": FinerCount("output", "output_image_mtok", "of images"),
    "video_out": FinerCount("output", "output_video_mtok", "of video"),
}
# How the encoder writes the name: most calls have none, and need not be read.
_KEY = '"token_details"'


def difference(rates: Mapping[str, float], details: str, charged: dict[str, Charged]) -> float:
    """Return what finer counts cost more than as parts of other counts; it may be below 0.

    `rates` has those of finer counts by name, `details` is the column of a call, and `charged` has
    what was charged for each part. A finer count is bounded by it: of sound that the cache gave,
    nobody tells how much it was. The result has the unit of the rates. Raises nothing.
    """
    if _KEY not in details:
        return 0
    try:
        found = _read(details)["token_details"]
        counts = {name: found.get(name) for name in rates}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):  # not as we write it
        return 0
    more: float = 0
    left = dict(charged)
    for name, count in counts.items():
        part = FINER_COUNTS[name].part
        tokens, rate = left[part]
        fits = min(count, tokens) if type(count) is int and count > 0 else 0
        left[part] = (tokens - fits, rate)
        more += fits * (rates[name] - rate)
    return more


def _read(details: str) -> Any:
    from json import loads  # a millisecond to import, which not every program needs

    return loads(details)
