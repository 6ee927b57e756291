"""The trace of a run in a browser: rows are selected in place, by mouse and by keys."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Open
from tests.tools.builders import Builder


def record(to: Builder, *, seconds: float | None = 20.0) -> str:
    """Record a run of a tool, a sub-agent with a call, and many more tools."""
    process = to.process(alive=True)
    run = to.run("s", seconds=seconds, agent="desk", inputs="Why?", process=process)
    to.span(run, "tool", at=0, seconds=2.0, name="look", input={"to": "Oslo"}, output="*three*")
    child = to.run("s", at=2, seconds=3.0, parent=run, agent="finder", inputs="Find it.")
    to.llm(child, at=4, duration_ms=1_000, messages=[{"role": "user", "content": "Find **it**."}],
           response="Found.")  # fmt: skip
    for number in range(40):
        to.span(run, "tool", at=5 + number / 10, seconds=0.1, name=f"more-{number}")
    return run


def opened(open_page: Open, address: str) -> Page:
    """Open an address in a tab."""
    page = open_page()
    page.goto(address)
    return page


def row(page: Page, name: str) -> Locator:
    """Return the link of a row of the trace."""
    return page.locator(".trace a.open", has_text=name)


def pane(page: Page) -> Locator:
    """Return what stands beside the trace."""
    return page.locator("#pane")


def test_a_selected_row_is_shown_without_leaving_the_place(
    open_page: Open, to: Builder, served: str
) -> None:
    """What was said beside it, its address above; the page is not loaded again, nor moved."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    page.evaluate("window.sameDocument = true")
    expect(pane(page)).to_contain_text("Why?")
    row(page, "more-30").click()
    at = page.evaluate("scrollY")
    assert at > 0
    expect(pane(page).get_by_role("heading", level=2)).to_contain_text("more-30")
    assert page.evaluate("scrollY") == at
    row(page, "gpt-4o").click()
    expect(pane(page).locator("strong")).to_have_text("it")
    expect(row(page, "gpt-4o")).to_have_attribute("aria-current", "true")
    expect(page.locator(".trace [aria-current]")).to_have_count(1)
    assert "row=" in page.url
    assert page.evaluate("window.sameDocument")
    page.reload()
    expect(pane(page).locator("strong")).to_have_text("it")


