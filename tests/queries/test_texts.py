from __future__ import annotations

import pytest

from waxlocal.queries.texts import (
    answer_text,
    decoded,
    message_text,
    title,
)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (None, ""),
        ("{}", ""),
        ('{"message":"hi"}', "hi"),
        ('{"user":"bob","query":"when?"}', "when?"),
        ('{"prompt":"p","message":"m"}', "m"),
        ('{"message":{"a":1},"topic":"ships"}', "ships"),
        ('{"message":""}', '{"message":""}'),
        ('{"a":1,"b":["é"]}', '{"a":1,"b":["é"]}'),
        ("[1,2]", "[1,2]"),
        ("0", "0"),
        ('"plain"', "plain"),
        ("not json", "not json"),
        ('{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hey"}]}', "hey"),
        (
            '{"messages":[{"role":"user","content":[1]}]}',
            '{"messages":[{"role":"user","content":[1]}]}',
        ),
        ('{"messages":"none"}', "none"),
    ],
)
def test_a_message_is_what_the_inputs_say(inputs: str | None, text: str) -> None:
    """The well-known names come first, then the first text, then the JSON itself."""
    assert message_text(inputs) == text


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, ""),
        ('{"response":"yes"}', "yes"),
        ('{"output":"o","response":"r"}', "r"),
        ('{"output":{"n":1}}', '{"output":{"n":1}}'),
    ],
)
def test_an_answer_is_what_the_result_says(result: str | None, text: str) -> None:
    """Results have well-known names of their own."""
    assert answer_text(result) == text


def test_a_title_is_one_short_line() -> None:
    """White space folds, and a long message is cut to 80 characters with a mark."""
    assert title("a\n\n  b\tc") == "a b c"
    long = title("word " * 100)
    assert (len(long) <= 80, long[-1]) == (True, "…")
    assert title("x" * 80) == "x" * 80


def test_text_that_is_no_json_is_kept() -> None:
    """Foreign text in a JSON column is shown as it is."""
    assert decoded("{broken") == "{broken"
    assert decoded(None) is None
