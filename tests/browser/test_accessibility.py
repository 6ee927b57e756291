"""Everybody can use the dashboard: with a screen reader, with keys alone, on a phone, on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import Open
from tests.browser.hostile import PAYLOADS, record_hostile
from tests.browser.hostile import session_id as hostile_session
from tests.browser.serving import serving
from tests.browser.unusual import LONG_ID, record_unusual
from tests.tools.builders import run_id
from tests.tools.cli import recorded
from waxlocal.cli.demo_conversations import MAIN_SESSION
from waxlocal.cli.demo_recording import record_demo
from waxlocal.queries import get_session
from waxlocal.storage.connection import reader
from waxlocal.web.pages.addresses import session_url

KEY = "a-key-of-forty-characters-for-this-test-"
LISTS = ("/", "/runs", "/users", "/errors", "/analytics", "/models", "/sync")
OTHERS = (
    "/search",
    "/search?q=the",
    "/search?q=nothinghasthisword",
    "/search?q=cost:much",
    "/help",
    "/?user_id=nobody",
    "/runs?user_id=nobody",
    "/sessions/none",
    "/nowhere",
)
MOST_STOPS = 60
QUESTION = "Which of the words in this question are too many for one line? " * 26
ANSWER = "Here:\n\n```python\nprint('an answer')\n```\n\n| a | table |\n|---|---|\n| 1 | 2 |\n"


def record_long(path: Path) -> None:
    """Record a session of fifty turns, each with what a page can fold, copy and scroll."""
    with recorded(path) as to:
        for turn in range(50):
            at = turn * 60.0
            run = to.run("fifty", at=at, user="ada", inputs={"message": f"{turn}. {QUESTION}"},
                         result={"response": ANSWER})  # fmt: skip
            to.llm(run, 1_000 + turn * 500, 50, at=at + 0.5, cost=0.01)
            to.span(run, name="tool", at=at + 0.2, seconds=0.1)
            to.score(run, "helpful", numeric_value=0.5)
            to.run("fifty", at=at + 0.3, agent="helper", parent=run,
                   inputs={"message": "a task"}, result={"response": ANSWER})  # fmt: skip


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a session of fifty turns; yields the address."""
    path = tmp_path_factory.mktemp("long") / "long.db"
    record_long(path)
    with serving(path) as address:
        yield address


def ready(page: Page) -> None:
    """Wait until nothing is being computed in the background any more."""
    expect(page.locator(".waiting")).to_have_count(0)


def forget_statuses(open_page: Open) -> None:
    """Forget what the browser itself logs of each status that is an error."""
    open_page.wrong[:] = [one for one in open_page.wrong if "responded with a status" not in one]


def paths_in(kind: str, path: Path) -> list[str]:
    """Record a file of this kind, and return the paths of its pages."""
    if kind == "demo":
        record_demo(path)
        with reader(path) as connection:
            run = get_session(connection, MAIN_SESSION).runs[1].run_id
        forget = f"/forget?kind=session&id={MAIN_SESSION}"
        more = "/?model=gpt*&min_cost=0"
        of_one = (f"/sessions/{MAIN_SESSION}", f"/runs/{run}", "/users/alice")
        return [*LISTS, *OTHERS, *of_one, forget, more]
    if kind == "long":
        record_long(path)
        return ["/sessions/fifty", f"/runs/{run_id(1)}"]
    if kind == "unusual":
        record_unusual(path)
        return [*LISTS, f"/sessions/{LONG_ID}", *(f"/runs/{run_id(n)}" for n in (1, 31, 35))]
    if kind == "hostile":
        ids = record_hostile(path)
        sessions = [session_url(hostile_session(n, PAYLOADS[n - 1])) for n in (2, 37)]
        return ["/sync", "/models", *sessions, f"/runs/{ids[1]}", f"/runs/{ids[36]}"]
    return [*LISTS, "/search?q=the"]


@pytest.mark.parametrize("kind", ["demo", "long", "unusual", "hostile", "empty"])
def test_axe_finds_nothing_on_any_page(
    open_page: Open, served: str, db_path: Path, kind: str
) -> None:
    """Not in the light theme nor in the dark one, neither on a desk nor on a phone."""
    page = open_page()
    for path in paths_in(kind, db_path):
        page.goto(served + path)
        ready(page)
        assert violations(page) == [], path
    forget_statuses(open_page)


