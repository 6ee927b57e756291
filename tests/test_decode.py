"""The one reader of JSON: as Python reads it, up to a depth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal import encode
from waxlocal.decode import DEEPEST_LEVELS, MAX_LEVELS, MAX_VALUES, TooDeep, TooMany, loads
from waxlocal.wire import bulk

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def levels(value: Any) -> int:
    """Return how deep a value is, by the plainest rule."""
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(levels, inner), default=0)


@given(plain, st.integers(0, 8))
def test_a_value_is_read_if_it_has_no_more_levels_than_asked_for(value: Any, most: int) -> None:
    """As the plain recursive rule says, for text and for bytes."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False).encode("utf-8")):
        if levels(value) <= most:
            assert loads(text, most) == value
        else:
            with pytest.raises(TooDeep, match=rf"more than {most} levels"):
                loads(text, most)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("count", [MAX_LEVELS + 1, 990, 5_000, 200_000])
def test_what_python_could_read_and_what_it_could_not_are_refused_alike(
    opening: str, closing: str, count: int
) -> None:
    """Python's own limit depends on its version and on who calls."""
    with pytest.raises(TooDeep):
        loads(opening * count + "1" * (opening != "[") + closing * count)


def test_brackets_in_texts_and_in_width_are_not_depth() -> None:
    """Only what is nested counts."""
    assert loads('{"text": "' + "[{" * 5_000 + '"}') == {"text": "[{" * 5_000}
    assert len(loads("[" + "[]," * 5_000 + "[]]")) == 5_001


@pytest.mark.parametrize("text", ["", "[1", b"\xff", "9" * 5_000, "[" * 50])
def test_what_is_not_json_is_a_value_error_that_quotes_nothing(text: str | bytes) -> None:
    """Its message goes into answers and logs."""
    with pytest.raises(ValueError, match=r".") as caught:
        loads(text)
    assert not isinstance(caught.value, TooDeep)
    assert "[[" not in str(caught.value)


def test_the_recorder_writes_less_than_any_reader_takes() -> None:
    """Whatever depth a program hands over."""
    deep: Any = {}
    for _ in range(5_000):
        deep = [deep]
    stored = encode.dumps({"metadata": deep})
    assert levels(loads(stored)) <= encode.MAX_DEPTH + 1 < MAX_LEVELS < DEEPEST_LEVELS


def test_a_line_of_a_batch_with_deep_values_and_half_a_character_is_refused_alone() -> None:
    """The lines around it are read."""
    deep = b"[" * 800 + b"]" * 800
    body = b'{"run": {"run_id": "a", "x": "\\ud83d", "y": ' + deep + b"}}\n{}\n"
    assert bulk.read_lines(body) == [
        ("", "the line is nested more than 200 levels deep"),
        ("", "run: not a JSON object"),
    ]


@pytest.mark.parametrize("item", ["[]", "{}", "1", '"a"', '{"a":1}'])
def test_very_many_values_are_not_read(item: str) -> None:
    """Whatever they are: they would fill the memory."""
    with pytest.raises(TooMany, match="more than 1,000,000 values"):
        loads("[" + ",".join([item] * MAX_VALUES) + ",1]")


def test_a_long_text_is_one_value() -> None:
    """Whatever it is made of, with quotes and backslashes in it."""
    text = '[{"a", 1:,\\' * MAX_VALUES
    assert loads(json.dumps({"message": text}))["message"] == text


@pytest.mark.parametrize("end", ["", "\\", '"'])
def test_a_text_without_an_end_is_read_once(end: str) -> None:
    """A search that began anew at each escaped quote would take minutes."""
    with pytest.raises(ValueError, match=r"delimiter|Unterminated"):
        loads('["' + '\\"' * 200_000 + "," * 1_000_000 + end)
