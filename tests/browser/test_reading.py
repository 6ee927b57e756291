"""Reading the dashboard in a browser: every page, keys, folds, filters, themes, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.hostile import PAYLOADS, record_hostile
from tests.browser.hostile import session_id as hostile_session
from tests.browser.serving import serving
from tests.browser.unusual import LONG_ID, record_unusual
from tests.tools.builders import recording, run_id
from tests.tools.examples import some
from tests.tools.readable import why_unreadable
from waxlocal.cli.demo_conversations import MAIN_SESSION
from waxlocal.cli.demo_recording import record_demo
from waxlocal.cli.large_demo import record_large
from waxlocal.cli.scenarios.unusual import EXPENSIVE, FAILED_SUB_AGENT, HOSTILE, LONG
from waxlocal.queries import get_session, get_turns, list_sessions
from waxlocal.storage.connection import reader
from waxlocal.web.pages.addresses import session_url

PAGES = (
    "/",
    "/runs",
    "/search?q=the",
    "/users",
    "/errors",
    "/analytics",
    "/models",
    "/sync",
    "/help",
)
SIZES = ((1440, 900), (768, 1024), (390, 844))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Serve the demonstration; yields the address, and the id of a run of its main session."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    record_demo(path)
    with reader(path) as connection:
        run = get_session(connection, MAIN_SESSION).runs[1].run_id
    with serving(path) as address:
        yield address, run


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a small set of realistic sessions; yields the address and the file."""
    path = tmp_path_factory.mktemp("large") / "demo-large.db"
    record_large(path, 80)
    with serving(path) as address:
        yield address, path


def counted(page: Page) -> None:
    """Wait until nothing is being counted in the background any more."""
    expect(page.locator(".waiting")).to_have_count(0)