def test_axe_finds_nothing_at_the_login(open_page: Open, db_path: Path) -> None:
    """Before the key, after a wrong one, and where a page asks for one."""
    with serving(db_path, key=KEY) as address:
        page = open_page()
        for path in ("/login", "/"):
            page.goto(address + path)
            assert violations(page) == []
        page.get_by_label("Key").fill("Wrong key")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert violations(page) == []
        open_page.close()
    forget_statuses(open_page)


def test_axe_finds_nothing_in_what_keys_open(open_page: Open, long: str) -> None:
    """The list of keys."""
    page = open_page()
    page.goto(long)
    ready(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []


def test_axe_finds_nothing_in_a_session_that_was_saved(
    open_page: Open, long: str, tmp_path: Path
) -> None:
    """The file has neither a script nor a server, and is printed whole like the page."""
    saved = tmp_path / "fifty.html"
    saved.write_bytes(httpx.get(f"{long}/sessions/fifty", params={"file": "html"}).content)
    page = open_page()
    page.goto(saved.as_uri())
    page.emulate_media(media="print")
    expect(page.locator("#turn-50 details.did").last.get_by_text("gpt-4o").first).to_be_visible()
    page.emulate_media(media="screen")
    assert violations(page) == []


def test_axe_can_find_something(open_page: Open, long: str) -> None:
    """An image without words, a link without a name, and pale text."""
    page = open_page()
    page.goto(f"{long}/help")
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend',"
        "'<img src=/static/icon.svg><a href=/></a><p id=pale>pale</p>');"
        "document.getElementById('pale').style.color = '#bbb'"
    )
    found = {one.split(" ")[2] for one in violations(page)}
    assert {"image-alt:", "link-name:", "color-contrast:"} <= found


def focused(page: Page) -> str:
    """Return the beginning of what has the focus, with its place among all elements."""
    found: str = page.evaluate(
        "[...document.querySelectorAll('*')].indexOf(document.activeElement)"
        " + ' ' + document.activeElement.outerHTML.slice(0, 120)"
    )
    return found


def stops(page: Page) -> list[str]:
    """Press Tab until the focus leaves the page or comes back to its beginning."""
    found: list[str] = []
    while len(found) < 500:
        page.keyboard.press("Tab")
        now = focused(page)
        if " <body" in now or now in found:
            return found
        found.append(now)
    return found


def test_a_session_of_fifty_turns_has_less_than_sixty_stops(open_page: Open, long: str) -> None:
    """All of the page: the bar, what is in one turn, and what follows the turns."""
    page = open_page()
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    expect(page.locator(".turn[data-row]")).to_have_count(50)
    found = stops(page)
    assert "Skip to content" in found[0]
    assert "Copy the session id" in found[-1]
    assert len(found) < MOST_STOPS


def test_the_keys_reach_what_is_in_each_turn(open_page: Open, long: str) -> None:
    """The arrows move to its number, and Tab from there into it and out of it."""
    page = open_page()
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    page.keyboard.press("j")
    for key in ("ArrowDown", "ArrowDown", "j", "ArrowUp"):
        page.keyboard.press(key)
    turn = page.locator("#turn-3")
    expect(turn.locator("a.no").first).to_be_focused()
    within = 0
    while page.evaluate("Boolean(document.activeElement.closest('#turn-3'))"):
        within += 1
        page.keyboard.press("Tab")
    each = "a:visible, button:visible, summary:visible, .scroll:visible"
    assert within == turn.locator(each).count()
    assert page.evaluate("document.activeElement.closest('.turn')") is None
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('#turn-3'))")


def test_a_turn_that_was_clicked_is_the_current_one(open_page: Open, long: str) -> None:
    """As is the one that an address names."""
    page = open_page()
    page.goto(f"{long}/sessions/fifty#turn-7")
    current = page.locator(".turn[data-row]:has(> .rail > a[tabindex='0'])")
    expect(current).to_have_id("turn-7")
    page.locator("#turn-9 summary").first.click()
    expect(current).to_have_id("turn-9")


def test_the_numbers_of_a_chart_lead_where_its_columns_do(open_page: Open, long: str) -> None:
    """With keys; the turn that they lead to is the current one."""
    page = open_page()
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    page.locator(".numbers summary").focus()
    page.keyboard.press("Enter")
    press_until(page, "Tab", "12")
    page.keyboard.press("Enter")
    expect(page.locator("#turn-12")).to_be_in_viewport()
    expect(page.locator("#turn-12 a.no").first).to_have_attribute("tabindex", "0")


