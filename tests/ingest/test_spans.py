"""Steps and spans that arrive, each put where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import moment
from tests.tools.ingest import (
    Hub,
    agent_span,
    llm_span,
    span,
)


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def pseudo(step_name: str, kind: str, position: int, /, **said: Any) -> dict[str, Any]:
    """Return a step that the SDK makes of another record."""
    return {"step_name": step_name, "output": {"_kind": kind, **said}, "position": position}


def message(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the step and the span of a user's message."""
    attributes = {"io.direction": "inbound"}
    said = {"content": text}
    return (
        pseudo("io:user_message", "user_message", 0, preview=text),
        span("user_message", "io", 0, attributes=attributes, input_data=said),
    )


def test_the_sdks_own_steps_are_not_the_programs(hub: Hub) -> None:
    """Steps that the SDK makes of other records are no rows of `steps`, and count as recorded."""
    run = hub.start()
    answer = hub.steps(
        run,
        pseudo("tool:search", "tool_call", 1, name="search", status="ok", error=""),
        {"step_name": "__governance_check", "output": {}, "position": 1},
        pseudo("delegate:child", "delegation", 2, delegate="child", depth=1),
        pseudo("grounding_check", "grounding_data", 3, grounding_scores=[0.5]),
        {"step_name": "mine", "output": {}, "position": 4},
    )
    assert answer == {"recorded": 5}
    assert [row["step_name"] for row in hub.rows("steps", run)] == ["mine"]


def test_a_step_of_the_program_may_have_such_a_name(hub: Hub) -> None:
    """Without the mark of the SDK in its output a step is the program's, whatever its name."""
    run = hub.start()
    hub.steps(run, {"step_name": "tool:mine", "output": {"n": 1}, "position": 1})
    assert [row["step_name"] for row in hub.rows("steps", run)] == ["tool:mine"]


def test_what_goes_on_is_shown_before_its_spans_come(hub: Hub) -> None:
    """A run that is killed keeps what its steps announced; spans come at the end only."""
    run = hub.start()
    hub.steps(run, message("hi")[0], at=1.0)
    hub.steps(run, pseudo("tool:bad", "tool_call", 1, name="bad", status="error", error="oops"))
    hub.steps(run, pseudo("io:agent_response", "agent_response", 2, preview="hello"))
    shown = [(row["name"], row["kind"], row["status"]) for row in hub.rows("spans", run)]
    assert shown == [
        ("user_message", "io", "ok"),
        ("bad", "tool", "error"),
        ("agent_response", "io", "ok"),
    ]
    first, second, third = hub.rows("spans", run)
    assert (first["input"], second["error"]) == ({"content": "hi"}, "oops")
    assert (third["output"], first["started_at"]) == ({"content": "hello"}, moment(1.0))


def test_a_span_replaces_what_announced_it(hub: Hub) -> None:
    """When the spans come, each takes the place of its announcement."""
    run = hub.start()
    said, spoken = message("hi")
    hub.steps(run, said)
    hub.steps(run, pseudo("tool:search", "tool_call", 1, name="search", status="ok", error=""))
    found = span("search", "tool", 1, duration_ms=5, attributes={"tool_type": "function"})
    hub.spans(run, agent_span(0), spoken, found)
    hub.complete(run)
    first, second = hub.rows("spans", run)
    assert (first["position"], first["attributes"]) == (1, {"io.direction": "inbound"})
    assert (second["position"], second["duration_ms"]) == (2, 5)


def test_messages_of_users_lie_where_they_were_said(hub: Hub) -> None:
    """The SDK gives every message of a user the number 0; the order of the posts tells."""
    run = hub.start()
    (said1, spoken1), (said2, spoken2) = message("one"), message("two")
    call = {"model": "gpt-4o", "tokens_in": 100, "tokens_out": 50, "cost": 0.00075}
    answer = {"attributes": {"io.direction": "outbound"}}
    hub.steps(run, said1)
    hub.calls(run, call)
    hub.steps(run, pseudo("io:agent_response", "agent_response", 2, preview="a"), said2)
    hub.calls(run, call)
    spans = (spoken1, llm_span(1), span("agent_response", "io", 2, **answer), spoken2, llm_span(3))
    hub.spans(run, agent_span(0), *spans)
    hub.complete(run)
    said = [(row["position"], row["input"]) for row in hub.rows("spans", run)]
    assert said == [(1, {"content": "one"}), (3, None), (4, {"content": "two"})]
    assert [row["position"] for row in hub.rows("llm_calls", run)] == [2, 5]


