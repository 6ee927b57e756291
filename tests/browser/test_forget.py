"""Deleting in a browser: what would go is shown first, and pages that show it are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import HAS_STREAM, Open
from tests.tools.builders import Builder
from tests.tools.cli import recorded


@pytest.fixture
def to(db_path: Path) -> Iterator[Builder]:
    """Yield what records into the file while it is served: two sessions are there."""
    with recorded(db_path) as builder:
        for session in ("gone", "kept"):
            run = builder.run(session, user="ada", inputs={"message": f"What of {session}?"})
            builder.llm(run, cost=0.1)
        yield builder


pytestmark = pytest.mark.usefixtures("to")


def test_a_session_is_deleted_after_a_look_at_what_goes(open_page: Open, served: str) -> None:
    """From its page, by keys alone; the other one stays."""
    page = open_page()
    page.goto(f"{served}/sessions/gone")
    page.get_by_role("link", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_contain_text("runs1")
    expect(page.get_by_text("This cannot be undone")).to_be_visible()
    page.get_by_role("button", name="Delete for good").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="1 run deleted.")).to_be_visible()
    page.get_by_role("link", name="All sessions").click()
    expect(page.locator("tbody .open")).to_have_text(["What of kept?"])


def test_who_decides_otherwise_is_back_where_they_were(open_page: Open, served: str) -> None:
    """Nothing is gone."""
    page = open_page()
    page.goto(f"{served}/sessions/gone")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What of gone?")


def test_a_page_that_shows_what_goes_is_told(open_page: Open, served: str) -> None:
    """What it shows stays, with a word that it is no longer in the file."""
    reading, deleting = open_page(), open_page()
    reading.goto(f"{served}/sessions/gone")
    reading.wait_for_function(HAS_STREAM)
    deleting.goto(f"{served}/sessions/gone")
    deleting.get_by_role("link", name="Delete").click()
    deleting.get_by_role("button", name="Delete for good").click()
    expect(reading.locator("#main > .problem")).to_contain_text("This was deleted.")
    expect(reading.get_by_text("What of gone?").first).to_be_visible()
