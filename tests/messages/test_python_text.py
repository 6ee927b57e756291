"""Values that a program printed: read where they are literal, and nothing else taken for them."""

from __future__ import annotations

import time

import pytest

from waxlocal.messages.python_text import from_python
from waxlocal.messages.said import answered, asked


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 1, 'b': [True, None, -2.5]}", {"a": 1, "b": [True, None, -2.5]}),
        ("Answer(text='It\\'s late', score=0.9)", {"text": "It's late", "score": 0.9}),
        ("answer='Yes\\nor no' score=0.9 more={'x': 1}",
         {"answer": "Yes\nor no", "score": 0.9, "more": {"x": 1}}),
        ("[AIMessage(content='Yes', tool_calls=[])]",
         [{"role": "AIMessage", "content": "Yes", "tool_calls": []}]),
        ("{'graph': <Graph object at 0x7f3a>, 'kind': <Kind.A: 'a'>}",
         {"graph": None, "kind": "a"}),
        ("{'at': datetime.datetime(2026, 1, 1), 'n': nan}", {"at": None, "n": None}),
    ],
)  # fmt: skip
def test_what_python_prints_is_read(text: str, value: object) -> None:
    """Dicts, objects, rows of fields; what is not literal is None."""
    assert from_python(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "Is {'a': 1} a dict?",
        "print(x=1)",
        "__import__('os').system('true')",
        "{'a': 1} or more",
        "a=1, b=2",
        "name='Ada",
        "{'a': '\\d'}",
        "{'a': " * 300 + "1" + "}" * 300,
        "Answer(" + "-" * 100_000 + "1)",
    ],
)
def test_other_text_is_not(text: str) -> None:
    """Sentences, code, what is cut off or nested too deep."""
    assert from_python(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "a=[" + " b=(" * 4_000,
        "a='" + "\\'" * 9_000,
        "a=[" + "1," * 9_000 + " b=1" * 400,
        "{'a': [" + "1," * 20_000 + "}",
        "a=" + "-" * 19_000 + "1",
    ],
)
def test_a_long_text_that_is_no_value_is_given_up_soon(text: str) -> None:
    """A page of fifty such messages is still made in seconds."""
    began = time.process_time()
    assert from_python(text) is None
    assert time.process_time() - began < 2


def test_a_text_of_megabytes_is_not_parsed() -> None:
    """Nor is a long row: each look for the end of a field would parse it again."""
    assert from_python(str({"a": "b" * 60_000})) is None
    assert from_python("a='" + "b" * 30_000 + "'") is None


@pytest.mark.parametrize(
    "result",
    [
        {"result": "{'answer': 'It is late.', 'score': 0.9}"},
        {"output": "content='It is late.' additional_kwargs={} id='run--0123456789abcdef'"},
        {"result": "AgentRunResult(output='It is late.')"},
        {"output": '```json\n{"answer": "It is late.", "score": 0.9}\n```'},
        {"data": [{"role": "assistant", "content": [{"type": "text", "text": {
            "value": "It is late.", "annotations": []}}]}]},
        {"result": {"role": "agent", "parts": [{"kind": "text", "text": "It is late."}]}},
    ],
)  # fmt: skip
def test_a_printed_answer_is_its_words(result: dict[str, object]) -> None:
    """Programs record `str(result)`, and models write JSON into blocks of code."""
    assert answered(result) == "It is late."


@pytest.mark.parametrize(
    "inputs",
    [
        {"input": "{'question': 'How late is it?', 'user': 'ada'}"},
        {"state": "{'messages': [HumanMessage(content='How late is it?')]}"},
        {"messages": ["content='How late is it?' additional_kwargs={} response_metadata={}"]},
        {"update_id": 7, "message": {"text": "How late is it?", "chat": {"id": 3}}},
    ],
)
def test_a_printed_question_is_its_words(inputs: dict[str, object]) -> None:
    """So is a chat's message, whatever stands beside its text."""
    assert asked(inputs) == "How late is it?"


@pytest.mark.parametrize("text", ["{'a': 1}", "Answer(text='Yes')", "DEBUG=1"])
def test_what_a_person_pastes_stays_as_it_is(text: str) -> None:
    """It is their question."""
    assert asked({"message": text}) == text


def test_an_assignment_may_be_an_answer() -> None:
    """It is not taken for a value under a name."""
    assert answered({"response": "DEBUG=1"}) == "DEBUG=1"


@pytest.mark.parametrize("number", ["0x" + "f" * 9_000, "-0b" + "1" * 20_000, "0o" + "7" * 9_000])
def test_a_number_that_no_text_can_hold_is_none(number: str) -> None:
    """Python reads it, and fails to write it: with it, the whole list of runs would fail."""
    assert from_python(f"{{'a': {number}, 'b': 1}}") == {"a": None, "b": 1}
    assert isinstance(answered({"answer": f"{{'a': {number}}}"}), str)


@pytest.mark.parametrize(
    "text", ["{'a': 0x1if 1 else 2}", "{'a': 1or 2}", "[{'a': 1.5if 1 else 2}]"]
)
def test_what_the_parser_would_warn_of_is_text(text: str, recwarn: pytest.WarningsRecorder) -> None:
    """Nobody who looks at a list wants to hear of it."""
    assert from_python(text) is None
    assert not list(recwarn)