def widest(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


def test_every_page_leads_to_the_others(open_page: Open, demo: tuple[str, str]) -> None:
    """From the list to a session, to a run, back up; and along the bar at the top."""
    address, _ = demo
    page = open_page()
    page.goto(address)
    expect(page).to_have_title("Sessions · waxlocal")
    page.get_by_role("link", name="Renew my loans").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Renew my loans, please.")
    page.locator("a.no", has_text="2").click()
    expect(page.get_by_text("CatalogueTimeout").first).to_be_visible()
    page.get_by_role("link", name="Previous turn").click()
    expect(page.get_by_text("All four are yours")).to_be_visible()
    for name in ("Users", "Errors", "Analytics", "Models", "Sync", "Sessions"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.locator("nav [aria-current=page]")).to_have_text(name)


def test_a_header_sorts(open_page: Open, demo: tuple[str, str]) -> None:
    """By a click, and back by another."""
    page = open_page()
    page.goto(demo[0])
    first = page.locator("tbody .open").first
    page.get_by_role("columnheader", name="Cost").get_by_role("link").click()
    expect(first).to_contain_text("1927 flood")
    expect(page.locator("[aria-sort=descending]")).to_have_text("Cost")
    page.get_by_role("columnheader", name="Cost").get_by_role("link").click()
    expect(page.locator("[aria-sort=ascending]")).to_have_text("Cost")
    expect(first).not_to_contain_text("1927 flood")


def test_a_choice_filters_at_once_and_words_with_enter(
    open_page: Open, demo: tuple[str, str]
) -> None:
    """The address holds the filter, and nothing that is empty."""
    page = open_page()
    page.goto(demo[0])
    page.get_by_label("Status").select_option("error")
    expect(page.locator("tbody .open")).to_have_text(["Renew my loans, please."])
    assert page.url == f"{demo[0]}/?status=error"
    page.get_by_role("link", name="Remove filter status").click()
    page.get_by_label("Search").fill("dragon")
    page.keyboard.press("Enter")
    expect(page.locator("tbody .open")).to_have_count(1)
    assert page.url == f"{demo[0]}/?search=dragon"
    page.go_back()
    expect(page.get_by_label("Search")).to_have_value("")
    page.get_by_label("User").fill("bob")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody .open")).to_have_count(2)


def test_keys_move_open_and_lead_back(open_page: Open, demo: tuple[str, str]) -> None:
    """`j`, `k`, Enter, `u`; in a field they are letters."""
    page = open_page()
    page.goto(demo[0])
    rows = page.locator("tbody tr")
    page.keyboard.press("j")
    expect(rows.nth(0).locator("a.open")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(rows.nth(1).locator("a.open")).to_be_focused()
    expect(page.locator("tr.at")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("dragon books")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Trace")).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_contain_text("dragon books")
    page.keyboard.press("u")
    expect(page).to_have_title("Sessions · waxlocal")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("jku?")
    expect(page.get_by_label("Search")).to_have_value("jku?")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Search")).not_to_be_focused()


def test_search_can_be_reached_from_every_page(open_page: Open, demo: tuple[str, str]) -> None:
    """The slash leads to the list and into its field."""
    page = open_page()
    page.goto(f"{demo[0]}/sync")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()


def test_the_question_mark_shows_the_keys(open_page: Open, demo: tuple[str, str]) -> None:
    """And hides them again; so do Escape and the button."""
    page = open_page()
    page.goto(f"{demo[0]}/models")
    dialog = page.get_by_role("dialog")
    for close in ("?", "Escape"):
        page.keyboard.press("?")
        expect(dialog).to_be_visible()
        page.keyboard.press(close)
        expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Help").click()
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_the_first_tab_skips_to_the_content(open_page: Open, demo: tuple[str, str]) -> None:
    """Visibly."""
    page = open_page()
    page.goto(demo[0])
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_what_has_the_focus_can_be_seen(open_page: Open, demo: tuple[str, str]) -> None:
    """Each link and field in turn is outlined."""
    page = open_page()
    page.goto(demo[0])
    for _ in range(20):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "2px", page.evaluate("document.activeElement.outerHTML")


def test_a_fold_opens_and_closes(open_page: Open, served: str, db_path: Path) -> None:
    """All of a long message, and its beginning again."""
    record_unusual(db_path)
    page = open_page()
    page.goto(f"{served}/sessions/{LONG_ID}")
    fold = page.locator("details.fold").first
    whole = fold.get_by_text("the-end-ok")
    expect(whole).to_be_hidden()
    fold.get_by_text("Show all 20,000 characters").click()
    expect(whole).to_be_visible()
    fold.get_by_text("Fold", exact=True).click()
    expect(whole).to_be_hidden()


def test_the_theme_is_the_systems_until_one_is_chosen(
    open_page: Open, demo: tuple[str, str]
) -> None:
    """The choice is there before the first paint of the next page."""
    page = open_page(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    page.goto(demo[0])
    dark = page.evaluate(ground)
    assert dark == "rgb(16, 21, 20)"
    button = page.locator("#theme")
    expect(button).to_have_attribute("aria-label", "Theme: system")
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: light")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.goto(f"{demo[0]}/models", wait_until="commit")
    page.locator("body").wait_for(state="attached")  # of a page that goes on loading
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.emulate_media(color_scheme="light")
    page.wait_for_load_state()
    page.locator("#theme").click()
    assert page.evaluate(ground) == dark
    page.locator("#theme").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_times_are_those_of_the_viewer(open_page: Open, served: str, db_path: Path) -> None:
    """In the title and, where a page shows a moment, in its text."""
    record_unusual(db_path)
    page = open_page(timezone_id="Asia/Tokyo")
    page.goto(f"{served}/runs/{run_id(1)}")
    expect(page.locator("time[data-moment]").first).to_have_text("2026-01-31 18:30:00 GMT+9")
    page.goto(f"{served}/sessions/{LONG_ID}")
    expect(page.locator("time[data-clock]").first).to_have_text("18:30:00")
    expect(page.locator(".day").first).to_have_text("2026-01-31")


def test_the_day_changes_where_it_does_for_the_viewer(
    open_page: Open, served: str, tmp_path: Path
) -> None:
    """At midnight in their zone, which is another turn than at midnight UTC."""
    with recording(tmp_path) as (make, _conn):
        for hours in (0, 5, 6, 15):
            make.run("s", at=3_600 * hours)
    page = open_page(timezone_id="Asia/Tokyo")
    page.goto(f"{served}/sessions/s")
    times = ["18:30:00", "23:30:00", "00:30:00", "09:30:00"]
    expect(page.locator("time[data-clock]")).to_have_text(times)
    expect(page.locator(".day:visible")).to_have_text(["2026-01-31", "2026-02-01"])
    expect(page.locator("#turn-3 .day")).to_be_visible()


def test_the_day_changes_in_lists_where_it_does_for_the_viewer(
    open_page: Open, served: str, tmp_path: Path
) -> None:
    """Above the first row of each day, where the rows are in the order of their times."""
    with recording(tmp_path) as (make, _conn):
        for hours in (0, 5, 6, 15):
            make.run(f"s{hours}", at=3_600 * hours)
    page = open_page(timezone_id="Asia/Tokyo")
    for path in ("/", "/runs"):
        page.goto(served + path)
        expect(page.locator("tbody td[data-day]")).to_have_count(2)
        told = "all => all.map((e) => e.cells[0].dataset.day ?? '')"
        days = page.locator("tbody tr").evaluate_all(told)
        assert days == ["2026-02-01", "", "2026-01-31", ""]
        shown = "e => getComputedStyle(e, '::before').content"
        assert page.locator("tbody td[data-day]").first.evaluate(shown) == '"2026-02-01"'
    page.goto(f"{served}/?ordering=-total_cost")
    expect(page.locator("tbody td[data-day]")).to_have_count(0)


def test_the_address_of_a_turn_leads_to_it(open_page: Open, large: tuple[str, Path]) -> None:
    """Also in another part of the conversation than the first."""
    address, path = large
    with reader(path) as connection:
        said = get_turns(connection, LONG, offset=52, limit=1).runs[0].message
    page = open_page()
    page.goto(f"{address}/sessions/{LONG}#turn-53")
    expect(page.locator("#turn-53")).to_be_in_viewport()
    expect(page.locator("#turn-53 .person").first).to_contain_text(said)
    page.goto(f"{address}/sessions/{LONG}#turn-999")
    expect(page.locator(".turn").first).to_be_visible()


def test_a_newcomer_finds_what_they_ask_for(open_page: Open, large: tuple[str, Path]) -> None:
    """The most expensive session and why; a phrase; a user's story; which sub-agent failed."""
    page = open_page()
    page.goto(f"{large[0]}/?since=7d")
    page.get_by_role("columnheader", name="Cost").get_by_role("link").click()
    page.locator("tbody .open").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Why does the nightly import")
    expect(page.get_by_text("Large first context").first).to_be_visible()
    page.goto(f"{large[0]}/search?q=%22refund+within+14+days%22+user:user-42")
    expect(page.locator("mark").first).to_have_text("refund within 14 days")
    page.goto(f"{large[0]}/users/user-42")
    page.get_by_role("link", name="Third try: where are my 79.90 euros").click()
    expect(page.get_by_text("Then let me talk to a human, please.")).to_be_visible()
    page.goto(f"{large[0]}/sessions/{FAILED_SUB_AGENT}")
    expect(page.get_by_text("1 failed: hotel-finder").first).to_be_visible()


# The words of a message as they are on the page, without code, names and buttons.
_WORDS = """sections => sections.map(section => {
  const alone = section.cloneNode(true);
  alone.querySelectorAll("h2, pre, code, button, summary").forEach(part => part.remove());
  return alone.textContent.trim();
})"""


def test_what_pages_show_as_words_are_words(open_page: Open, large: tuple[str, Path]) -> None:
    """On the page of each session, whatever shape its program recorded: no id, JSON or base64."""
    address, path = large
    with reader(path) as connection:
        sessions = [one.session_id for one in list_sessions(connection, limit=1_000)]
    page = open_page()
    read = 0
    for session_id in some(sessions):
        page.goto(address + session_url(session_id), wait_until="commit")
        page.locator("footer, main").last.wait_for(state="attached")
        texts = page.locator(".turn .person, .turn .agent").evaluate_all(_WORDS)
        wrong = [(why, text) for text in texts if text and (why := why_unreadable(text))]
        assert wrong == [], session_id
        read += len(texts)
    assert read > 2 * len(some(sessions))


def test_realistic_pages_are_no_wider_than_the_screen(
    open_page: Open, large: tuple[str, Path]
) -> None:
    """A log of 100 kB, 120 turns, hostile text, tables and images in messages."""
    address, path = large
    with reader(path) as connection:
        runs = [get_session(connection, one).runs[0].run_id for one in (HOSTILE, EXPENSIVE)]
    paths = [*(f"/sessions/{one}" for one in (EXPENSIVE, LONG, HOSTILE, FAILED_SUB_AGENT))]
    page = open_page()
    for where in (*PAGES, *paths, *(f"/runs/{run}" for run in runs), "/users/user-42"):
        page.goto(address + where)
        assert too_wide(page) == [], where


def test_a_saved_conversation_opens_from_a_disk(
    open_page: Open, demo: tuple[str, str], tmp_path: Path
) -> None:
    """Without server and script: what was said, unfolded where one asks for it."""
    page = open_page()
    page.goto(f"{demo[0]}/sessions/{MAIN_SESSION}")
    with page.expect_download() as started:
        page.get_by_role("link", name="HTML").click()
    kept = tmp_path / started.value.suggested_filename
    started.value.save_as(kept)
    alone = open_page(java_script_enabled=False, offline=True)
    alone.goto(kept.as_uri())
    expect(alone.get_by_role("heading", level=1)).to_have_text(
        "Which of your branches is open on a Sunday?"
    )
    expect(alone.get_by_text("Harbour is, from 11:00 to 17:00.")).to_be_visible()
    records = alone.locator("details.did").first
    records.locator("summary").click()
    expect(records.locator("table")).to_be_visible()
    assert not too_wide(alone)


def test_an_id_can_be_copied(open_page: Open, demo: tuple[str, str]) -> None:
    """And the button says that it was."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{demo[0]}/sessions/{MAIN_SESSION}")
    button = page.get_by_role("button", name="Copy the session id")
    button.click()
    expect(button).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == MAIN_SESSION


def test_the_first_lines_can_be_copied(open_page: Open, served: str) -> None:
    """From the page of an empty file, as they stand there."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(served)
    page.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("from waxlocal import")


def test_everything_works_without_a_script(open_page: Open, demo: tuple[str, str]) -> None:
    """Sorting, filtering, folding, and the way through the pages."""
    page = open_page(java_script_enabled=False)
    page.goto(demo[0])
    page.get_by_role("columnheader", name="Tokens").get_by_role("link").click()
    expect(page.locator("tbody .open").first).to_contain_text("1927 flood")
    page.get_by_label("Status").select_option("error")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody .open")).to_have_text(["Renew my loans, please."])
    page.locator("tbody .open").click()
    records = page.locator("details.did").first
    expect(records.get_by_text("renew")).to_be_hidden()
    records.locator("summary").click()
    expect(records.get_by_text("renew")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.goto(f"{demo[0]}/analytics")
    expect(page.get_by_text("Turns per session")).to_be_visible()
    page.get_by_role("link", name="Help").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Help")


def too_wide(page: Page) -> list[int]:
    """Return the widths in which the page is wider than the screen.

    Loaded once and resized: what a page is like does not depend on how it came to its size.
    """
    counted(page)
    found = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        if widest(page) > width:
            found.append(width)
    return found


def test_no_page_is_wider_than_the_screen(open_page: Open, demo: tuple[str, str]) -> None:
    """Tables scroll inside themselves, in either theme."""
    address, run = demo
    page = open_page()
    for path in (*PAGES, f"/sessions/{MAIN_SESSION}", f"/runs/{run}", "/?user_id=nobody"):
        page.goto(address + path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert too_wide(page) == [], (path, scheme)


@pytest.mark.parametrize("kind", ["unusual", "hostile", "empty"])
def test_no_content_makes_a_page_wider(
    open_page: Open, served: str, db_path: Path, kind: str
) -> None:
    """Not an id of 200 characters, a message of 20,000, right-to-left text, pictures, markup."""
    paths = list(PAGES)
    if kind == "unusual":
        record_unusual(db_path)
        paths += [f"/sessions/{LONG_ID}", *(f"/runs/{run_id(n)}" for n in (1, 31, 32, 33, 35))]
        paths += [f"/?user_id=user-{'z' * 120}"]
    elif kind == "hostile":
        ids = record_hostile(db_path)
        paths += [session_url(hostile_session(n, PAYLOADS[n - 1])) for n in (2, 37)]
        paths += [f"/runs/{ids[1]}", f"/runs/{ids[36]}"]
    page = open_page()
    for path in paths:
        page.goto(served + path)
        assert too_wide(page) == [], path


def test_a_wide_table_scrolls_inside_itself(open_page: Open, demo: tuple[str, str]) -> None:
    """With the keys, too, since it can have the focus."""
    page = open_page(viewport={"width": 390, "height": 844})
    page.goto(demo[0])
    table = page.get_by_role("region", name="Sessions")
    assert table.evaluate("e => e.scrollWidth > e.clientWidth")
    table.focus()
    last = page.get_by_role("columnheader", name="Last activity")
    expect(last).not_to_be_in_viewport()
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    expect(last).to_be_in_viewport()


def test_a_figure_in_the_list_is_whole_with_its_note(
    open_page: Open, served: str, tmp_path: Path
) -> None:
    """However little room there is: what is cut from "975,000 50% metered" changes what it says."""
    with recording(tmp_path) as (make, _):
        run = make.run()
        make.llm(run, 900_000, 75_000, cost=1234.5)
        make.llm(run, 0, 0, usage_known=0)
        make.llm(run, 9_000, 0)
    page = open_page(viewport={"width": 768, "height": 1024})
    page.goto(served)
    counted(page)
    figures = page.locator(".sessions tbody td.num")
    expect(figures.filter(has_text="metered")).to_have_text("984,000 67% metered")
    cut = figures.evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    )
    assert cut == []


def test_the_side_stays_in_view(open_page: Open, large: tuple[str, Path]) -> None:
    """While a long conversation goes by."""
    page = open_page()
    page.goto(f"{large[0]}/sessions/{LONG}")
    counted(page)
    page.locator("#turn-25").scroll_into_view_if_needed()
    expect(page.get_by_role("heading", name="Totals")).to_be_in_viewport()


def test_a_column_of_the_chart_leads_to_its_turn(open_page: Open, large: tuple[str, Path]) -> None:
    """In a conversation too long for a table; it has those of the page."""
    page = open_page()
    page.goto(f"{large[0]}/sessions/{LONG}")
    counted(page)
    page.locator("svg.plot a").last.click()
    expect(page.locator("#turn-50")).to_be_in_viewport()


def test_parked_runs_are_tried_again_by_a_button(
    open_page: Open, served: str, db_path: Path
) -> None:
    """The form passes the server's own checks, and the page says what was done."""
    record_hostile(db_path)
    page = open_page()
    page.goto(f"{served}/sync")
    page.get_by_role("button", name="Retry", exact=True).first.click()
    expect(page.locator(".done")).to_contain_text("1 run pending again")
    page.get_by_role("button", name="Retry all").click()
    expect(page.locator(".done")).to_contain_text("39 runs pending again")
    expect(page.get_by_role("heading", name="Parked")).to_have_count(0)
