"""Long texts, folded: what shows at first, and what opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from waxlocal.web.pages.figures import pretty

__all__ = ["Fold", "fold"]

# A text that is a little longer than what shows is not worth a click.
HEAD_CHARS, HEAD_LINES = 700, 10
SLACK = 1.5


@dataclass(frozen=True)
class Fold:
    """A text; `head` is what shows before it is opened, empty when all of it does.

    `length` is that of the original in characters, of which `text` may be only the beginning.
    """

    text: str
    head: str
    length: int

    @property
    def cut(self) -> bool:
        """Whether the page does not have all of it."""
        return self.length > len(self.text)


def fold(value: Any, *, most: int, chars: int = HEAD_CHARS, lines: int = HEAD_LINES) -> Fold | None:
    """Return a recorded value as text, folded where it is long; None for nothing to say.

    `most` is how many characters a page takes of it.
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
