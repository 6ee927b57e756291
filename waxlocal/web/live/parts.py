"""The live parts of a page: found in its HTML, marked, and compared.

A part is an element with `data-live`; the mark of a part changes whenever its HTML does. A page has
its marks with it, in `data-mark`, and a stream is told which of them somebody has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from html import unescape
from typing import Any

__all__ = ["Changes", "Snapshot", "live_parts", "marked"]

# Templates escape what stands in attributes: the first > ends a tag.
_PART = re.compile(r'<(?P<tag>\w+)\b[^>]*? data-live="(?P<key>[^"]*)"[^>]*>')
_GROWS = re.compile(r'<div data-grows="([^"]*)"')
_MARK = re.compile(r'^<\w+ data-mark="(\w+)"')
_SLOW = re.compile(r"^<[^>]* data-slow\b")
# What the page itself tells anew is no change: how long ago something was, and what is selected.
_BY_PAGE = re.compile(r'( data-ago>)[^<]*| aria-current="true"')
# Between two tags: a fifth of a page. Recorded text has no tags.
_INDENT = re.compile(r">\n\s*<")
# Bytes of a mark: of two states of one part, or of the parts of one page, none have the same.
MARK_BYTES = 6


@dataclass(frozen=True)
class Part:
    """An element: its key and mark, where it stands in the page, and its HTML.

    `grows`: the list at whose end it is added if it is new. A `slow` part is large and not urgent:
    it is not told with every change, and who wants it asks for it.
    """

    key: str
    mark: str
    start: int
    html: str
    grows: str
    slow: bool

    @property
    def is_row(self) -> bool:
        """Whether it is a row of the list of the page."""
        return self.html.startswith("<tr ")


@dataclass(frozen=True)
class Changes:
    """What somebody lacks of a snapshot.

    `slow`: keys of slow parts. `old`: marks that are no longer those of any part. `rows`: the marks
    of the rows of a list, in order.
    """

    parts: list[Part]
    slow: list[str]
    old: list[str]
    rows: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as the script of the pages takes it."""
        return {
            "parts": [[_INDENT.sub(">\n<", one.html), one.grows] for one in self.parts],
            "slow": self.slow,
            "old": self.old,
            "rows": self.rows,
        }


class Snapshot:
    """The live parts of a page as read at `made_at`.

    `refresh` are the seconds after which a page that asks now and then asks again.
    """

    def __init__(self, text: str, made_at: float = 0.0) -> None:
        self.made_at = made_at
        self.parts = live_parts(text)
        found = re.search(r'<main [^>]*?data-refresh="(\d+)"', text)
        self.refresh = int(found[1]) if found else 0

    @cached_property
    def marks(self) -> Mapping[str, Part]:
        """The parts by their marks."""
        return {one.mark: one for one in self.parts}

    @cached_property
    def id(self) -> str:
        """A name for all of this state, always of the same length."""
        return _digest(",".join(self.marks))

    def since(self, known: Collection[str]) -> Changes | None:
        """Return what somebody lacks who has these marks; None if that is nothing."""
        missing = [one for one in self.parts if one.mark not in known]
        old = [mark for mark in known if mark not in self.marks]
        if not missing and not old:
            return None
        return Changes(
            [one for one in missing if not one.slow],
            [one.key for one in missing if one.slow],
            old,
            [one.mark for one in self.parts if one.is_row],
        )


def live_parts(text: str) -> list[Part]:
    """Return the outermost live parts of a page, in order."""
    found: list[Part] = []
    lists = [(one[1], one.start(), _end(text, "div", one.start())) for one in _GROWS.finditer(text)]
    at = 0
    while match := _PART.search(text, at):
        at = _end(text, match["tag"], match.start())
        html, key = text[match.start() : at], unescape(match["key"])
        given = _MARK.match(html)
        inside = (name for name, start, end in lists if start < match.start() < end)
        found.append(
            Part(
                key,
                given[1] if given else _digest(f"{key}\n{_BY_PAGE.sub(_without_words, html)}"),
                match.start(),
                html,
                next(inside, ""),
                _SLOW.match(html) is not None,
            )
        )
    return found


def marked(text: str) -> str:
    """Return a page with the mark of each live part in it."""
    return "".join(_marked(text))


def _marked(text: str) -> Iterator[str]:
    at = 0
    for one in live_parts(text):
        end = re.compile(r"<\w+").match(text, one.start)
        assert end is not None  # a part begins with its tag
        yield text[at : end.end()]
        yield f' data-mark="{one.mark}"'
        at = end.end()
    yield text[at:]


def _end(text: str, tag: str, start: int) -> int:
    """Return where the element ends that begins there: templates close what they open."""
    depth = 0
    for one in re.compile(rf"<(/?){tag}\b").finditer(text, start):
        depth += -1 if one[1] else 1
        if not depth:
            return text.index(">", one.end()) + 1
    return len(text)


def _without_words(found: re.Match[str]) -> str:
    return found[1] or ""


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=MARK_BYTES).hexdigest()
