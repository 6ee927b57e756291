"""A real browser for each module, and a tab for each test that notices what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.serving import CHROMIUM, FLAGS, serving
from tests.tools.builders import Builder
from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S

# In milliseconds. Playwright's own 5 s are too few for a busy machine.
_PATIENCE_MS = PATIENCE_S * 1_000
expect.set_options(timeout=_PATIENCE_MS)


# For a module and not for all: Playwright keeps an event loop in this thread, and other tests
# begin one of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield the system's Chromium; without it tests are left out."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS], timeout=_PATIENCE_MS
        )
        yield launched
        launched.close()


class Open:
    """Opens tabs, and notices what goes wrong in them.

    `wrong`: logged errors and warnings, dialogs, requests to another host than the page's first.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.wrong: list[str] = []

    def __call__(self, **options: Any) -> Page:
        """Open a tab in a context of its own (`new_context`'s options)."""
        size = {"viewport": {"width": 1440, "height": 900}}
        context = self._browser.new_context(**{**size, **options})
        context.set_default_timeout(_PATIENCE_MS)
        self._contexts.append(context)
        page = context.new_page()
        hosts: set[str] = set()

        def asked(request: Any) -> None:
            host = request.url.split("/")[2] if "://" in request.url else ""
            if not hosts:
                hosts.add(host)
            if host not in hosts:
                self.wrong.append(f"request to {request.url}")

        def refuse(dialog: Any) -> None:
            self.wrong.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("request", asked)
        page.on("dialog", refuse)
        page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        page.on("console", self._note)
        return page

    def _note(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.wrong.append(said.text)

    def close(self) -> None:
        """Close all tabs."""
        while self._contexts:
            self._contexts.pop().close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Yield what opens a tab; at the end of the test nothing may have gone wrong in any."""
    open_ = Open(browser)
    yield open_
    open_.close()
    assert open_.wrong == []


def pass_time(
    page: Page, milliseconds: int, until: str, which: Callable[[Any], bool] = lambda _event: True
) -> Any:
    """Let the page's time go on until an event, and return it.

    Again and again: a page sets its next timer once it has worked in the last answer, which may be
    after the clock was moved.
    """
    seen: list[Any] = []

    def note(event: Any) -> None:
        if which(event):
            seen.append(event)

    page.on(until, note)  # type: ignore[call-overload] # any of them
    give_up = time.monotonic() + PATIENCE_S
    while not seen:
        assert time.monotonic() < give_up, f"no {until}"
        page.clock.run_for(milliseconds)
        page.wait_for_timeout(10)  # lets events come in
    page.remove_listener(until, note)
    return seen[0]


# That the page is told of changes: for `wait_for_function`, which under our policy takes no other
# text than that of a function.
HAS_STREAM = "() => waxlocalLive.isOpen()"


def is_refresh(event: Any) -> bool:
    """Return whether a request or a response is that of an open page that refreshes itself."""
    return "live=1" in event.url


@pytest.fixture
def to(db_path: Path) -> Iterator[Builder]:
    """Yield what records into the file while it is served."""
    with recorded(db_path) as builder:
        yield builder


@pytest.fixture
def served(db_path: Path, open_page: Open) -> Iterator[str]:
    """Serve the test's own file; yields the address."""
    with serving(db_path) as address:
        yield address
        open_page.close()  # first, or a page would ask once more, in vain