def test_messages_without_announcement_follow_the_spans_before_them(hub: Hub) -> None:
    """With spans alone, a message lies, in place and time, behind the span before it."""
    run = hub.start()
    tool = span("t", "tool", 1, start_offset_ms=500)
    hub.spans(run, agent_span(0), tool, message("one")[1], message("two")[1], llm_span(2))
    first, second, third = hub.rows("spans", run)[:3]
    assert [row["name"] for row in (first, second, third)] == ["t", "user_message", "user_message"]
    assert [row["input"] for row in (second, third)] == [{"content": "one"}, {"content": "two"}]
    assert second["started_at"] == moment(0.5)


def test_spans_of_agents_are_not_stored(hub: Hub) -> None:
    """A run and its children are runs; their spans would count everything twice."""
    run = hub.start()
    hub.spans(run, agent_span(0), agent_span(1, "01942000-0000-7000-8000-000000000001"))
    assert hub.rows("spans", run) == []


def test_an_agent_span_of_the_programs_own_is_stored(hub: Hub) -> None:
    """A span that a program opens with the kind `agent` is one like any other."""
    run = hub.start()
    hub.spans(run, span("mine", "agent", 1, attributes={"openinference.span.kind": "AGENT"}))
    (row,) = hub.rows("spans", run)
    assert (row["name"], row["kind"], row["attributes"]) == ("mine", "agent", None)


def test_spans_inside_spans_stay_inside(hub: Hub) -> None:
    """The position of the outer span follows it to its final number."""
    run = hub.start()
    hub.spans(run, span("outer", "custom", 3), span("inner", "tool", 5, parent_position=3))
    hub.complete(run)
    outer, inner = hub.rows("spans", run)
    assert (outer["position"], inner["parent_position"]) == (1, 1)


def test_spans_that_come_again_are_there_once(hub: Hub) -> None:
    """The SDK repeats a request after a 5xx; spans and steps are known by number and name."""
    run = hub.start()
    sent = (span("t", "tool", 1), span("u", "tool", 2))
    step = {"step_name": "s", "output": {"n": 1}, "position": 3}
    for _ in range(2):
        hub.spans(run, *sent)
        hub.steps(run, step)
    assert len(hub.rows("spans", run)) == 2
    assert len(hub.rows("steps", run)) == 1


def test_different_records_with_one_number_are_all_kept(hub: Hub) -> None:
    """A program that numbers each of its posts from 1 loses nothing."""
    run = hub.start()
    for name in ("a", "b"):
        hub.spans(run, span(name, "tool", 1))
        hub.steps(run, {"step_name": f"step {name}", "position": 1})
    hub.complete(run)
    assert [row["name"] for row in hub.rows("spans", run)] == ["a", "b"]
    assert [row["step_name"] for row in hub.rows("steps", run)] == ["step a", "step b"]


def test_records_without_numbers_keep_their_order(hub: Hub) -> None:
    """The low-level client numbers nothing: the order of arrival is the order of the run."""
    run = hub.start()
    hub.steps(run, {"step_name": "a"}, {"step_name": "b"})
    hub.spans(run, {"name": "x", "kind": "tool"})
    hub.post(run, "scores", {"scores": [{"name": "q", "numeric_value": 0.5}]})
    hub.steps(run, {"step_name": "c"})
    hub.complete(run)
    places = [(row["position"], row["step_name"]) for row in hub.rows("steps", run)]
    assert places == [(1, "a"), (2, "b"), (5, "c")]
    assert hub.rows("spans", run)[0]["position"] == 3
    assert hub.rows("scores", run)[0]["position"] == 4


def test_records_after_the_end_follow_all_others(hub: Hub) -> None:
    """What comes when the run has ended is added behind it."""
    run = hub.start()
    hub.steps(run, {"step_name": "a", "position": 5})
    hub.complete(run)
    hub.post(run, "scores", {"scores": [{"name": "q", "numeric_value": 0.5}]})
    hub.spans(run, span("late", "tool", 1))
    assert hub.rows("scores", run)[0]["position"] == 2
    assert hub.rows("spans", run)[0]["position"] == 3


