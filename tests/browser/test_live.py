"""Pages without a stream refresh themselves, without moving what is being read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open, is_refresh, pass_time
from tests.browser.serving import serving
from tests.tools.builders import Builder, run_id
from tests.tools.patience import PATIENCE_S
from waxlocal.web.cache import Cache

# More than the longest time between two refreshes of an open page, in milliseconds.
A_WHILE = 20_000


@pytest.fixture
def served(db_path: Path, open_page: Open) -> Iterator[str]:
    """Serve the test's own file without streams; yields the address."""
    with serving(db_path, streams=0) as address:
        yield address
        open_page.close()  # first, or a page would ask once more, in vain


def opened(open_page: Open, address: str) -> Page:
    """Open a page whose timers run only when the test lets them."""
    page = open_page()
    page.clock.install()
    page.goto(address)
    return page


def refreshed(page: Page, locator: Locator | None = None, text: str = "") -> None:
    """Let the page's time go on until it has asked again, and the text is where it should be.

    On a busy machine the server's first answer may be the one it kept.
    """
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        pass_time(page, A_WHILE, "response", is_refresh)
        try:
            if locator is not None:
                expect(locator).to_contain_text(text, timeout=1_000)
        except AssertionError:
            continue
        return
    raise AssertionError(f"{text!r} did not come")


def test_a_turn_is_added_while_one_reads(open_page: Open, to: Builder, served: str) -> None:
    """Below the others; an open fold stays open, and nothing moves."""
    for turn in range(12):
        run = to.run("talk", at=turn, inputs={"message": f"question {turn}"})
        to.step(run, "thought")
    page = opened(open_page, f"{served}/sessions/talk")
    page.locator("#turn-9 details.did summary").click()
    page.locator("#turn-9").evaluate("e => e.scrollIntoView()")
    before = page.locator("#turn-9").bounding_box()
    to.run("talk", at=60, inputs={"message": "the newest"})
    refreshed(page, page.locator("#turn-13"), "the newest")
    expect(page.get_by_text("thought").nth(8)).to_be_visible()
    assert page.locator("#turn-9").bounding_box() == pytest.approx(before, abs=1)  # pixels
    expect(page.locator("[data-live=totals]")).to_contain_text("13")


def _talk(to: Builder, turns: range) -> None:
    for turn in turns:
        to.run("talk", at=turn, inputs={"message": f"question {turn}"})


def test_a_conversation_goes_on_past_the_turns_of_one_page(
    open_page: Open, to: Builder, served: str
) -> None:
    """On its last part, at the end of which later turns are named once they are too many."""
    _talk(to, range(49))
    page = opened(open_page, f"{served}/sessions/talk")
    _talk(to, range(49, 53))
    refreshed(page, page.locator("#turn-53"), "question 52")
    expect(page.locator("article.turn")).to_have_count(53)
    expect(page.get_by_role("link", name="Later ones")).to_have_count(0)
    _talk(to, range(53, 202))
    refreshed(page, page.locator("#turn-200"), "question 199")
    refreshed(page, page.locator("nav.pager"), "of 202")
    page.get_by_role("link", name="Later ones").click()
    expect(page.locator("#turn-201")).to_contain_text("question 200")


def test_an_earlier_part_of_a_conversation_stays_as_it_is(
    open_page: Open, to: Builder, served: str
) -> None:
    """Its later turns are on the next page."""
    _talk(to, range(51))
    page = opened(open_page, f"{served}/sessions/talk")
    to.run("talk", at=60, inputs={"message": "the newest"})
    refreshed(page, page.locator("[data-live=totals]"), "52")
    expect(page.locator("article.turn")).to_have_count(50)


def test_a_turn_that_was_deleted_leaves_the_page(open_page: Open, to: Builder, served: str) -> None:
    """The others stay, with their new numbers."""
    _talk(to, range(3))
    page = opened(open_page, f"{served}/sessions/talk")
    expect(page.locator("article.turn")).to_have_count(3)
    to.conn.execute("DELETE FROM runs WHERE run_id = ?", (run_id(2),))
    refreshed(page, page.locator("[data-live=totals]"), "2")
    refreshed(page, page.locator("#turn-2"), "question 2")
    expect(page.locator("article.turn")).to_have_count(2)


