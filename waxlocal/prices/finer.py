"""Finer counts of a call's tokens that have a price of their own at some vendors.

They stand in `details.token_details` of a call, as the provider told them. Each is a part of one of
the counts that every call has, and was charged as such; so only the difference is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["FINER_COUNTS", "Charged", "difference", "own_counts"]

# The tokens that were charged as one part of a call, and at which rate.
Charged = tuple[int, float]


class FinerCount(NamedTuple):
    """What it is a part of, what the price list calls its price, and what its tokens are.

    `within` is the finer count that has its tokens, too: those that the cache gave were heard.
    """

    part: str
    listed: str
    words: str
    within: str = ""


FINER_COUNTS = {
    "cache_write_1h": FinerCount(
        "cache_write", "cache_write_1h_mtok", "kept in the cache for an hour"
    ),
    "audio_cached": FinerCount("cached", "cache_audio_read_mtok", "of cached sound", "audio_in"),
    "image_cached": FinerCount("cached", "cache_image_read_mtok", "of cached images", "image_in"),
    "audio_in": FinerCount("input", "input_audio_mtok", "of sound"),
    "image_in": FinerCount("input", "input_image_mtok", "of images"),
    "video_in": FinerCount("input", "input_video_mtok", "of video"),
    "audio_out": FinerCount("output", "output_audio_mtok", "of sound"),
    "image_out": FinerCount("output", "output_image_mtok", "of images"),
    "video_out": FinerCount("output", "output_video_mtok", "of video"),
}
# How the encoder writes the name: most calls have none, and need not be read.
_KEY = '"token_details"'


def own_counts(details: object) -> dict[str, int]:
    """Return the finer counts in the details of a call, each without the tokens of another one."""
    found = details.get("token_details") if isinstance(details, dict) else None
    told = found if isinstance(found, dict) else {}
    given = ((name, told.get(name)) for name in FINER_COUNTS)
    counts = {name: count for name, count in given if type(count) is int and count > 0}
    for name, finer in FINER_COUNTS.items():
        if finer.within in counts:
            counts[finer.within] -= counts.get(name, 0)
    return {name: count for name, count in counts.items() if count > 0}


def difference(rates: Mapping[str, float], details: str, charged: Mapping[str, Charged]) -> float:
    """Return what finer counts cost more than as parts of other counts; it may be below 0.

    `rates` has those of finer counts by name, `details` is the column of a call, and `charged` has
    what was charged for each part, which bounds a finer count. The result has the unit of the
    rates. Raises nothing.
    """
    if _KEY not in details:
        return 0
    try:
        counts = own_counts(_read(details))
    except (RecursionError, ValueError):  # not as we write it
        return 0
    more: float = 0
    left = dict(charged)
    for name, rate in rates.items():
        tokens, at = left[FINER_COUNTS[name].part]
        fits = min(counts.get(name, 0), tokens)
        left[FINER_COUNTS[name].part] = (tokens - fits, at)
        more += fits * (rate - at)
    return more


def _read(details: str) -> Any:
    from json import loads  # a millisecond to import, which not every program needs

    return loads(details)
