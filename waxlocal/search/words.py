"""What counts as a word, in an index and in a question alike: folded, and cut the same way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LONGEST", "Found", "folded", "words_in", "words_of"]

# Characters of a word that count. Longer ones are no words, but hashes and data.
LONGEST = 64

# Scripts that put no spaces between words, or endings right behind them: each character is a word,
# and a word of several is a phrase. Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean.
_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u3098\u309b-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
# So are pictures: 👍 is found, whatever its colour.
_PICTURES = "\u2600-\u27bf\U0001f300-\U0001f3fa\U0001f400-\U0001faff"
# `_` is between words: `order_id` is found by both.
_WORD = re.compile(rf"[{_SINGLE}{_PICTURES}]|[^\W_{_SINGLE}{_PICTURES}]+")
# Letters that Unicode does not take apart, and what nobody sees between two.
_LETTERS = str.maketrans(
    {"ø": "o", "Ø": "o", "đ": "d", "Đ": "d", "ð": "d", "Ð": "d", "ł": "l", "Ł": "l", "ħ": "h"}
    | {"Ħ": "h", "\u0131": "i", "œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae", "þ": "th", "Þ": "th"}
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", "")
)
# The marks that make another letter of a Japanese one, and no accent.
_KANA_MARKS = "\u3099\u309a"


class Found(NamedTuple):
    """A word of a text, folded, and where it stands there."""

    word: str
    start: int
    end: int


def folded(text: str) -> str:
    """Return a text without case and accents, however these are composed: `É` is `e`."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    kept = "".join(one for one in apart if not unicodedata.combining(one) or one in _KANA_MARKS)
    return unicodedata.normalize("NFC", kept).casefold()


def words_of(text: str) -> list[str]:
    """Return the words of a text in order, folded; a part of a longest one."""
    return [word[:LONGEST] for word in _WORD.findall(folded(text))]


def words_in(text: str) -> Iterator[Found]:
    """Give the words of a text with their places in it, as it is written."""
    # The marks of a letter belong to it, also where they stand apart.
    for found in _WRITTEN.finditer(text):
        for word in words_of(found[0]):
            yield Found(word, found.start(), found.end())


_WRITTEN = re.compile(
    rf"[{_SINGLE}{_PICTURES}][\u0300-\u036f{_KANA_MARKS}]*"
    rf"|(?:[^\W_{_SINGLE}{_PICTURES}]"
    r"[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u00ad\u200b-\u200d\u2060\ufeff]*)+"
)
