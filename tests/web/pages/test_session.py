"""The page of a session: the conversation, and where its money and time went."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard
from tests.tools.talks import add_call, thirty_turns


def a_talk(to: Builder) -> None:
    """Record two turns, the second of which asks another agent, and a third that fails."""
    said = {"inputs": {"message": "When is high water?"}, "result": {"response": "At 14:20."}}
    one = to.run("talk", at=0, seconds=2.0, user="ada", agent="desk", **said)
    to.llm(one, 300, 20, at=1.5, cost=0.004, duration_ms=1_500)
    to.score(one, "helpful", numeric_value=0.5, comment="asked")
    two = to.run("talk", at=62, seconds=5.0, user="ada", agent="desk",
                 inputs={"message": "And tomorrow?"}, result={"response": "At 15:05."})  # fmt: skip
    to.span(two, "tool", at=62, seconds=1.0, name="tide_table", output='{"high": 2}')
    to.span(two, "retriever", at=63, seconds=1.0, name="almanac")
    to.llm(two, 700, 20, at=66, cost=0.008, duration_ms=2_000)
    to.run("talk", at=64, seconds=1.0, user="ada", agent="helper", parent=two,
           inputs={"message": "look it up"}, result={"response": "looked"})  # fmt: skip
    to.run("talk", at=100, seconds=10.0, user="ada", agent="desk", status="error",
           inputs={"message": "And the day after?"}, error="no answer within 10 s",
           error_type="TideTimeout", traceback="Traceback ...")  # fmt: skip


@pytest.fixture
def talk(db_path: Path) -> Iterator[Element]:
    with recorded(db_path) as to:
        a_talk(to)
    with dashboard(db_path) as pages:
        yield pages.page("/sessions/talk")


def turns(page: Element) -> list[Element]:
    return page.all("article", "turn")


def turn_ids(page: Element) -> list[str]:
    return [turn["id"] for turn in turns(page) if "nested" not in turn["class"].split()]


def test_turns_stand_in_order_with_what_was_said(talk: Element) -> None:
    """The person's message, then the agent's answer, each with its name."""
    first = turns(talk)[0]
    assert first.one("section", "person").text == "ada When is high water?"
    assert first.one("section", "agent").text == "desk At 14:20."
    assert turn_ids(talk) == [f"turn-{n}" for n in range(1, 4)]


def test_the_rail_has_time_duration_tokens_and_cost(talk: Element) -> None:
    """Of each turn, and leads to its run."""
    rail = turns(talk)[0].one("div", "rail")
    shown = [part.text for part in rail.children if isinstance(part, Element)]
    assert shown == ["1", "09:30:00", "2.0 s", "320 tok", "$0.0040"]
    assert rail.one("a")["href"].startswith("/runs/01942000-")


def test_a_pause_before_a_turn_is_told(talk: Element) -> None:
    """From half a minute on."""
    assert [turn.text for turn in talk.all("span", "pause")] == ["after 1 m 0 s", "after 33.0 s"]


def test_a_run_of_another_agent_is_folded_into_the_turn_that_opened_it(talk: Element) -> None:
    """Between the message and the answer, under a line that counts and names."""
    said = turns(talk)[1].all("div", "said")[0].children
    asked, inner, answer, _ = (part for part in said if isinstance(part, Element))
    assert asked["class"] == "person"
    assert inner.one("summary").text == "1 sub-agent run: helper"
    assert "open" not in inner.attributes
    nested = inner.one("article", "nested")
    assert nested["id"].startswith("run-01942000-")
    assert nested["aria-label"] == "Sub-agent run in turn 2"
    assert "asked look it up helper looked" in nested.text
    assert answer["class"] == "agent"


def test_sub_agents_of_sub_agents_are_counted_and_a_failed_turn_shows_them(db_path: Path) -> None:
    """However deep, a few of them by name; who failed is told in the line above them."""
    with recorded(db_path) as to:
        turn = to.run("s", agent="boss", status="error")
        for number in range(7):
            helper = to.run("s", at=number + 1, agent=f"helper {number}", parent=turn)
            to.run("s", at=number + 1.5, agent="deep", parent=helper, status="error")
    with dashboard(db_path) as pages:
        inner, *deeper = pages.page("/sessions/s").all("details", "inner")
    assert [one.one("summary").text for one in deeper] == [
        "1 sub-agent run: deep · 1 failed: deep"
    ] * 7
    assert inner.all("summary")[0].text == (
        "14 sub-agent runs: helper 0, deep, helper 1, helper 2, helper 3 and 3 more"
        " · 7 failed: deep"
    )
    assert "open" in inner.attributes
    assert len(inner.all("article")) == 14


def test_the_day_stands_where_it_changes(db_path: Path) -> None:
    """At the first turn of the page, and at the first of another day."""
    with recorded(db_path) as to:
        for hours in (0, 1, 24, 25):
            to.run("s", at=hours * 3_600)
    with dashboard(db_path) as pages:
        shown = [turn.one("p", "day") for turn in turns(pages.page("/sessions/s"))]
    assert [one.text for one in shown] == ["2026-01-31", "", "2026-02-01", ""]
    assert ["hidden" in one.attributes for one in shown] == [False, True, False, True]


def test_what_a_turn_did_is_folded_under_it(talk: Element) -> None:
    """Counted in the line that opens it, one row each inside."""
    did = turns(talk)[1].one("details", "did")
    assert did.one("summary").text == "1 tool call · 1 retrieval · 1 LLM call"
    assert "open" not in did.attributes
    names = [row.one("th").text for row in did.one("tbody").all("tr")]
    assert names == ["tide_table", "almanac", "gpt-4o"]
    cells = [cell.text for cell in did.one("tbody").all("tr")[2].all("td")]
    assert cells == ["LLM", "700 in, 20 out", "$0.0080", "2.0 s"]


def test_a_failed_turn_shows_its_error(talk: Element) -> None:
    """In place of an answer, with the state in words."""
    failed = turns(talk)[3]
    error = failed.one("section", "failure")
    assert error.text == "error desk TideTimeout: no answer within 10 s"
    assert not failed.all("section", "agent")


def test_the_side_says_where_the_money_went(talk: Element) -> None:
    """With the verdict, and new and repeated input tokens apart."""
    assert "Expensive model: gpt-4o" in talk.one(data_live="money").one("p", "verdict").text
    money = talk.one(data_live="chart")
    rows = [[cell.text for cell in row.children if isinstance(cell, Element)]
            for row in money.one("tbody").all("tr")]  # fmt: skip
    assert rows[0] == ["1", "", "300", "0", "$0.0040"]
    assert rows[1] == ["2", "", "~380", "~320", "$0.0080"]
    bar = money.one("tbody").all("svg")[1]
    assert bar["aria-label"] == "~380 new, ~320 resent"


def test_the_side_says_where_the_time_went(talk: Element) -> None:
    """By kind, without counting an instant twice, and waiting apart."""
    timing = talk.one("section", data_live="timing")
    rows = {row.one("th").text: row.all("td", "num")[0].text for row in timing.all("tr")[1:]}
    assert rows == {
        "LLM calls": "3.5 s", "Tools": "1.0 s", "Retrieval": "1.0 s", "Other (your code)": "11.5 s",
        "Waiting for the user": "1 m 33 s",
    }  # fmt: skip


def test_scores_name_their_turn(talk: Element) -> None:
    """With value and comment."""
    row = talk.one("section", data_live="scores").one("tbody").one("tr")
    assert row.text == "1 helpful asked 0.5"
    assert row.one("a")["href"] == "#turn-1"


def test_a_session_of_many_turns_comes_in_parts(db_path: Path) -> None:
    """Fifty turns at once, their numbers those of the whole conversation; a chart in place of
    a table."""
    with recorded(db_path) as to:
        for turn in range(60):
            run = to.run("long", at=turn, inputs={"message": f"m{turn}"})
            to.llm(run, 10 + turn, 1, cost=0.01 * turn)
            to.run("long", at=turn + 0.5, parent=run)
    with dashboard(db_path) as pages:
        first = pages.page("/sessions/long")
        assert turn_ids(first)[-1] == "turn-50"
        assert len(first.one("figure", "chart").one("tbody").all("tr")) == 50
        assert "Turns 1 to 50 of 60; of all, turn 60 cost most: $0.5900." in first.text
        assert "Turns 1 to 50 of 60" in first.one("nav", "pager").text
        later = pages.page(first.one("a", rel="next")["href"])
        assert turn_ids(later) == [f"turn-{n}" for n in range(51, 61)]
        assert "Earlier turns" in later.text
        assert turn_ids(pages.page("/sessions/long?turn=53")) == turn_ids(later)
        beyond = pages.page("/sessions/long?turn=999")
        assert "There are only 60 turns." in beyond.text
        last = next(link["href"] for link in beyond.all("a") if link.text == "The last ones")
        assert turn_ids(pages.page(last)) == turn_ids(later)


def test_a_long_message_is_folded_and_whole(db_path: Path) -> None:
    """Its beginning shows; all of it is there to be opened."""
    words = "word " * 4_000
    with recorded(db_path) as to:
        to.run("long", inputs={"message": words})
        to.run("long", at=1, inputs={"message": "x" * 50_000})
    with dashboard(db_path) as pages:
        message, cut = pages.page("/sessions/long").all("section", "person")
    fold = message.one("details", "fold")
    head = message.one("div", "head")
    assert "open" not in fold.attributes
    assert "Show all 20,000 characters" in fold.one("summary").text
    assert len(head.text) < 1_010
    assert fold.one("div", "text").text == words.strip()
    assert "Show 20,000 of 50,000 characters" in cut.text
    assert "30,000 more characters: see the page of the run" in cut.text


@pytest.mark.parametrize(
    "session_id",
    ["plain", "with space", "a/b", "..", ".", "a?b#c", "%2e%2e", "\\", "ü", "🙂", "x" * 200, ""],
)
def test_any_id_has_a_page_that_a_browser_reaches(db_path: Path, session_id: str) -> None:
    """Dots, slashes and question marks in an id do not lead elsewhere."""
    with recorded(db_path) as to:
        to.run(session_id, inputs={"message": "found"})
    with dashboard(db_path) as pages:
        link = pages.page("/").one("a", "open")["href"]
        page = pages.page(link)
    assert page.one("h1").text == "found"
    assert page.one("bdi", "whole").text == " ".join(session_id.split())


def test_an_unknown_session_is_a_page_with_a_way_on(db_path: Path) -> None:
    """404, and what to do."""
    with recorded(db_path) as to:
        a_talk(to)
    with dashboard(db_path) as pages:
        page = pages.page("/sessions/nothing", status=404)
    assert "no session 'nothing'" in page.text


def test_a_running_session_refreshes_itself_more_often(db_path: Path) -> None:
    """Every two seconds instead of five."""
    with recorded(db_path) as to:
        to.run("going", seconds=None, process=to.process(alive=True))
        to.run("gone", at=1, seconds=None, process=to.process(alive=False))
    with dashboard(db_path) as pages:
        assert pages.page("/sessions/going").one("main")["data-refresh"] == "2"
        gone = pages.page("/sessions/gone")
    assert gone.one("main")["data-refresh"] == "5"
    assert "Interrupted: process ended before run completion" in gone.text


def test_only_what_changes_comes_with_live(db_path: Path) -> None:
    """The same parts in a smaller frame, for pages that are open."""

    def parts(page: Element) -> dict[str, str]:
        return {one["data-live"]: one.text for one in page.walk() if "data-live" in one.attributes}

    with recorded(db_path) as to:
        a_talk(to)
    with dashboard(db_path) as pages:
        whole, live = pages.page("/sessions/talk"), pages.page("/sessions/talk?live=1")
    assert parts(live) == parts(whole)
    assert not live.all("script")
    assert not live.all("nav")


def test_times_are_stored_exactly_in_the_page(talk: Element) -> None:
    """So that a script can show them in the viewer's zone."""
    clock = turns(talk)[0].one("time")
    assert clock["datetime"] == "2026-01-31T09:30:00.000000Z"
    assert clock["title"] == "2026-01-31 09:30:00 UTC"


