"""The way in where the server asks for a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.serving import serving
from tests.tools.cli import recorded

KEY = "a-key-of-forty-characters-for-this-test-"


@pytest.fixture
def locked(db_path: Path) -> Iterator[str]:
    """Serve a recording that only the key opens."""
    with recorded(db_path) as to:
        to.run("s", inputs={"message": "behind the door"})
    with serving(db_path, key=KEY) as address:
        yield address


def test_the_key_opens_every_page(open_page: Open, locked: str) -> None:
    """The one that was asked for first; the browser is known from then on."""
    page = open_page()
    page.goto(f"{locked}/sessions/s")
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("behind the door")
    page.goto(locked)
    expect(page.locator("tbody .open")).to_have_text(["behind the door"])


def test_another_key_does_not(open_page: Open, locked: str) -> None:
    """And the page says so, and asks again."""
    page = open_page()
    page.goto(locked)
    page.get_by_label("Key").fill("Wrong key")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Key")).to_be_visible()
    open_page.wrong.clear()  # the browser logs every 401