def test_the_way_to_show_values_stays_for_the_next_row(
    open_page: Open, to: Builder, served: str
) -> None:
    """As text, until another way is chosen; that may be before the row has come."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    row(page, "gpt-4o").click()
    pane(page).get_by_role("link", name="Text").click()
    expect(pane(page)).to_contain_text("Find **it**.")
    row(page, "look").click()
    expect(pane(page)).to_contain_text("*three*")
    pane(page).get_by_role("link", name="JSON").click()
    row(page, "desk").click()
    expect(pane(page).locator("pre").first).to_have_text("Why?")
    pane(page).get_by_role("link", name="Rendered").click()
    row(page, "look").click()
    expect(pane(page).locator("em")).to_have_text("three")


def test_keys_go_through_the_rows_and_tab_goes_on(
    open_page: Open, to: Builder, served: str
) -> None:
    """One stop for the tab key in all of the trace: the selected row."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    for key in ("j", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    expect(row(page, "look")).to_be_focused()
    page.keyboard.press("Enter")
    expect(pane(page).get_by_role("heading", level=2)).to_contain_text("look")
    expect(page.locator('.trace a.open[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Tab")
    expect(pane(page)).to_be_focused()


def test_keys_go_on_from_the_row_that_was_clicked(
    open_page: Open, to: Builder, served: str
) -> None:
    """Not from the one that they had reached before."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    for key in "jjj":
        page.keyboard.press(key)
    row(page, "more-20").click()
    page.keyboard.press("j")
    expect(row(page, "more-21")).to_be_focused()


def test_a_row_that_was_sent_is_in_view_and_keys_go_on_from_it(
    open_page: Open, to: Builder, served: str
) -> None:
    """However far down it is."""
    run = record(to)
    page = open_page(viewport={"width": 1300, "height": 500})
    page.goto(f"{served}/runs/{run}?row={run}.40")
    expect(row(page, "more-38")).to_be_in_viewport()
    expect(pane(page).get_by_role("heading", level=2)).to_be_in_viewport()
    page.keyboard.press("j")
    expect(row(page, "more-39")).to_be_focused()


def test_back_leads_to_the_row_before(open_page: Open, to: Builder, served: str) -> None:
    """And forward to the next, in the same page; on a phone a link leads up to the trace."""
    run = record(to)
    page = open_page(viewport={"width": 390, "height": 844})
    page.goto(f"{served}/runs/{run}")
    page.evaluate("window.sameDocument = true")
    heading = pane(page).get_by_role("heading", level=2)
    for name in ("look", "gpt-4o"):
        row(page, name).click()
        expect(heading).to_contain_text(name)
    page.get_by_role("link", name="↑ Trace").click()
    expect(page.get_by_role("heading", name="Trace")).to_be_in_viewport()
    expect(heading).to_contain_text("gpt-4o")
    for name in ("gpt-4o", "look"):
        page.go_back()
        expect(heading).to_contain_text(name)
    expect(row(page, "look")).to_have_attribute("aria-current", "true")
    page.go_forward()
    expect(heading).to_contain_text("gpt-4o")
    assert page.evaluate("window.sameDocument")


def test_what_is_read_below_a_growing_trace_stays_where_it_is(
    open_page: Open, to: Builder, served: str
) -> None:
    """On a phone, where the trace is above it."""
    run = record(to, seconds=None)
    page = open_page(viewport={"width": 390, "height": 800})
    page.goto(f"{served}/runs/{run}")
    row(page, "look").click()
    heading = pane(page).get_by_role("heading", level=2)
    expect(heading).to_contain_text("look")
    expect(heading).to_be_in_viewport()
    place = "document.getElementById('pane').getBoundingClientRect().top"
    before = page.evaluate(place)
    for number in range(3):
        to.span(run, "tool", at=15 + number, seconds=0.1, name=f"late-{number}")
        expect(row(page, f"late-{number}")).to_have_count(1)
        assert abs(page.evaluate(place) - before) < 2


def test_the_focus_stays_on_the_way_that_was_chosen(
    open_page: Open, to: Builder, served: str
) -> None:
    """So that the tab key goes on from there."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    pane(page).get_by_role("link", name="Text").focus()
    page.keyboard.press("Enter")
    expect(pane(page).get_by_role("link", name="Text")).to_have_attribute("aria-current", "true")
    expect(pane(page).get_by_role("link", name="Text")).to_be_focused()
    expect(page.locator("#said")).to_have_text("Selected: desk run")


@pytest.mark.parametrize("status", [404, 500])
def test_a_row_that_does_not_come_at_first_is_asked_for_again(
    open_page: Open, to: Builder, served: str, status: int
) -> None:
    """With its page; where there is no such run any more, the page says so."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    page.route("**/*part=pane*", lambda route: route.fulfill(status=status))
    row(page, "look").click()
    if status == 404:
        expect(page.locator("#main > .problem")).to_contain_text("This was deleted.")
    else:
        expect(pane(page).get_by_role("heading", level=2)).to_contain_text("look")
    open_page.wrong.clear()  # the browser notes the status


def test_an_answer_that_comes_late_changes_nothing(
    open_page: Open, to: Builder, served: str
) -> None:
    """Neither if it is one, nor if it failed: the row that was selected last is shown."""
    run = record(to)
    page = opened(open_page, f"{served}/runs/{run}")
    held: list[Route] = []
    page.route(f"**/*row={run}.1&*part=pane*", lambda route: held.append(route))
    row(page, "look").click()
    row(page, "more-3").first.click()
    heading = pane(page).get_by_role("heading", level=2)
    expect(heading).to_contain_text("more-3")
    page.evaluate("window.sameDocument = true")
    held[0].fulfill(status=500)
    row(page, "more-4").first.click()
    expect(heading).to_contain_text("more-4")
    assert page.evaluate("window.sameDocument")
    open_page.wrong.clear()  # the browser notes the status


def test_what_came_for_a_row_while_it_was_read_is_not_shown_for_the_next(
    open_page: Open, to: Builder, served: str
) -> None:
    """A part that has the focus is not replaced; what came for it is forgotten with it."""
    run = record(to, seconds=None)
    page = opened(open_page, f"{served}/runs/{run}")
    pane(page).focus()
    with page.expect_response(lambda answer: "live=" in answer.url):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    to.conn.execute("UPDATE runs SET inputs = '\"And now?\"' WHERE run_id = ?", (run,))
    to.span(run, "tool", at=15, seconds=0.1, name="the-last")
    expect(row(page, "the-last")).to_be_visible()
    expect(pane(page)).to_contain_text("Why?")
    row(page, "look").click()
    heading = pane(page).get_by_role("heading", level=2)
    expect(heading).to_contain_text("look")
    to.span(run, "tool", at=16, seconds=0.1, name="after-that")
    expect(row(page, "after-that")).to_be_visible()
    expect(heading).to_contain_text("look")


def test_the_words_of_a_row_can_be_copied(open_page: Open, to: Builder, served: str) -> None:
    """Each by a button of its own, without the buttons that stand among them."""
    run = record(to)
    code = to.run("s", at=30, inputs="First\n\n```python\nprint(1)\n```\n\nLast")
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{served}/runs/{run}")
    pane(page).get_by_role("button", name="Copy the words: Message").click()
    assert page.evaluate("navigator.clipboard.readText()") == "Why?"
    row(page, "gpt-4o").click()
    pane(page).get_by_role("button", name="Copy the words: user").click()
    assert page.evaluate("navigator.clipboard.readText()") == "Find it."
    long = to.run("s", at=40, inputs="word " * 30_000)
    page.goto(f"{served}/runs/{long}")
    button = pane(page).get_by_role("button", name="Copy the words: Message")
    button.click()
    expect(button).to_have_text("Copied in part")
    page.goto(f"{served}/runs/{code}")
    pane(page).get_by_role("button", name="Copy the words: Message").click()
    assert page.evaluate("navigator.clipboard.readText()").split() == ["First", "print(1)", "Last"]


def test_a_running_trace_grows_while_a_row_is_selected(
    open_page: Open, to: Builder, served: str
) -> None:
    """The row stays selected and keeps the focus; what it shows stays, too."""
    run = record(to, seconds=None)
    page = opened(open_page, f"{served}/runs/{run}")
    row(page, "look").click()
    expect(pane(page).get_by_role("heading", level=2)).to_contain_text("look")
    to.span(run, "tool", at=15, seconds=0.1, name="the-last")
    expect(row(page, "the-last")).to_be_visible()
    expect(row(page, "look")).to_have_attribute("aria-current", "true")
    expect(row(page, "look")).to_be_focused()
    expect(pane(page).get_by_role("heading", level=2)).to_contain_text("look")


def test_on_a_phone_bars_lie_under_the_names(open_page: Open, to: Builder, served: str) -> None:
    """And a selected row brings what it shows into view."""
    run = record(to)
    page = open_page(viewport={"width": 390, "height": 844})
    page.goto(f"{served}/runs/{run}")
    name = row(page, "look").bounding_box()
    bar = page.locator(".trace li", has_text="look").locator("svg.fall").bounding_box()
    assert name
    assert bar
    assert bar["y"] >= name["y"] + name["height"]
    assert bar["width"] > 300
    row(page, "look").click()
    expect(pane(page).get_by_role("heading", level=2)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_rows_are_links_where_there_is_no_script(open_page: Open, to: Builder, served: str) -> None:
    """Each to the page with it selected."""
    run = record(to)
    page = open_page(java_script_enabled=False)
    page.goto(f"{served}/runs/{run}")
    row(page, "look").click()
    expect(pane(page)).to_contain_text("three")
    pane(page).get_by_role("link", name="Text").click()
    expect(pane(page)).to_contain_text("*three*")
    assert page.url.endswith("#pane")