def test_every_landmark_and_heading_is_there_once_and_in_order(open_page: Open, long: str) -> None:
    """One banner, main part and title; the messages of fifty turns are no landmarks."""
    page = open_page()
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    for role in ("banner", "main", "complementary"):
        expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type] # roles
    expect(page.get_by_role("region")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.locator("[role=img] a")).to_have_count(0)


def press_until(page: Page, key: str, text: str) -> None:
    """Press a key until what has the focus has these words."""
    for _ in range(100):
        page.keyboard.press(key)
        if page.evaluate(
            "text => (document.activeElement.getAttribute('aria-label')"
            " ?? document.activeElement.textContent).trim().startsWith(text)",
            text,
        ):
            return
    raise AssertionError(f"{key} never reaches {text!r}")


def test_the_main_tasks_need_no_mouse(open_page: Open, long: str) -> None:
    """Filter the list, open a session, unfold a turn, copy, download, open the trace, go back."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(long)
    page.keyboard.press("/")
    page.keyboard.type("question")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{long}/?search=question")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{long}/sessions/fifty")
    ready(page)
    press_until(page, "Tab", "JSON lines")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) >= 50
    assert all(json.loads(line) for line in lines)
    page.keyboard.press("j")
    press_until(page, "Tab", "Show all")
    page.keyboard.press("Enter")
    expect(page.locator("#turn-1 details.fold").first).to_have_attribute("open", "")
    page.keyboard.press("Enter")
    expect(page.locator("#turn-1 details.fold").first).not_to_have_attribute("open", "")
    press_until(page, "Tab", "Copy the code")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == "print('an answer')\n"
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Trace")).to_be_visible()
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("u")
    expect(page).to_have_url(f"{long}/sessions/fifty")


def test_a_session_is_printed_whole(open_page: Open, long: str) -> None:
    """Light, without what only a screen can use, and with all that is folded."""
    page = open_page(color_scheme="dark", viewport={"width": 680, "height": 1000})
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    words = page.locator("#turn-50 details.fold > .rendered").first
    records = page.locator("#turn-50 details.did").last.get_by_text("gpt-4o").first
    within = page.locator("#turn-50 details.inner .agent").first
    for one in (words, records, within):
        expect(one).to_be_hidden()
    page.emulate_media(media="print")
    for one in (words, records, within):
        expect(one).to_be_visible()
    for name in (".top", "button.copy", ".fold > summary", ".on-screen", ".head"):
        expect(page.locator(f"{name}:visible")).to_have_count(0)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
    assert page.locator(".scroll").evaluate_all(cut) == 0


@pytest.mark.parametrize("path", ["/", "/runs", "/users", "/sessions/fifty", "/users/ada"])
def test_a_phone_moves_tables_and_not_the_page(open_page: Open, long: str, path: str) -> None:
    """The first column of a list stays in view: it says whose figures go by."""
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(long + path)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if not page.locator(".list").count():
        return
    table = page.locator(".scroll:has(.list)").first
    table.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
    last = table.locator("thead th").last
    expect(last).to_be_in_viewport()
    expect(table.locator("tbody .open").first).to_be_in_viewport()
    assert table.evaluate("e => e.scrollLeft > 0")


def test_nothing_moves_for_who_asked_for_that(open_page: Open, served: str, db_path: Path) -> None:
    """The mark of a running run turns only for others."""
    with recorded(db_path) as to:
        to.run("s", seconds=None, inputs={"message": "still running"})
    page = open_page()
    page.goto(served)
    moves = "getComputedStyle(document.querySelector('.state.running circle')).animationName"
    expect(page.locator(".state.running").first).to_be_visible()
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moves) == "turn"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moves) == "none"


def test_forced_colors_take_nothing_away(open_page: Open, long: str) -> None:
    """Bars stand out from the ground, and the current page and turn are framed."""
    page = open_page(forced_colors="active", color_scheme="dark")
    page.goto(f"{long}/sessions/fifty")
    ready(page)
    page.keyboard.press("j")

    def style(of: str, name: str) -> str:
        found: str = page.evaluate(
            "([of, name]) => getComputedStyle(document.querySelector(of))[name]", [of, name]
        )
        return found

    ground = style("body", "backgroundColor")
    for of in (".plot .p1", ".legend .p1", "#where .meter .p1"):
        assert style(of, "fill") != ground, of
    assert style(".turn.at", "outlineStyle") == "solid"
    assert style(".top nav a[aria-current]", "borderBottomStyle") == "solid"
