"""Where the words that were searched for stand in a run: the best place, cut out and marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from waxlocal.search.line import Term
from waxlocal.search.said import COLUMNS, Piece, RunRows, pieces
from waxlocal.search.words import Found, folded, words_in

__all__ = ["Snippet", "snippet_of"]

# Characters of a snippet, and of those before its first word.
SNIPPET_CHARS = 220
BEFORE_CHARS = 60
# A longer text is looked at in parts of so many characters, each with the beginning of the next.
LOOKED_CHARS, OVERLAP = 20_000, 400


# How the columns are called where people read; message and answer need no word.
_PLACES = {"errors": "in an error", "tools": "in a tool or step", "prompts": "in a model call"}


class Snippet(NamedTuple):
    """A part of a text in pieces, those with a True are the words; which text it is, and of what.

    `column` is one of `said.COLUMNS`; `position` and `name` are those of its record, if any.
    """

    parts: tuple[tuple[str, bool], ...]
    column: str
    position: int | None
    name: str

    @property
    def place(self) -> str:
        """Where it stands, in words: `in a tool or step: lookup`."""
        return ": ".join(filter(None, (_PLACES.get(self.column, ""), self.name)))


def snippet_of(
    rows: RunRows, terms: Sequence[Term], contents: Mapping[str, str] | None = None
) -> tuple[Snippet, bool]:
    """Return the best snippet of a run, and whether it has all terms.

    Without terms it is the beginning of the message. `contents` are the messages of the calls. Of
    what was sent again the last comes first: the earlier was said before.
    """
    best, text, most = Piece("message", ""), "", -1
    for piece in _in_order(pieces(rows, contents or {})):
        window, found = _best_window(piece.text, terms)
        if found > most:
            best, text, most = piece, window, found
            if found == len(terms):
                break
    parts = tuple(_cut_out(text, terms))
    return Snippet(parts, best.column, best.position, best.name), most == len(terms)


def _in_order(some: Iterable[Piece]) -> list[Piece]:
    own: list[Piece] = []
    resent: list[Piece] = []
    for piece in some:
        (own if piece.own else resent).append(piece)
    return sorted([*own, *reversed(resent)], key=lambda one: COLUMNS.index(one.column))


def _best_window(text: str, terms: Sequence[Term]) -> tuple[str, int]:
    """Return the first part of a text that has a term, and how many it has."""
    for start in range(0, max(len(text), 1), LOOKED_CHARS):
        window = text[start : start + LOOKED_CHARS + OVERLAP]
        if found := _count(window, terms):
            return window, found
    return text[:LOOKED_CHARS], 0


def _count(text: str, terms: Sequence[Term]) -> int:
    said = folded(text)
    likely = [term for term in terms if all(word in said for word in term.words)]
    if not likely:
        return 0
    words = list(words_in(text))
    return sum(any(True for _ in _marks(words, [term])) for term in likely)


def _cut_out(text: str, terms: Sequence[Term]) -> Iterator[tuple[str, bool]]:
    marks = list(_marks(list(words_in(text)), terms))
    start = _start(text, marks[0][0]) if marks else 0
    end = _end(text, start)
    at = start
    if start:
        yield "…", False
    for first, last in marks:
        if first >= end:
            break
        if first > at:
            yield _one_line(text[at:first]), False
        yield _one_line(text[max(first, at) : last]), True
        at = last
    if at < end:
        yield _one_line(text[at:end]), False
    if end < len(text):
        yield "…", False


def _marks(words: Sequence[Found], terms: Iterable[Term]) -> Iterator[tuple[int, int]]:
    """Give the places of the terms among the words, in order, none within another."""
    found: list[tuple[int, int]] = []
    for term in terms:
        length = len(term.words)
        for place in range(len(words) - length + 1):
            here = words[place : place + length]
            if _is_here(here, term):
                found += [(here[0].start, here[-1].end)]
    end = 0
    for first, last in sorted(found):
        if first >= end:
            yield first, last
            end = last


def _is_here(words: Sequence[Found], term: Term) -> bool:
    *firsts, last = zip(words, term.words, strict=True)
    if any(found.word != word for found, word in firsts):
        return False
    found, word = last
    return found.word.startswith(word) if term.is_prefix else found.word == word


def _start(text: str, first: int) -> int:
    if first <= BEFORE_CHARS:
        return 0
    space = text.find(" ", first - BEFORE_CHARS, first)
    return first - BEFORE_CHARS if space < 0 else space + 1


def _end(text: str, start: int) -> int:
    end = start + SNIPPET_CHARS
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", start + SNIPPET_CHARS // 2, end)
    return end if space < 0 else space


def _one_line(text: str) -> str:
    """Return a text with each white space as one space, also those at its ends."""
    inner = " ".join(text.split())
    before = " " if text[:1].isspace() else ""
    behind = " " if text[-1:].isspace() and inner else ""
    return f"{before}{inner}{behind}"