def test_a_running_turn_gets_its_answer(open_page: Open, to: Builder, served: str) -> None:
    """In its place."""
    process = to.process(alive=True)
    run = to.run("talk", seconds=None, process=process, inputs={"message": "wait for it"})
    page = opened(open_page, f"{served}/sessions/talk")
    expect(page.locator("#turn-1 .agent")).to_contain_text("running")
    to.conn.execute(
        "UPDATE runs SET status = 'success', duration = 2.5, result = ? WHERE run_id = ?",
        ('{"response": "here it is"}', run),
    )
    refreshed(page, page.locator("#turn-1 .agent"), "here it is")
    expect(page.locator("#turn-1 .rail")).to_contain_text("2.5 s")
    expect(page.locator(".state.running")).to_have_count(0)


def test_a_sub_agent_that_arrives_leaves_open_folds_open(
    open_page: Open, to: Builder, served: str
) -> None:
    """It comes in above the records that somebody reads, folded, with records of its own."""
    turn = to.run("talk", seconds=None, process=to.process(alive=True))
    to.step(turn, "thought of the turn")
    page = opened(open_page, f"{served}/sessions/talk")
    page.locator("#turn-1 details.did summary").click()
    page.evaluate("document.activeElement.blur()")  # a turn that has the focus is left alone
    helper = to.run("talk", at=1, agent="helper", parent=turn)
    to.step(helper, "thought of the helper")
    inner = page.locator("#turn-1 details.inner")
    refreshed(page, inner.locator("> summary"), "1 sub-agent run: helper")
    expect(page.get_by_text("thought of the turn")).to_be_visible()
    expect(page.get_by_text("thought of the helper")).to_be_hidden()
    inner.locator("> summary").click()
    inner.locator("details.did > summary").click()
    expect(page.get_by_text("thought of the helper")).to_be_visible()


def test_a_run_whose_caller_arrives_later_moves_into_it(
    open_page: Open, to: Builder, served: str
) -> None:
    """As uploads to a hub may come; it is there once."""
    to.run("talk", at=5, agent="helper", parent=run_id(2), inputs={"message": "look it up"})
    page = opened(open_page, f"{served}/sessions/talk")
    expect(page.locator("article.turn")).to_have_count(1)
    to.run("talk", at=1, agent="boss", inputs={"message": "the question"})
    refreshed(page, page.locator("article.turn > .said > .person").first, "the question")
    expect(page.get_by_text("look it up")).to_have_count(1)
    expect(page.locator("[data-grows] > article")).to_have_count(1)


def test_a_running_run_shows_what_it_records(open_page: Open, to: Builder, served: str) -> None:
    """Calls and steps as they come."""
    run = to.run("talk", seconds=None, process=to.process(alive=True))
    page = opened(open_page, f"{served}/runs/{run}")
    expect(page.get_by_role("heading", name="LLM calls")).to_have_count(0)
    to.llm(run, 120, 30, cost=0.5, model="the-model")
    to.step(run, "the-step")
    refreshed(page, page.locator("table.calls"), "the-model")
    expect(page.get_by_text("the-step")).to_be_visible()
    expect(page.locator(".facts").first).to_contain_text("$0.5000")


def test_a_new_session_stands_on_top(open_page: Open, to: Builder, served: str) -> None:
    """Of a list that nobody is reading yet, with the totals."""
    to.run("old", inputs={"message": "the old one"})
    page = opened(open_page, served)
    to.run("new", at=60, inputs={"message": "the new one"})
    refreshed(page, page.locator("tbody .open").first, "the new one")
    expect(page.locator("tbody .open")).to_have_text(["the new one", "the old one"])
    refreshed(page, page.locator("[data-live=totals] dd").first, "2")


def test_a_list_that_is_being_read_waits_to_be_asked(
    open_page: Open, to: Builder, served: str
) -> None:
    """Figures change in place; new rows are announced, and come by a click."""
    for number in range(40):
        to.run(f"s{number:02}", at=number, inputs={"message": f"talk {number}"})
    page = opened(open_page, served)
    row = page.locator("tr[data-live='session s05']")
    row.evaluate("e => e.scrollIntoView({block: 'center'})")
    before = row.bounding_box()
    to.run("new", at=60, inputs={"message": "the new one"})
    to.llm(run_id(6), 70_000, 7, cost=3.0)
    news = page.locator(".news button")
    refreshed(page, news, "Show 1 change")
    refreshed(page, row, "$3.00")
    expect(page.get_by_text("the new one")).to_have_count(0)
    assert row.bounding_box() == pytest.approx(before, abs=1)  # pixels
    news.click()
    expect(page.locator("tbody .open").first).to_have_text("the new one")
    expect(news).to_have_count(0)


