"""Values of a span are bounded in size and depth, and binary data is replaced by what it was."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import UserDict
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.capture.bounds import MAX_DEPTH, MAX_PARTS, MAX_TEXT, bounded, cut_text
from waxlocal.decode import from_json

PIXELS = bytes(range(256)) * 4
BASE64 = base64.b64encode(PIXELS).decode()
PNG = {
    "blob": "image/png",
    "bytes": 1024,
    "sha256": hashlib.sha256(PIXELS).hexdigest(),
}


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0)


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_a_long_text_is_cut_with_a_mark_that_says_its_size(letter: str) -> None:
    size = len(letter.encode())
    fits = letter * (MAX_TEXT // size)
    assert cut_text(fits) == fits
    cut = cut_text(fits + letter * 5)
    start, mark, _ = cut.partition("… [cut: ")
    assert mark
    assert start == fits
    assert cut.endswith(f"… [cut: {len((fits + letter * 5).encode()):,} bytes]")


def test_text_that_cannot_be_stored_is_replaced() -> None:
    assert cut_text("a\ud800b") == "a\ufffdb"


def test_a_structure_ends_at_32_levels() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    found = bounded(deep)
    # 32 lists, and the mark of the rest: {"$deep": "list"}.
    assert MAX_DEPTH == 32
    assert depth_of(found) == 32 + 2
    assert "$deep" in json.dumps(found)


def test_a_circle_of_many_ways_ends() -> None:
    circle: list[Any] = []
    circle.extend([circle] * 10)
    assert '"$more"' in json.dumps(bounded(circle))


def test_a_structure_of_too_many_names_is_cut() -> None:
    wide = {str(n): n for n in range(MAX_PARTS + 5)}
    found = bounded(wide)
    assert len(found) == MAX_PARTS + 1
    assert found["$more"] == 5


@pytest.mark.parametrize(
    "value",
    [
        {"type": "image", "mime_type": "image/png", "data": BASE64},
        {"mimeType": "image/png", "data": PIXELS},
        {"type": "base64", "media_type": "image/png", "data": BASE64},
        {"type": "file", "mediaType": "image/png", "data": BASE64},
    ],
)
def test_data_beside_its_type_becomes_its_size_and_hash(value: dict[str, Any]) -> None:
    assert bounded({"parts": [value]})["parts"][0]["data"] == PNG


def test_a_data_url_becomes_its_type_size_and_hash() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}}
    assert bounded(part) == {"type": "image_url", "image_url": {"url": PNG}}
    # An address is text.
    assert bounded("data:text/plain,hello") == "data:text/plain,hello"
    assert bounded("https://example.com/a.png") == "https://example.com/a.png"


def test_recorded_speech_becomes_its_type_size_and_hash() -> None:
    part = {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}
    found = bounded(part)["input_audio"]
    assert found["data"] == {**PNG, "blob": "audio/wav"}
    # No base64 without a type, and no type without base64.
    assert bounded({"format": "markdown", "content": "x" * 100})["content"] == "x" * 100
    text = {"mime_type": "text/plain", "content": "a sentence of words, " * 9}
    assert bounded(text) == text


def test_bytes_are_their_size_and_hash() -> None:
    found = bounded([PIXELS, bytearray(PIXELS), memoryview(PIXELS)])
    assert found == [{**PNG, "blob": "application/octet-stream"}] * 3


def test_binary_data_stays_when_asked_for() -> None:
    value = {"mime_type": "image/png", "data": BASE64, "raw": PIXELS}
    assert bounded(value, keep_blobs=True) == {**value, "raw": BASE64}
    url = f"data:image/png;base64,{'QUJD' * 500_000}"
    assert bounded(url, keep_blobs=True) == url


def test_only_text_that_begins_as_a_structure_is_read_as_json() -> None:
    assert from_json('{"a": [1]}') == {"a": [1]}
    assert from_json(' ["a"]') == ["a"]
    for text in ("42", "true", "null", "hello", "", '{"half": ', "[" * 5000):
        assert from_json(text) == text
    assert from_json(7) == 7


@dataclass
class Part:
    content: str
    type: str = "text"


class Plain:
    def __init__(self) -> None:
        self.role = "user"


class Broken(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("no")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_objects_of_messages_are_read_by_their_fields() -> None:
    assert bounded(Part("hi")) == {"content": "hi", "type": "text"}
    assert bounded(Plain()) == {"role": "user"}
    assert bounded(UserDict(a=1)) == {"a": 1}
    assert bounded({1: 2, None: 3}) == {"1": 2, "None": 3}


@pytest.mark.parametrize("value", [Broken([1]), Unprintable(), MagicMock(), object(), print])
def test_nothing_that_is_handed_over_raises(value: object) -> None:
    json.dumps(bounded({"a": [value]}))
    json.dumps(bounded(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_small_and_plain_is_copied_as_it_is(value: Any) -> None:
    assert bounded(value) == value
