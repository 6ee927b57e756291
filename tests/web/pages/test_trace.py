"""The trace of a run, and what stands beside it of the row that is selected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard

HISTORY = [
    {"role": "system", "content": "You find flights."},
    {"role": "user", "content": "To **Oslo**?"},
    {"role": "assistant", "content": None,
     "tool_calls": [{"id": "1", "name": "look", "arguments": {"to": "Oslo"}}]},
    {"role": "tool", "name": "look", "content": "three flights"},
]  # fmt: skip


@pytest.fixture
def to(db_path: Path) -> Iterator[Builder]:
    """Record into the file; nothing is there yet."""
    with recorded(db_path) as builder:
        yield builder


@pytest.fixture
def pages(to: Builder, db_path: Path) -> Iterator[Dashboard]:
    """Ask for its pages."""
    with dashboard(db_path) as one:
        yield one


def shown(pages: Dashboard, *position: int, run: str = "", view: str = "") -> Element:
    """Return what stands beside the trace of the first run with a row selected."""
    key = ".".join([run or run_id(1), *map(str, position)])
    return pages.page(f"/runs/{run_id(1)}?row={key}&view={view}").one(data_live="pane")


def values(pane: Element) -> dict[str, str]:
    """Return the values of a row, by their headings."""
    return {
        one.one("h3").text: one.text.removeprefix(one.one("h3").text).strip()
        for one in pane.all("div", "value")
    }


def facts(pane: Element) -> dict[str, str]:
    """Return what else is known of a row."""
    return {one.one("dt").text: one.one("dd").text for one in pane.one("dl", "pairs").all("div")}


def rows(page: Element) -> list[str]:
    """Return the rows of the trace."""
    return [one.text for one in page.one(data_live="trace").one("ol").all("li")]


def call(to: Builder, run: str, **columns: Any) -> None:
    """Record a call of some length."""
    to.llm(run, 100, 10, **{"at": 3.0, "duration_ms": 1_000, "cost": 0.002, **columns})


def test_a_call_shows_who_said_what_and_what_it_cost(to: Builder, pages: Dashboard) -> None:
    """The last messages, those before them in a fold; the answer; its figures in words."""
    run = to.run("s", seconds=4.0)
    call(to, run, provider="acme", task="answer", cached_tokens=40, reasoning_tokens=7,
         ttft_ms=200, cache_write_tokens=1_200, is_streaming=1, messages=HISTORY,
         response="Three *flights*.", tools=[{"name": "look"}])  # fmt: skip
    pane = shown(pages, 1)
    assert pane.one("h2").text == "gpt-4o LLM call"
    assert facts(pane) == {
        "began after": "2.0 s", "took": "1.0 s", "first token": "200 ms",
        "input": "100 tokens (40 cached)", "output": "10 tokens (7 reasoning)",
        "cost": "$0.0020 (the program)", "provider": "acme", "task": "answer",
        "further": "cache write tokens 1,200 · streaming",
    }  # fmt: skip
    told = values(pane)
    assert told["Prompt"] == (
        "2 earlier messages system You find flights. user To Oslo? "
        'assistant calls look({"to": "Oslo"}) tool look three flights'
    )
    assert told["Answer"] == "Three flights."
    assert '"name": "look"' in told["Tools offered"]


def test_a_value_is_shown_rendered_as_text_or_as_json(to: Builder, pages: Dashboard) -> None:
    """Each a link away; a way that is none is the first."""
    run = to.run("s", seconds=4.0, inputs={"message": "To **Oslo**?"}, result="Yes.")
    call(to, run, messages=HISTORY[:2], response="Yes.")
    assert shown(pages).one("strong").text == "Oslo"
    assert values(shown(pages, view="text"))["Message"] == "To **Oslo**?"
    assert values(shown(pages, view="json"))["Message"] == '{ "message": "To **Oslo**?" }'
    assert values(shown(pages, 1, view="json"))["Prompt"].startswith('[ { "role": "system"')
    assert values(shown(pages, view="<b>")) == values(shown(pages))
    links = [one["href"] for one in shown(pages, 1).one("p", "views").all("a")]
    assert links[2] == f"/runs/{run_id(1)}?row={run_id(1)}.1&view=json#pane"


def test_a_span_shows_its_arguments_and_what_came_back(to: Builder, pages: Dashboard) -> None:
    """Structures as JSON, with nobody said to have said them; the messages of a state as such."""
    run = to.run("s", seconds=4.0)
    to.span(run, "tool", at=0, seconds=1.0, name="look", input={"to": "Oslo"}, output="3 found",
            attributes={"n": 1})  # fmt: skip
    to.span(run, "chain", at=1, seconds=1.0, name="graph", status="error", error="it broke",
            input={"messages": [{"type": "human", "content": "Hi"}], "left": 3})  # fmt: skip
    assert values(shown(pages, 1)) == {
        "Input": '{ "to": "Oslo" }', "Output": "3 found", "Attributes": '{ "n": 1 }',
    }  # fmt: skip
    failed = shown(pages, 2)
    assert values(failed) == {"Input": "user Hi"}
    assert failed.one("div", "failure").text == "it broke"


def test_steps_and_events_show_what_they_told(to: Builder, pages: Dashboard) -> None:
    """They have a time and no length."""
    run = to.run("s", seconds=4.0)
    to.step(run, "think", at=1.0, output={"thought": "hm"})
    to.event(run, "policy_check", at=2.0, data={"allowed": True})
    assert values(shown(pages, 1)) == {"Output": '{ "thought": "hm" }'}
    assert values(shown(pages, 2)) == {"Data": '{ "allowed": true }'}
    assert facts(shown(pages, 2)) == {"began after": "2.0 s"}


def test_a_run_of_a_sub_agent_and_its_records_are_shown_too(to: Builder, pages: Dashboard) -> None:
    """With its error, its traceback, its scores and the way to its own page."""
    run = to.run("s", seconds=4.0)
    child = to.run("s", at=1, seconds=1.0, parent=run, agent="finder", status="error",
                   inputs="find", error="it broke", error_type="ValueError",
                   traceback="Traceback\n  line 1")  # fmt: skip
    to.score(child, "helpful", data_type="boolean", numeric_value=0)
    call(to, child, messages=HISTORY[:2])
    pane = shown(pages, run=child)
    assert pane.one("div", "failure").text == "ValueError: it broke Traceback line 1"
    assert values(pane) == {"Message": "find"}
    assert facts(pane)["score helpful"] == "no"
    assert pane.one("p", "note").one("a")["href"] == f"/runs/{child}"
    inside = shown(pages, 2, run=child)
    assert "Prompt" in values(inside)
    assert inside.one("p", "note").text == "Open the run that it belongs to"


def test_what_is_tried_again_has_the_number_of_the_attempt(to: Builder, pages: Dashboard) -> None:
    """Where the same failed just before, also if one waited in between."""
    run = to.run("s", seconds=20.0)
    for at, status in ((0, "error"), (1.1, "error"), (5, "ok"), (6, "ok")):
        to.span(run, "tool", at=at, seconds=1.0, name="look", status=status)
    to.span(run, "tool", at=7, seconds=13.0, name="other", status="error")
    to.span(run, "retry", at=20, seconds=0.0, name="fallback:1")
    to.span(run, "tool", at=20, seconds=0.0, name="other")
    assert rows(pages.page(f"/runs/{run_id(1)}"))[1:] == [
        "look tool error 1.0 s", "look tool, attempt 2 error 1.0 s", "nothing recorded 2.9 s",
        "look tool, attempt 3 1.0 s", "look tool 1.0 s",
        "other tool error 13.0 s", "fallback:1 retry 0 ms", "other tool, attempt 2 0 ms",
    ]  # fmt: skip


def test_times_in_which_nothing_was_recorded_have_a_row(to: Builder, pages: Dashboard) -> None:
    """Before, between and after; short ones have none, nor a run that is not over."""
    run = to.run("s", seconds=10.0)
    to.span(run, "tool", at=2, seconds=3.0, name="one")
    to.span(run, "tool", at=3, seconds=1.0, name="within")
    to.span(run, "tool", at=5.3, seconds=2.0, name="two")
    to.run("s", at=20, seconds=None)
    found = rows(pages.page(f"/runs/{run_id(1)}"))
    assert found[1:] == [
        "nothing recorded 2.0 s", "one tool 3.0 s", "within tool 1.0 s", "two tool 2.0 s",
        "nothing recorded 2.7 s",
    ]  # fmt: skip
    assert len(rows(pages.page(f"/runs/{run_id(2)}"))) == 1


def test_what_is_open_in_a_run_that_is_over_has_not_ended(to: Builder, pages: Dashboard) -> None:
    """Its own spans and those of sub-agents; in a run that goes on they are running."""
    run = to.run("s", seconds=4.0, status="error")
    child = to.run("s", at=1, seconds=1.0, parent=run, agent="child")
    going = to.run("s", at=9, seconds=None, process=to.process(alive=True))
    for number, one in enumerate((run, child, going)):
        to.span(
            one,
            "tool",
            at=10 if one == going else 1,
            name=f"open-{number}",
            status="running",
            seconds=None,
        )
    found = rows(pages.page(f"/runs/{run_id(1)}"))
    assert {one for one in found if "open" in one} == {
        "open-0 tool not ended", "level 2: open-1 tool not ended"}  # fmt: skip
    assert rows(pages.page(f"/runs/{going}"))[1] == "open-2 tool running"


def test_what_began_before_its_run_says_so(to: Builder, pages: Dashboard) -> None:
    """Its bar is cut at the beginning of the axis."""
    run = to.run("s", at=100, seconds=2.0)
    call(to, run, at=101, duration_ms=90_000)
    assert "began before the run" in rows(pages.page(f"/runs/{run}"))[1]
    assert facts(shown(pages, 1))["began before the run by"] == "1 m 29 s"


def test_a_function_that_returned_text_said_it(to: Builder, pages: Dashboard) -> None:
    """Whatever name its program has given to what it returned."""
    run = to.run("s", seconds=4.0)
    to.span(run, "tool", name="look", seconds=1.0, output={"output": "*three*"})
    assert values(shown(pages, 1)) == {"Output": "three"}
    assert values(shown(pages, 1, view="json"))["Output"] == '{ "output": "*three*" }'


@pytest.mark.parametrize("key", ["x", "0", "run.1.2", "..", "%00", "a" * 5_000, "%F0%9F%92%A9"])
def test_a_row_that_is_not_there_is_the_run(to: Builder, pages: Dashboard, key: str) -> None:
    """And the page says so: it may have been deleted since the address was copied."""
    to.run("s", inputs="Why?")
    pane = pages.page(f"/runs/{run_id(1)}?row={key}").one(data_live="pane")
    assert values(pane) == {"Message": "Why?"}
    assert pane.one("p", "problem").text == "The trace has no such row: this is the run itself."


def test_a_long_prompt_is_cut_and_says_so(to: Builder, pages: Dashboard) -> None:
    """The JSON has all of it."""
    call(to, to.run("s"), messages=[{"role": "user", "content": "word " * 40_000}])
    pane = shown(pages, 1)
    assert "100,000 more characters" in pane.text or "99,999 more characters" in pane.text


def test_to_select_a_row_is_no_change_of_the_trace(to: Builder, pages: Dashboard) -> None:
    """An open page is not told of it: the script marks the row itself."""
    run = to.run("s", seconds=4.0)
    call(to, run)
    marks = {
        pages.page(f"/runs/{run}?row={key}").one(data_live="trace")["data-mark"]
        for key in (run, f"{run}.1")
    }
    assert len(marks) == 1
