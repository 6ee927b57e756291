"""The dashboard through nginx with TLS: at a name of its own, and below a path."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import HAS_STREAM, Open
from tests.tools.builders import Builder
from tests.tools.certificates import make_certificate
from tests.tools.cli import recorded
from tests.tools.nginx import documented, nginx
from tests.tools.patience import PATIENCE_S
from tests.tools.web import spawned

KEY = "a-key-of-forty-characters-for-this-test-"


@pytest.fixture
def to(db_path: Path) -> Iterator[Builder]:
    """Yield what records into the file while it is served."""
    with recorded(db_path) as builder:
        for session, user in (("first", "ada"), ("second", "bob")):
            builder.run(session, user=user, inputs={"message": f"the {session} question"})
            builder.run(session, user=user, at=60, inputs={"message": "and then?"})
        yield builder


@pytest.fixture(params=["", "/waxlocal"], ids=["at its name", "below a path"])
def proxied(
    request: pytest.FixtureRequest, to: Builder, db_path: Path, tmp_path: Path, open_page: Open
) -> Iterator[str]:
    """Serve the file with a key behind nginx; yields the address without a slash at its end."""
    certificate = make_certificate(tmp_path / "certificate", "DNS:localhost")
    options = ("--trusted-proxy", "127.0.0.1", "--allow-host", "localhost")
    configuration = documented(below_path=bool(request.param))
    with (
        spawned(*options, db=db_path, WAXLOCAL_SERVE_KEY=KEY) as (_, address),
        nginx(configuration, address, certificate, tmp_path / "nginx") as proxy,
    ):
        yield proxy + request.param
        open_page.close()  # first, or a page would ask once more, in vain


def logged_in(open_page: Open, address: str) -> Page:
    """Open a page by the login form; its timers run only when the test lets them."""
    page = open_page(ignore_https_errors=True)  # the certificate vouches for itself
    page.clock.install()
    page.goto(address)
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    return page


def go(page: Page, name: str) -> None:
    """Click a link of the bar until it leads there: a click, too, may come before a frame."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        try:
            expect(page.get_by_role("heading", level=1)).to_have_text(name, timeout=10_000)
        except AssertionError:
            assert time.monotonic() < give_up
        else:
            return


def press(page: Page, key: str) -> None:
    """Press a key until it arrives: a browser may drop one that comes before its first frame."""
    page.wait_for_load_state()
    here = page.url
    page.evaluate("addEventListener('keydown', () => { window.arrived = true }, true)")
    while True:
        page.keyboard.press(key)
        try:
            arrived = page.evaluate("window.arrived === true")
        except Error:  # the key has led to another page, and ended this one meanwhile
            return
        # Asked for afterwards: it may have been the other page that knows of no key.
        if arrived or page.url != here:
            return


def test_the_key_opens_the_page_that_was_asked_for(open_page: Open, proxied: str) -> None:
    """And the cookie goes back by https alone, and to nothing outside the path."""
    page = logged_in(open_page, f"{proxied}/sessions/first")
    expect(page.get_by_role("heading", level=1)).to_have_text("the first question")
    expect(page).to_have_url(f"{proxied}/sessions/first")
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert cookie["path"] == (urlsplit(proxied).path or "/")


def test_links_filters_and_keys_stay_below_the_path(open_page: Open, proxied: str) -> None:
    """Along the bar, into a session and a run and up again, a filter on and off, the search."""
    page = logged_in(open_page, proxied)
    for name in ("Analytics", "Models", "Sync", "Sessions"):
        go(page, name)
    page.get_by_label("User").fill("ada")
    page.get_by_label("User").press("Enter")
    expect(page).to_have_url(re.compile(rf"{re.escape(proxied)}/\?user_id=ada"))
    expect(page.locator("tbody .open")).to_have_text(["the first question"])
    page.get_by_role("link", name="Remove filter user").click()
    expect(page.locator("tbody .open")).to_have_count(2)
    page.get_by_role("link", name="the second question").click()
    page.locator("a.no", has_text="2").click()
    page.get_by_role("link", name="Previous turn").click()
    expect(page.get_by_role("link", name="Next turn")).to_be_visible()
    press(page, "u")
    expect(page).to_have_url(f"{proxied}/sessions/second")
    press(page, "u")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page).to_have_url(f"{proxied}/runs")
    page.locator("select[name=no_session]").select_option("true")  # which sends the form
    expect(page).to_have_url(re.compile(rf"{re.escape(proxied)}/runs\?.*no_session=true"))
    page.get_by_role("link", name="Models").click()
    press(page, "/")
    expect(page.get_by_label("Search")).to_be_focused()
    expect(page).to_have_url(f"{proxied}/#search")


def test_an_open_page_refreshes_itself(open_page: Open, to: Builder, proxied: str) -> None:
    """By a stream that nginx does not hold back: of the list, or of the line about the upload."""
    page = logged_in(open_page, proxied)
    expect(page.locator("tbody .open")).to_have_count(2)
    page.wait_for_function(HAS_STREAM)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    to.run("third", at=120, inputs={"message": "the newest question"})
    expect(page.get_by_text("the newest question")).to_be_visible()
    assert asked == []
    page.goto(f"{proxied}/help")
    page.wait_for_function(HAS_STREAM)
    assert f"{proxied}/live/status?live=stream" in asked
    to.conn.execute("INSERT INTO targets (url) VALUES ('https://hub')")
    expect(page.locator("#upload")).to_contain_text("pending")


def test_a_parked_run_is_tried_again(open_page: Open, to: Builder, proxied: str) -> None:
    """A form is accepted from the pages behind the proxy."""
    to.insert("targets", target_id=1, url="https://hub.example")
    (run,) = to.conn.execute("SELECT run_id FROM runs LIMIT 1").fetchone()
    to.insert("deliveries", run_id=run, target_id=1, state="parked", remote_run_id="r")
    to.insert("requests", run_id=run, target_id=1, stage="spans", part=0, state="parked",
              idempotency_key="k", positions=[1], body=b"", bytes=0, attempts=1, status=422,
              reason="no", first_attempt_at="2025-01-01T00:00:00Z",
              last_attempt_at="2025-01-01T00:00:00Z")  # fmt: skip
    page = logged_in(open_page, f"{proxied}/sync")
    page.get_by_role("button", name="Retry all").click()
    expect(page).to_have_url(f"{proxied}/sync?requeued=1")
    expect(page.get_by_role("status").first).to_contain_text("1 run pending again")


def test_logging_out_closes_every_page(open_page: Open, proxied: str) -> None:
    """By the button of the help page; afterwards the key is asked for again."""
    page = logged_in(open_page, f"{proxied}/help")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{proxied}/login")
    assert page.context.cookies() == []
    page.goto(f"{proxied}/sessions/first")
    expect(page.get_by_label("Key")).to_be_visible()
