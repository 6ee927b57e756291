"""A real browser for each module, and a tab for each test that notices what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.serving import CHROMIUM, FLAGS, serving

# Read now: the settings of the person are hidden from the tests.
_REQUIRED = bool(os.environ.get("CI")) or os.environ.get("WAXLOCAL_REQUIRE_BROWSER") == "1"

Open = Callable[..., Page]


# For a module and not for all: Playwright keeps an event loop in this thread, and other tests
# begin one of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield the system's Chromium; without it tests are skipped, but not in CI."""
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is missing: apt-get install chromium"
        if _REQUIRED:
            pytest.fail(reason)
        pytest.skip(f"{reason} (WAXLOCAL_REQUIRE_BROWSER=1 makes this a failure)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Yield what opens a tab in a context of its own (`new_context`'s options).

    At the end of the test no tab may have logged an error, asked another host than its first
    page's, or shown a dialog.
    """
    contexts, wrong = [], []

    def open_(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        hosts: set[str] = set()

        def asked(request: Any) -> None:
            host = request.url.split("/")[2] if "://" in request.url else ""
            if not hosts:
                hosts.add(host)
            if host not in hosts:
                wrong.append(f"request to {request.url}")

        def refuse(dialog: Any) -> None:
            wrong.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("request", asked)
        page.on("dialog", refuse)
        page.on("pageerror", lambda error: wrong.append(f"error {error}"))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        return page

    open_.wrong = wrong  # type: ignore[attr-defined]
    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def served(db_path: Path) -> Iterator[str]:
    """Serve the test's own file; yields the address."""
    with serving(db_path) as address:
        yield address