def test_only_what_is_new_or_has_moved_is_counted(
    open_page: Open, to: Builder, served: str
) -> None:
    """Not the rows below, which all have another place, nor those that have left the page."""
    for number in range(60):
        to.run(f"s{number:02}", at=number, inputs={"message": f"talk {number}"})
    page = opened(open_page, served)
    page.locator("tr[data-live='session s40']").evaluate("e => e.scrollIntoView()")
    for number in range(3):
        to.run(f"new-{number}", at=100 + number)
    refreshed(page, page.locator(".news button"), "Show 3 changes")
    to.run("s30", at=200)
    refreshed(page, page.locator(".news button"), "Show 4 changes")


def test_the_first_session_appears_by_itself(open_page: Open, to: Builder, served: str) -> None:
    """On the page that said how to make it."""
    page = opened(open_page, served)
    expect(page.get_by_role("heading", name="Nothing recorded yet")).to_be_visible()
    to.run("first", inputs={"message": "hello"})
    refreshed(page, page.locator("tbody .open"), "hello")


def test_selected_text_stays_selected(open_page: Open, to: Builder, served: str) -> None:
    """What somebody is about to copy is not replaced under the mouse."""
    run = to.run("talk", inputs={"message": "copy these words"}, process=to.process(alive=True))
    to.run("talk", at=1, seconds=None, process=1)
    page = opened(open_page, f"{served}/sessions/talk")
    page.locator("#turn-1 .person .text").select_text()
    to.step(run, "one more")
    refreshed(page)
    assert page.evaluate("String(getSelection())") == "copy these words"
    page.evaluate("getSelection().removeAllRanges()")
    refreshed(page, page.locator("#turn-1 .did"), "1 step")


def test_the_upload_line_follows_the_upload(open_page: Open, to: Builder, served: str) -> None:
    """On every page."""
    to.run("s")
    page = opened(open_page, f"{served}/runs")
    expect(page.locator("#upload")).to_contain_text("no sync yet")
    to.conn.execute("INSERT INTO targets (url) VALUES ('https://hub')")
    refreshed(page, page.locator("#upload"), "1 pending")


def test_a_page_that_stays_as_it_is_asks_for_the_line_alone(
    open_page: Open, to: Builder, served: str
) -> None:
    """What is not there is not asked for again and again."""
    to.run("s")
    page = opened(open_page, f"{served}/help")
    answer = pass_time(page, A_WHILE, "response", is_refresh)
    assert answer.url == f"{served}/live/status?live=1"
    page.goto(f"{served}/sessions/unknown")
    open_page.wrong.clear()  # the browser logs every 404
    refreshed(page)
    expect(page.locator("#upload")).to_have_text("Upload: no sync yet")


def test_a_page_in_the_background_asks_nothing(open_page: Open, to: Builder, served: str) -> None:
    """Until somebody looks at it again."""
    to.run("s")
    page = opened(open_page, served)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "live" in request.url else None)
    page.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true})"
    )
    page.clock.run_for(10 * A_WHILE)
    assert asked == []
    with page.expect_response(is_refresh):
        page.evaluate(
            "delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))"
        )


def test_a_server_that_is_gone_is_told(open_page: Open, to: Builder, db_path: Path) -> None:
    """In the line at the top; what is on the page stays there."""
    to.run("s", inputs={"message": "still here"})
    with serving(db_path, streams=0) as address:
        page = opened(open_page, address)
        refreshed(page, page.locator("tbody .open"), "still here")
    for _ in range(3):
        pass_time(page, 4 * A_WHILE, "requestfailed")
    expect(page.locator("#upload")).to_have_text("no answer: reload the page")
    expect(page.locator("tbody .open")).to_have_text("still here")
    # Chromium logs each request that fails; that is not the page's error.
    open_page.wrong[:] = [one for one in open_page.wrong if "ERR_CONNECTION" not in one]


@pytest.mark.parametrize("path", ["/", "/analytics"])
def test_a_page_that_waited_for_its_answer_shows_it(
    open_page: Open, served: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """On a busy machine a page of an empty file comes before it is known that there is nothing."""
    may_go, work = threading.Event(), Cache._work

    async def held(*of: Any) -> None:
        while not may_go.is_set():
            await asyncio.sleep(0.01)
        await work(*of)

    monkeypatch.setitem(Cache.take.__kwdefaults__ or {}, "patience", 0.0)
    monkeypatch.setattr(Cache, "_work", held)
    page = opened(open_page, served + path)
    expect(page.locator(".waiting").first).to_be_visible()
    may_go.set()
    refreshed(page, page.locator("#main"), "Nothing recorded yet" if path == "/" else "No sessions")
    expect(page.locator(".waiting")).to_have_count(0)
