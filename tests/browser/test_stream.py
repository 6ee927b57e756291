"""Pages that are open are told what has changed, and show it without moving what is being read."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import HAS_STREAM, Open, is_refresh
from tests.tools.builders import Builder
from tests.tools.cli import PYTHON, environment
from tests.tools.patience import PATIENCE_S


def talk(to: Builder, turns: range) -> None:
    """Add turns to a session: `question 7` is said in turn 8."""
    for turn in turns:
        to.run("talk", at=turn, inputs={"message": f"question {turn}\n" + "words " * 100})


def is_stream(event: object) -> bool:
    """Return whether a request or a response is that of a stream."""
    return "live=stream" in event.url  # type: ignore[attr-defined]


def streaming(page: Page, address: str) -> None:
    """Open an address, and wait until its stream has begun."""
    with page.expect_response(is_stream) as answer:
        page.goto(address)
    assert answer.value.status == 200
    page.wait_for_function(HAS_STREAM)


def test_a_turn_is_added_while_one_reads(open_page: Open, to: Builder, served: str) -> None:
    """Below the others, without asking; an open fold, focus and selection stay, nothing moves."""
    for turn in range(12):
        run = to.run("talk", at=turn, inputs={"message": f"question {turn}"})
        to.step(run, "thought")
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if is_refresh(request) else None)
    streaming(page, f"{served}/sessions/talk")
    page.locator("#turn-9 details.did summary").click()
    page.locator("#turn-9").evaluate("e => e.scrollIntoView()")
    page.locator("#turn-9 .person .text, #turn-9 .person .rendered").first.select_text()
    before = page.locator("#turn-9").bounding_box()
    to.run("talk", at=60, inputs={"message": "the newest"})
    expect(page.locator("#turn-13")).to_contain_text("the newest")
    expect(page.locator("[data-live=totals]")).to_contain_text("13")
    expect(page.get_by_text("thought").nth(8)).to_be_visible()
    assert "question 8" in page.evaluate("String(getSelection())")
    assert page.evaluate("document.activeElement.closest('article')?.id") == "turn-9"
    assert page.locator("#turn-9").bounding_box() == pytest.approx(before, abs=1)  # pixels
    assert [one for one in asked if "part=" not in one] == []


def test_a_running_turn_is_replaced_when_it_ends(open_page: Open, to: Builder, served: str) -> None:
    """It shows as running until then, and is there once."""
    page = open_page()
    talk(to, range(1))
    streaming(page, f"{served}/sessions/talk")
    process = to.process(alive=True)
    run = to.run("talk", at=9, seconds=None, process=process, inputs={"message": "wait for it"})
    expect(page.locator("#turn-2 .agent")).to_contain_text("running")
    to.conn.execute(
        "UPDATE runs SET status = 'success', duration = 2.5, result = ? WHERE run_id = ?",
        ('{"response": "here it is"}', run),
    )
    expect(page.locator("#turn-2 .agent")).to_contain_text("here it is")
    expect(page.locator("article.turn")).to_have_count(2)
    expect(page.locator(".state.running")).to_have_count(0)


def test_new_turns_are_counted_for_who_reads_above(
    open_page: Open, to: Builder, served: str
) -> None:
    """A button tells how many, politely also to a screen reader, and leads to the first of them."""
    talk(to, range(30))
    page = open_page()
    streaming(page, f"{served}/sessions/talk")
    talk(to, range(30, 32))
    newer = page.locator(".dock .newer")
    expect(newer).to_have_text("2 new turns ↓")
    talk(to, range(32, 33))
    expect(newer).to_have_text("3 new turns ↓")
    expect(page.locator("#said")).to_have_text("3 new turns")
    assert page.evaluate("scrollY") == 0
    newer.click()
    expect(page.locator("#turn-31")).to_be_in_viewport()
    expect(newer).to_be_hidden()


def followed(page: Page) -> Locator:
    """Follow the conversation; return the button."""
    button = page.get_by_role("button", name="Follow")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    return button


def test_follow_mode_keeps_the_newest_turn_in_view(
    open_page: Open, to: Builder, served: str
) -> None:
    """Also after a reload, until the person scrolls up."""
    talk(to, range(30))
    page = open_page()
    streaming(page, f"{served}/sessions/talk")
    follow = followed(page)
    expect(page.locator("#turn-30")).to_be_in_viewport()
    talk(to, range(30, 32))
    expect(page.locator("#turn-32")).to_be_in_viewport()
    page.reload()
    expect(page.locator("#turn-32")).to_be_in_viewport()
    page.wait_for_function(HAS_STREAM)
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.mouse.wheel(0, -600)
    expect(follow).to_have_attribute("aria-pressed", "false")
    top = page.evaluate("scrollY")
    talk(to, range(32, 33))
    expect(page.locator(".dock .newer")).to_have_text("1 new turn ↓")
    assert page.evaluate("scrollY") == pytest.approx(top, abs=1)


def scroll_until(page: Page, selector: str, pixels: int) -> None:
    """Go on scrolling until there is such an element."""
    give_up = time.monotonic() + PATIENCE_S
    while not page.locator(selector).count():
        assert time.monotonic() < give_up
        page.mouse.wheel(0, pixels)
        page.wait_for_timeout(20)


def test_there_is_no_wall_at_turn_fifty(open_page: Open, to: Builder, served: str) -> None:
    """Later turns come when the reader nears the end, earlier ones at the beginning; then live."""
    talk(to, range(120))
    page = open_page()
    streaming(page, f"{served}/sessions/talk?turn=60")
    expect(page.locator("#turn-60")).to_be_attached()
    scroll_until(page, "#turn-120", 4_000)
    expect(page.locator("[data-live=later] a")).to_have_count(0)
    page.wait_for_function(HAS_STREAM)
    talk(to, range(120, 121))
    expect(page.locator("#turn-121")).to_contain_text("question 120")
    scroll_until(page, "#turn-1", -4_000)
    numbers = page.locator("article.turn").evaluate_all("all => all.map((one) => one.id)")
    assert numbers == [f"turn-{number}" for number in range(1, 122)]


def test_a_new_session_waits_to_be_asked(open_page: Open, to: Builder, served: str) -> None:
    """In a list that is being read: it is counted, and figures change in place."""
    for number in range(40):
        to.run(f"s{number:02}", at=number, inputs={"message": f"talk {number}"})
    page = open_page()
    streaming(page, served)
    row = page.locator("tr[data-live='session s05']")
    row.evaluate("e => e.scrollIntoView({block: 'center'})")
    before = row.bounding_box()
    for number in range(2):
        to.run(f"new {number}", at=60 + number, inputs={"message": "the new one"})
    news = page.locator(".news button")
    expect(news).to_have_text("Show 2 changes")
    to.llm("01942000-0000-7000-8000-000000000006", 70_000, 7, cost=3.0)
    expect(row).to_contain_text("$3.00")
    expect(page.get_by_text("the new one")).to_have_count(0)
    assert row.bounding_box() == pytest.approx(before, abs=1)  # pixels
    news.click()
    expect(page.locator("tbody .open").first).to_have_text("the new one")


def test_the_first_session_takes_the_place_of_the_runs(
    open_page: Open, to: Builder, served: str
) -> None:
    """Which the list shows while there are no sessions."""
    to.run(None, inputs={"message": "a run alone"})
    page = open_page()
    streaming(page, served)
    expect(page.get_by_role("heading", level=2).first).to_have_text("No sessions yet, but 1 run")
    to.run("first", inputs={"message": "the first session"})
    expect(page.locator("tbody .open")).to_have_text(["the first session"])
    expect(page.get_by_text("No sessions yet")).to_have_count(0)


@contextmanager
def on_port(db: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve in a process of its own, at a given port (0: any)."""
    process = subprocess.Popen(
        [*PYTHON, "--db", str(db), "serve", "--port", str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip().rstrip("/")
        assert address.startswith("http://")
        yield process, address
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_each_turn_comes_once_over_a_restart(
    open_page: Open, to: Builder, db_path: Path, how: signal.Signals
) -> None:
    """Those that were recorded while no server was there, too."""
    talk(to, range(3))
    page = open_page()
    with on_port(db_path, 0) as (process, address):
        streaming(page, f"{address}/sessions/talk")
        talk(to, range(3, 4))
        expect(page.locator("#turn-4")).to_be_attached()
        process.send_signal(how)
        process.wait(PATIENCE_S)
    talk(to, range(4, 6))
    with on_port(db_path, int(address.rpartition(":")[2])):
        expect(page.locator("#turn-6")).to_be_attached(timeout=60_000)
        page.wait_for_function(HAS_STREAM)
        talk(to, range(6, 7))
        expect(page.locator("#turn-7")).to_be_attached()
        numbers = page.locator("article.turn").evaluate_all("all => all.map((one) => one.id)")
        assert numbers == [f"turn-{number}" for number in range(1, 8)]
        page.goto("about:blank")
    # Chromium logs each request that fails; that is not the page's error.
    open_page.wrong[:] = [one for one in open_page.wrong if "ERR_" not in one]


def test_a_page_in_the_background_has_no_stream(open_page: Open, to: Builder, served: str) -> None:
    """Until somebody looks at it again; then it gets what it has missed."""
    talk(to, range(1))
    page = open_page()
    streaming(page, f"{served}/sessions/talk")
    page.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_function("() => !waxlocalLive.isOpen()")
    other = page.context.new_page()
    streaming(other, f"{served}/sessions/talk")
    talk(to, range(1, 2))
    expect(other.locator("article.turn")).to_have_count(2)
    expect(page.locator("article.turn")).to_have_count(1)
    page.evaluate(
        "delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))"
    )
    expect(page.locator("article.turn")).to_have_count(2)


def test_a_fourth_tab_asks_now_and_then(open_page: Open, to: Builder, served: str) -> None:
    """A browser has six connections for all of its tabs: streams do not take them all."""
    talk(to, range(1))
    first = open_page()
    streaming(first, f"{served}/sessions/talk")
    tabs = [first]
    for _ in range(2):
        tabs.append(first.context.new_page())
        streaming(tabs[-1], f"{served}/sessions/talk")
    fourth = first.context.new_page()
    with fourth.expect_response(is_stream) as answer:
        fourth.goto(f"{served}/sessions/talk")
    assert answer.value.status == 204
    talk(to, range(1, 2))
    for tab in [*tabs, fourth]:
        expect(tab.locator("article.turn")).to_have_count(2, timeout=20_000)


def test_a_session_that_is_deleted_says_so(open_page: Open, to: Builder, served: str) -> None:
    """What was read stays on the page."""
    talk(to, range(1))
    page = open_page()
    streaming(page, f"{served}/sessions/talk")
    to.conn.execute("DELETE FROM runs")
    expect(page.locator("#main > .problem")).to_contain_text("This was deleted")
    expect(page.locator("article.turn")).to_have_count(1)
    # Nor is it asked for any more.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange')); waxlocalLive.isOpen()")
    page.wait_for_function("() => !waxlocalLive.isOpen()")
    expect(page.locator("#upload")).not_to_contain_text("no answer")


def test_a_page_without_a_stream_says_that_its_session_is_deleted(
    open_page: Open, to: Builder, served: str
) -> None:
    """When it asks the next time; and then it asks no more."""
    talk(to, range(1))
    page = open_page()
    page.add_init_script("Object.defineProperty(window, 'waxlocalLive', {get() {}, set() {}})")
    page.goto(f"{served}/sessions/talk")
    to.conn.execute("DELETE FROM runs")
    expect(page.locator("#main > .problem")).to_contain_text("This was deleted")
    expect(page.locator("article.turn")).to_have_count(1)
    open_page.wrong[:] = [one for one in open_page.wrong if "404" not in one]


def test_another_address_than_the_followed_one_is_not_followed(
    open_page: Open, to: Builder, served: str
) -> None:
    """Who opens a turn wants that turn; back at the address that was followed, it is again."""
    talk(to, range(60))
    page = open_page()
    streaming(page, f"{served}/sessions/talk?turn=60")
    follow = followed(page)
    page.goto(f"{served}/sessions/talk?turn=1")
    expect(follow).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#turn-1")).to_be_in_viewport()


def test_much_that_is_recorded_leaves_the_page_usable(
    open_page: Open, to: Builder, served: str
) -> None:
    """Hundreds of new sessions come in a few events; a click is answered in between."""
    to.run("first")
    page = open_page()
    streaming(page, served)
    page.evaluate(
        "window.applied = 0; new MutationObserver(() => { window.applied += 1 })"
        ".observe(document.querySelector('tbody'), {childList: true})"
    )
    for number in range(600):
        to.run(f"s{number}", at=number, inputs={"message": f"talk {number}"})
        if number == 300:
            page.get_by_role("button", name="Theme").click()
    expect(page.locator("tbody .open").first).to_have_text("talk 599")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate("applied") < 300