def test_times_are_offsets_from_the_start_of_the_run(hub: Hub) -> None:
    """What was recorded when it was over began earlier; what was opened began at its offset."""
    run = hub.start(at=10.0)
    tool = {"attributes": {"tool_type": "function"}, "start_offset_ms": 500}
    hub.spans(
        run,
        span("over", "tool", 1, duration_ms=200, **tool),
        span("opened", "custom", 2, duration_ms=200, start_offset_ms=500),
        span("before", "tool", 3, duration_ms=900, **tool),
        span("mad", "custom", 4, start_offset_ms=1e300),
    )
    begun = [row["started_at"] for row in hub.rows("spans", run)]
    assert begun == [moment(10.3), moment(10.5), moment(10.0), moment(10.0)]


SHAPES = [
    (
        span("bad", "tool", 1, attributes={"tool_type": "api", "error": "oops"}),
        {"error": "oops", "attributes": {"tool_type": "api"}},
    ),
    (span("t", "tool", 1, input_data={"raw": "text"}), {"input": "text"}),
    (
        span("comm:slack", "tool", 1, duration_ms=0, attributes={"io.channel": "slack"}),
        {"duration_ms": None, "attributes": {"io.channel": "slack"}},
    ),
    (
        span("retrieve:f", "retriever", 1, attributes={"source": "f", "waxell.retrieval.q": 1}),
        {"attributes": {"source": "f"}},
    ),
    (
        span("retry:2", "retry", 1, attributes={"attempt": 2}, input_data={"reason": "rate"}),
        {"status": "error", "error": "rate"},
    ),
    (
        span("paused", "io", 1, attributes={"_phase": "pause_marker", "pause_reason": "r"}),
        {"name": "pause:r", "kind": "pause", "attributes": {"reason": "r"}},
    ),
    (
        span("human_turn:confirm", "io", 1, attributes={"io.direction": "interactive"}),
        {
            "name": "human_turn",
            "attributes": {"io.direction": "interactive", "io.action": "confirm"},
        },
    ),
    (
        span(
            "code_exec:py",
            "tool",
            1,
            attributes={"tool_type": "code_execution"},
            input_data={"code": "1", "packages": ["p"]},
            output_data={"output": "o", "execution_time": 1.5},
        ),
        {
            "name": "code:py",
            "duration_ms": 1500,
            "input": {"code": "1"},
            "output": {"output": "o"},
            "attributes": {
                "language": "py",
                "output_size_kb": 0,
                "paths": [],
                "packages": ["p"],
            },
        },
    ),
    (
        span(
            "prompt.use:p",
            "prompt",
            1,
            duration_ms=0,
            input_data={"name": "p", "version": 2, "label": "", "content_hash": ""},
        ),
        {
            "duration_ms": None,
            "input": None,
            "attributes": {"version": 2, "label": "", "content_hash": ""},
        },
    ),
]


@pytest.mark.parametrize(("sent", "stored"), SHAPES, ids=[sent["name"] for sent, _ in SHAPES])
def test_spans_get_the_shape_that_the_recorder_gives(
    hub: Hub, sent: dict[str, Any], stored: dict[str, Any]
) -> None:
    """Where SDK and recorder write the same thing differently, the recorder's way is stored."""
    run = hub.start()
    hub.spans(run, sent)
    (row,) = hub.rows("spans", run)
    assert {name: row[name] for name in stored} == stored


def test_scores_of_every_type_are_kept(hub: Hub) -> None:
    """Numbers, yes and no, words, text that is a number, and no number at all."""
    run = hub.start()
    hub.post(
        run,
        "scores",
        {
            "scores": [
                {"name": "n", "data_type": "numeric", "numeric_value": 0.85, "comment": "c"},
                {"name": "b", "data_type": "boolean", "numeric_value": 1.0, "string_value": "true"},
                {"name": "c", "data_type": "categorical", "string_value": "good"},
                {"name": "t", "numeric_value": "0.5"},
                {"name": "nan", "numeric_value": float("nan")},
                {"name": "w", "numeric_value": "good"},
                {"name": "v", "value": 3},
            ]
        },
    )
    hub.complete(run)
    kept = [(row["numeric_value"], row["string_value"]) for row in hub.rows("scores", run)]
    assert kept == [
        (0.85, None),
        (1.0, "true"),
        (None, "good"),
        (0.5, None),
        (None, "nan"),
        (None, "good"),
        (3.0, None),
    ]
    assert [row["position"] for row in hub.rows("scores", run)] == [1, 2, 3, 4, 5, 6, 7]
