"""Fold long texts: the part that shows at first, and the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from waxlocal.web.pages.figures import pretty
from waxlocal.web.pages.markdown import markdown

__all__ = [
    "CHARS",
    "LINES",
    "MOST_VALUE_CHARS",
    "Fold",
    "Words",
    "fold",
    "folded_value",
]

# Do not fold a text that is only slightly longer than its visible part.
HEAD_CHARS, HEAD_LINES = 1_000, 16
SLACK = 1.5
# Maximum characters of one value of a run; the JSON has all of them.
MOST_VALUE_CHARS = 100_000
# Fold values with more lines than this: about half a screen.
LINES, CHARS = 18, 1_200
MOST_RENDERED = 100_000


@dataclass(frozen=True)
class Fold:
    """A text; `head` is its visible part while it is folded, empty if it is not folded.

    `length` is the length of the original in characters; `text` may be only its beginning.
    `rendered` is the text as HTML, where it is Markdown, `rendered_head` its visible part.
    """

    text: str
    head: str
    length: int
    rendered: Markup | None = None
    rendered_head: Markup | None = None

    @property
    def cut(self) -> bool:
        """Whether the page has only the beginning of the text."""
        return self.length > len(self.text)


def fold(
    value: Any, *, most: int | None, chars: int = HEAD_CHARS, lines: int = HEAD_LINES
) -> Fold | None:
    """Return a recorded value as text, folded if it is long; None if there is no value.

    `most` is the maximum number of characters on the page; None for all of them.
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


def folded_value(value: object) -> Fold | None:
    """Return a recorded value, folded past half a screen; None for an empty value."""
    return fold(value, most=MOST_VALUE_CHARS, lines=LINES, chars=CHARS)


class Words:
    """What was said on a page, folded, with its Markdown rendered.

    Markdown takes a hundred times as long as plain text: it is rendered in at most so many
    characters, of a page by default; None for all.
    """

    def __init__(self, most: int | None = MOST_RENDERED) -> None:
        self._left = most

    def fold(self, text: str, *, most: int | None) -> Fold | None:
        """Return the next text as `fold` does."""
        found = fold(text, most=most)
        if found is None or (self._left is not None and self._left < len(found.text)):
            return found
        rendered = markdown(found.text)
        if rendered is not None and self._left is not None:
            self._left -= len(found.text)
        head = markdown(f"{found.head}…") if found.head else None
        return replace(found, rendered=rendered, rendered_head=head)