def test_the_page_leads_to_the_json(pages_of_talk: Dashboard) -> None:
    """Of the same session, at the API."""
    link = next(one for one in pages_of_talk.page("/sessions/talk").all("a") if one.text == "JSON")
    assert pages_of_talk.client.get(link["href"]).json()["session_id"] == "talk"


@pytest.fixture
def pages_of_talk(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        a_talk(to)
    with dashboard(db_path) as pages:
        yield pages


def test_a_conversation_says_where_it_was_compacted_and_forked(db_path: Path) -> None:
    """At the turn, and beside the cost with a link to it; nothing where there is none."""
    with recorded(db_path) as to:
        for number, messages in enumerate(thirty_turns()):
            add_call(to, to.run("talk", at=number * 10), messages)
        to.run("quiet")
    with dashboard(db_path) as pages:
        page, quiet = pages.page("/sessions/talk"), pages.page("/sessions/quiet")
    marked = {
        turn["id"]: part.text
        for turn in turns(page)
        for part in turn.one("div", "rail").all("span")
        if "history" in part.text or "forked" in part.text
    }
    assert marked == {"turn-12": "history compacted", "turn-25": "forked from turn 16"}
    links = {link["href"]: link.text for link in page.all("a") if "became" in link.text
             or "forked" in link.text}  # fmt: skip
    assert links == {
        "#turn-12": "History compacted at turn 12: 22 messages became 3",
        "#turn-25": "Turn 25 forked from turn 16: 12 of 27 messages kept",
    }
    assert "compacted" not in quiet.text


@pytest.mark.parametrize("count", [3, 14], ids=["table", "chart"])
def test_tokens_of_a_turn_that_nobody_told_are_unknown(db_path: Path, count: int) -> None:
    """In its records, and among the input of the turns: in words, and in those for readers."""
    with recorded(db_path) as to:
        to.llm(to.run("s", at=0), 0, 0, usage_known=0)
        for turn in range(1, count):
            to.llm(to.run("s", at=turn), 100 * turn, 10)
    with dashboard(db_path) as pages:
        page = pages.page("/sessions/s")
    (record,) = turns(page)[0].one("table", "records").one("tbody").all("tr")
    assert "unknown tokens" in record.text
    table = page.one(data_live="chart").all("table")[0]
    assert "unknown" in table.one("tbody").all("tr")[0].text
    shown = json.dumps([page.text, *(one.attributes for one in page.walk())])
    for zero in ("0 in, 0 out", '"0 new, 0 resent', "New input: 0, Resent: 0"):
        assert zero not in shown


def test_a_session_whose_tokens_nobody_told_has_no_sum_of_them(db_path: Path) -> None:
    """Unknown, in the totals."""
    with recorded(db_path) as to:
        for turn in range(3):
            to.llm(to.run("s", at=turn), 0, 0, usage_known=0)
    with dashboard(db_path) as pages:
        totals = pages.page("/sessions/s").one(data_live="totals").text
    assert "Tokens unknown" in totals
