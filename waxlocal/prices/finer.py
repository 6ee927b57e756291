"""Finer counts of a call that have a price of their own at some vendors.

They stand in `details.token_details` of a call, as the provider told them.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FINER_COUNTS", "own_counts"]


class FinerCount(NamedTuple):
    """What it is a part of, what the price list calls its price, and what is counted.

    `part` is the count that has these tokens, too, and is charged for them otherwise; it is empty
    for what is billed beside tokens. `within` is the finer count that includes these tokens: sound
    that the cache gave was heard as well.
    """

    part: str
    listed: str
    words: str
    within: str = ""

    def price(self, dollars: float) -> str:
        """Return in words what so many dollars per million are."""
        from waxlocal import wording  # no program that records needs it

        each = wording.rate(dollars if self.part else dollars / 1000)
        return each if self.part else f"{each} a thousand"


# In the order in which they are charged, where their part has fewer tokens than all of them.
FINER_COUNTS = {
    "cache_write_1h": FinerCount(
        "cache_write", "cache_write_1h_mtok", "tokens kept in the cache for an hour"
    ),
    "audio_cached": FinerCount(
        "cache_read", "cache_audio_read_mtok", "tokens of cached sound", "audio_in"
    ),
    "image_cached": FinerCount(
        "cache_read", "cache_image_read_mtok", "tokens of cached images", "image_in"
    ),
    "audio_in": FinerCount("input", "input_audio_mtok", "input tokens of sound"),
    "image_in": FinerCount("input", "input_image_mtok", "input tokens of images"),
    "video_in": FinerCount("input", "input_video_mtok", "input tokens of video"),
    "audio_out": FinerCount("output", "output_audio_mtok", "output tokens of sound"),
    "image_out": FinerCount("output", "output_image_mtok", "output tokens of images"),
    "video_out": FinerCount("output", "output_video_mtok", "output tokens of video"),
    "web_searches": FinerCount("", "web_searches_kcount", "searches in the web"),
}


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
