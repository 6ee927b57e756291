"""Fold long texts: the part that shows at first, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from waxlocal.web.pages.figures import pretty

__all__ = ["Fold", "fold"]

# Do not fold a text that is only slightly longer than its visible part.
HEAD_CHARS, HEAD_LINES = 700, 10
SLACK = 1.5


@dataclass(frozen=True)
class Fold:
    """A text; `head` is its visible part while it is folded, empty if it is not folded.

    `length` is the length of the original in characters; `text` may be only its beginning.
    """

    text: str
    head: str
    length: int

    @property
    def cut(self) -> bool:
        """Whether the page has only the beginning of the text."""
        return self.length > len(self.text)


def fold(value: Any, *, most: int, chars: int = HEAD_CHARS, lines: int = HEAD_LINES) -> Fold | None:
    """Return a recorded value as text, folded if it is long; None if there is no value.

    `most` is the maximum number of characters on the page.
    """
    if value is None:
        return None
    whole = pretty(value).strip("\n")
    if not whole.strip():
        return None
    text = whole[:most]
    broken = text.split("\n", int(lines * SLACK) + 1)
    if len(text) <= chars * SLACK and len(broken) <= lines * SLACK:
        return Fold(text, "", len(whole))
    head = "\n".join(broken[:lines])[:chars].rstrip()
    return Fold(text, head, len(whole))
