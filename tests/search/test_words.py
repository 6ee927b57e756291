"""What is a word, in an index and in a question."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.search.words import LONGEST, folded, words_in, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Refund within 14 days.", ["refund", "within", "14", "days"]),
        ("order_id=A-77", ["order", "id", "a", "77"]),
        ("Straße CAFÉ naïve", ["strasse", "cafe", "naive"]),
        ("退款政策", ["退", "款", "政", "策"]),
        ("환불 규정을", ["환", "불", "규", "정", "을"]),
        ("ガム か\u3099む", ["ガ", "ム", "が", "む"]),
        ("ประกัน 7 วัน", ["ป", "ร", "ะ", "ก", "ั", "น", "7", "ว", "ั", "น"]),
        ("thanks 👍🏽!", ["thanks", "👍"]),
        ("½ ﬁn", ["1", "2", "fin"]),
        ("Đà Nẵng, Tromsø, łódź, Œuvre", ["da", "nang", "tromso", "lodz", "oeuvre"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("", []),
        ("\x00 … — “”", []),
    ],
)
def test_a_text_is_cut_into_words(text: str, words: list[str]) -> None:
    """Folded; without spaces each character is one."""
    assert words_of(text) == words


@given(st.text(max_size=60))
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    """However a keyboard or a file system writes them."""
    assert folded(unicodedata.normalize("NFC", text)) == folded(unicodedata.normalize("NFD", text))


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing_that_is_searched(text: str) -> None:
    """The words of words are the words."""
    words = words_of(text)
    assert words_of(" ".join(words)) == words


@given(st.text(st.sampled_from("aZé\u0301 -_1退ん\u3099👍"), max_size=60))
def test_each_word_has_its_place_in_the_text(text: str) -> None:
    """In order, and what stands there is that word."""
    found = list(words_in(text))
    assert [one.word for one in found] == words_of(text)
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert all(words_of(text[one.start : one.end])[0] == one.word for one in found)


def test_what_is_longer_than_any_word_counts_by_its_beginning() -> None:
    """A hash is found by itself, and data fills no index."""
    assert words_of("x" * 10_000) == ["x" * LONGEST]
