"""What the span of a run says of it, so that the page of a session can say what was said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.tools.read_spans import every_span, spans_of
from waxlocal.capture.facts import ReadSpan
from waxlocal.capture.run_facts import run_facts

QUESTION = {"role": "user", "content": "weather?"}
STATE = [
    {"type": "human", "content": "weather?", "id": "1"},
    {"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {}, "id": "c"}]},
    {"type": "tool", "content": "rain", "tool_call_id": "c"},
    {"type": "ai", "content": "It rains."},
]


def facts_of(**given: Any) -> Any:
    return run_facts(ReadSpan("graph", {name.replace("__", "."): x for name, x in given.items()}))


def test_the_run_of_an_ai_sdk_has_its_session_its_question_and_its_answer() -> None:
    *_, first, _, second = spans_of("ai_sdk", "a tool and an answer, then a stream")
    run = run_facts(first)
    assert (run.session_id, run.user_id, run.agent_name) == ("S-9", "ada", "guide")
    assert run.inputs == {
        "message": "what is it?",
        "messages": [{"role": "user", "content": "what is it?"}],
    }
    assert run.result is None  # it only asked for a tool
    assert run_facts(second).result == {"response": "The answer is 42."}


@pytest.mark.parametrize(
    "given",
    [
        {"input__value": "weather?", "output__value": "It rains."},
        {
            "input__value": json.dumps({"messages": STATE[:1]}),
            "output__value": json.dumps({"messages": STATE}),
        },
        {
            "gen_ai__input__messages": json.dumps([QUESTION]),
            "gen_ai__output__messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "It rains."}]}]
            ),
        },
        {"langfuse__trace__input": "weather?", "langfuse__trace__output": "It rains."},
        {"user_prompt": "weather?", "final_result": "It rains."},
        {"llm__input_messages__0__message__content": "weather?"}
        | {"llm__output_messages__0__message__content": "It rains."},
    ],
)
def test_the_question_and_the_answer_are_found_in_every_vocabulary(given: dict[str, Any]) -> None:
    run = facts_of(**given)
    assert run.inputs == {"message": "weather?", "messages": [QUESTION]}
    assert run.result == {"response": "It rains."}


def test_what_is_no_conversation_stays_as_it_is() -> None:
    run = facts_of(input__value='{"city": "Bern", "days": 3}', output__value='{"degrees": [7, 9]}')
    assert run.inputs == {"input": {"city": "Bern", "days": 3}}
    assert run.result == {"output": {"degrees": [7, 9]}}


def test_a_run_that_says_nothing_has_nothing() -> None:
    run = facts_of()
    assert (run.inputs, run.result, run.session_id, run.user_id) == (None, None, None, None)
    assert (run.agent_name, run.tags, run.metadata) == ("graph", {}, {})


def test_the_resource_names_the_session_where_no_span_does() -> None:
    resource = {"session.id": "S-1", "user.account_uuid": "u"}
    run = run_facts(ReadSpan("x", {}, resource=resource))
    assert (run.session_id, run.user_id) == ("S-1", "u")
    assert run_facts(ReadSpan("x", {"session.id": "S-2"}, resource=resource)).session_id == "S-2"


def test_every_span_that_was_recorded_can_be_a_run() -> None:
    for what, span in every_span():
        run = run_facts(span)
        json.dumps([run.inputs, run.result, run.metadata])
        assert run.agent_name, what


PIXELS = "iVBORw0KGgo" * 20
IMAGES = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}},
    {"inline_data": {"mime_type": "image/png", "data": PIXELS}},
    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": PIXELS},
    {"type": "uri", "modality": "image", "uri": "https://example.com/a"},
]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_named_in_the_words_of_a_run(image: dict[str, Any]) -> None:
    """What was asked and what was answered; the data is nowhere in the run."""
    run = facts_of(
        gen_ai__input__messages=json.dumps([{"role": "user", "parts": [image]}]),
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": [image]}]),
    )
    assert run.inputs["message"] == "[image]"
    assert run.result == {"response": "[image]"}
    assert PIXELS not in json.dumps([run.inputs, run.result])


def test_parts_of_nobody_s_form_are_told_without_their_data() -> None:
    parts = [{"type": "hologram", "mime": "x", "data": PIXELS, "mime_type": "model/obj"}]
    run = facts_of(gen_ai__input__messages=json.dumps([{"role": "user", "parts": parts}]))
    assert run.inputs["message"] == "[file]"
    parts = [{"type": "gesture", "of": "hand"}]
    run = facts_of(gen_ai__input__messages=json.dumps([{"role": "user", "parts": parts}]))
    assert json.loads(run.inputs["message"]) == parts


def test_the_task_of_an_agent_is_what_it_was_asked() -> None:
    sent = {"task": "find it", "stream": False}
    about = run_facts(ReadSpan("helper.run", {"input.value": json.dumps(sent)}))
    assert about.inputs == {"message": "find it", "input": sent}
    listed = {"task": ["find it"], "stream": False}
    about = run_facts(ReadSpan("helper.run", {"input.value": json.dumps(listed)}))
    assert about.inputs == {"input": listed}
