from __future__ import annotations

import pytest

from waxlocal.queries.texts import (
    answer_text,
    decoded,
    message_text,
    title,
)

TEXT = '{"type":"text","text":"What is it?"}'
PICTURE = '{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}'
TOOL_RESULT = '{"role":"user","content":[{"type":"tool_result","content":"42"}]}'


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
        (
            f'{{"messages":[{{"role":"user","content":[{TEXT},{PICTURE}]}}]}}',
            "What is it?\n[image]",
        ),
        (f'{{"messages":[{{"role":"user","content":[{PICTURE}]}}]}}', "[image]"),
        (f'{{"messages":[{{"role":"user","content":{TEXT}}}]}}', "What is it?"),
        (f'{{"messages":[{{"role":"user","content":"a"}},{TOOL_RESULT}]}}', "a"),
        (f'{{"message":[{TEXT},{PICTURE}],"topic":"ships"}}', "What is it?\n[image]"),
        ('{"message":[{"type":"row","n":1}]}', '{"message":[{"type":"row","n":1}]}'),
        ('{"input":[{"role":"user","content":[{"type":"input_text","text":"b"}]}]}', "b"),
        ('{"contents":[{"role":"user","parts":[{"text":"c"}]}]}', "c"),
        ('{"messages":[{"role":"user","content":[{"image":{}},{"text":"d"}]}]}', "[image]\nd"),
    ],
)
def test_a_message_is_what_the_inputs_say(inputs: str | None, text: str) -> None:
    """The well-known names come first, then the first text, then the JSON itself.

    Of a message in parts, the texts; a picture is named, and not shown as base64.
    """
    assert message_text(inputs) == text


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ('[{"id":"1","name":"book","arguments":{"room":"é"}}]', 'calls book({"room": "é"})'),
        ('[{"function":{"name":"book","arguments":"{}"}}]', "calls book({})"),
        ('[{"name":"look","input":{}},{"name":"take"}]', "calls look({})\ncalls take"),
        ('[{"arguments":{}},3]', '{"tool_calls":[{"arguments":{}},3]}'),
        ('"none"', "none"),
    ],
)
def test_an_answer_that_asks_for_tools_says_which(calls: str, text: str) -> None:
    assert answer_text(f'{{"tool_calls":{calls}}}') == text


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, ""),
        ('{"response":"yes"}', "yes"),
        ('{"output":"o","response":"r"}', "r"),
        ('{"output":{"n":1}}', '{"output":{"n":1}}'),
        ('{"role":"assistant","content":[{"type":"text","text":"yes"}]}', "yes"),
        ('{"result":[{"id":7,"text":"page"}]}', '{"result":[{"id":7,"text":"page"}]}'),
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
