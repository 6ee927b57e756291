"""Recorded content never runs, whatever it is and wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import HAS_STREAM, Open, is_refresh, pass_time
from tests.browser.hostile import PAYLOADS, SENTINEL, record_hostile, session_id
from tests.browser.serving import serving
from tests.tools.cli import recorded
from waxlocal.web.pages.addresses import session_url

# What no page of ours has, and what a payload would bring.
FOREIGN = (
    "iframe, object, embed, img, video, audio, base, math, style, script:not([src^='/static/'])"
)

# Everything that a person could do to set off a handler.
PROVOKE = """() => {
  for (const one of document.querySelectorAll("*")) {
    for (const name of ["mouseover", "mouseenter", "focus", "error", "load", "toggle", "begin"])
      one.dispatchEvent(new Event(name));
    if (one.tagName === "DETAILS") one.open = true;
    if (one.matches("input, button, a")) one.focus?.();
  }
}"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """Serve a recording that has the payloads in every field; yields the address and its runs."""
    path = tmp_path_factory.mktemp("hostile") / "waxlocal.db"
    ids = record_hostile(path)
    with serving(path, streams=0) as address:
        yield address, ids


def check(page: Page) -> None:
    """Provoke the page, and look for what must not be there."""
    expect(page.locator(".waiting")).to_have_count(0)
    page.evaluate(PROVOKE)
    assert page.evaluate(f"typeof window.{SENTINEL}") == "undefined", page.url
    assert page.locator(FOREIGN).count() == 0, page.url
    assert len(page.frames) == 1
    handlers = """() => [...document.querySelectorAll("*")].flatMap(e => [...e.attributes])
      .filter(a => a.name.startsWith("on") || a.name === "style"
        || ["href", "src", "action", "formaction"].includes(a.name)
        && /^\\s*javascript:/i.test(a.value)).length"""
    assert page.evaluate(handlers) == 0, page.url


# A tab for so many payloads: to open one takes as long as to show two of them.
_IN_A_TAB = 8


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), _IN_A_TAB))
def test_a_payload_does_not_run_in_its_session_and_run(
    open_page: Open, hostile: tuple[str, list[str]], first: int
) -> None:
    """No dialog, no global, no element, no request: also when everything is opened and touched."""
    address, ids = hostile
    page = open_page()
    for number, payload in list(enumerate(PAYLOADS))[first : first + _IN_A_TAB]:
        for path in (session_url(session_id(number + 1, payload)), f"/runs/{ids[number]}"):
            page.goto(address + path)
            check(page)


@pytest.mark.parametrize(
    "path", ["/?limit=200", "/runs", "/analytics", "/models", "/sync", "/?ordering=total_cost"]
)
def test_no_payload_runs_where_many_are_listed(
    open_page: Open, hostile: tuple[str, list[str]], path: str
) -> None:
    """Lists, statistics, commands, reasons of the upload."""
    page = open_page()
    page.goto(hostile[0] + path)
    check(page)


FIELDS = ("Search", "User", "Agent")


# All fields at once: each has its own chip and its own part of the links.
@pytest.mark.parametrize("fields", [*((field,) for field in FIELDS), FIELDS], ids="-".join)
def test_no_payload_runs_as_a_filter(
    open_page: Open, hostile: tuple[str, list[str]], fields: tuple[str, ...]
) -> None:
    """Typed into the form, in the title, in the chips, in the links that sort."""
    page = open_page()
    for payload in PAYLOADS[::6] if fields == FIELDS else PAYLOADS[:1]:
        page.goto(hostile[0])
        for field in fields:
            page.get_by_label(field).fill(payload)
        page.keyboard.press("Enter")
        expect(page.locator(".chips li:not(.bare)")).to_have_count(len(fields))
        check(page)


def test_no_payload_runs_when_it_comes_by_a_stream(open_page: Open, tmp_path: Path) -> None:
    """As a new turn of the conversation that is open, in every field."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as to, serving(path) as address:
        to.run("talk")
        page = open_page()
        page.goto(f"{address}/sessions/talk")
        page.wait_for_function(HAS_STREAM)
        for number, payload in enumerate(PAYLOADS, 1):
            run = to.run("talk", at=number, agent=payload, inputs={"message": payload})
            to.step(run, payload)
        expect(page.locator(f"#turn-{len(PAYLOADS) + 1}")).to_be_attached()
        check(page)
        open_page.close()


def test_no_payload_runs_when_it_comes_by_a_refresh(
    open_page: Open, hostile: tuple[str, list[str]]
) -> None:
    """The script takes over elements, never markup that is run."""
    address, ids = hostile
    page = open_page()
    page.clock.install()
    for path in ("/?limit=200", f"/runs/{ids[0]}", "/sync"):
        page.goto(address + path)
        # As if everything had changed since.
        page.evaluate("for (const e of document.querySelectorAll('td, dd, .text')) e.remove()")
        pass_time(page, 20_000, "response", is_refresh)
        check(page)
