"""The filters of the lists in a browser: the rarer ones folded away, days, links that filter."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.serving import serving
from tests.tools.builders import Builder, recording


def record(make: Builder) -> None:
    """Three sessions; `moment(0)` is 9:30 on 31 January 2026, in UTC."""
    day = 86_400.0
    for name, at, model, cost in (
        ("early", -day, "gpt-4o", 0.01),
        ("noon", 0.0, "claude-3", 0.75),
        ("late", day, "claude-3", 2.5),
    ):
        run = make.run(
            name,
            at=at,
            user="ann",
            inputs=json.dumps({"message": f"The {name} one"}),
            tags=json.dumps({"plan": name}),
        )
        make.llm(run, at=at, model=model, cost=cost)
        make.span(run, name=f"look_{name}")
        make.score(run, "rating", numeric_value=cost)


def titles(page: Page) -> list[str]:
    """The titles of the list, sorted."""
    expect(page.locator(".waiting")).to_have_count(0)
    return sorted(page.locator("tbody .open").all_inner_texts())


def test_rarer_filters_are_folded_away_until_one_is_set(tmp_path: Path, open_page: Open) -> None:
    """And stay folded out while one holds, with a chip that removes it."""
    with recording(tmp_path) as (make, _conn):
        record(make)
        with serving(tmp_path / "waxlocal.db") as address:
            page = open_page()
            page.goto(address)
            expect(page.get_by_role("textbox", name="Model")).to_be_hidden()
            page.get_by_text("More filters").click()
            page.get_by_role("textbox", name="Model").fill("claude*")
            page.get_by_label("Cost at most").fill("1")
            page.get_by_role("button", name="Filter").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(
                "Sessions with calls of claude*, of $1 or less"
            )
            assert titles(page) == ["The noon one"]
            expect(page.get_by_role("textbox", name="Model")).to_be_visible()
            page.get_by_role("link", name="Remove filter cost at most").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(
                "Sessions with calls of claude*"
            )
            assert titles(page) == ["The late one", "The noon one"]


def test_days_are_those_of_the_viewer(tmp_path: Path, open_page: Open) -> None:
    """Where the day begins at 11:00 UTC, 9:30 belongs to the one before; the fields keep it."""
    with recording(tmp_path) as (make, _conn):
        record(make)
        with serving(tmp_path / "waxlocal.db") as address:
            page = open_page(timezone_id="Pacific/Pago_Pago")  # eleven hours behind UTC
            page.goto(address)
            page.get_by_text("More filters").click()
            for label in ("From day", "To day"):
                page.get_by_label(label).fill("2026-01-30")
            page.get_by_role("button", name="Filter").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(
                "Sessions since 2026-01-30, until 2026-01-30"
            )
            assert titles(page) == ["The noon one"]
            given = parse_qs(urlsplit(page.url).query)
            assert given == {
                "since": ["2026-01-30T00:00:00-11:00"],
                "until": ["2026-01-30T23:59:59.999999-11:00"],
            }
            expect(page.get_by_label("From day")).to_have_value("2026-01-30")
            page.get_by_label("To day").fill("2026-01-31")
            page.get_by_role("button", name="Filter").click()
            expect(page.locator("tbody .open")).to_have_count(2)
            page.go_back()
            expect(page.get_by_label("To day")).to_have_value("2026-01-30")


def test_models_tags_scores_and_bars_are_links_that_filter(tmp_path: Path, open_page: Open) -> None:
    """Each leads to the sessions that it counts."""
    with recording(tmp_path) as (make, _conn):
        record(make)
        with serving(tmp_path / "waxlocal.db") as address:
            page = open_page()
            page.goto(f"{address}/models")
            page.get_by_role("link", name="claude-3").click()
            assert titles(page) == ["The late one", "The noon one"]
            page.locator("tbody .open", has_text="noon").click()
            page.locator("a.no").click()
            page.get_by_role("link", name="plan").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Sessions tagged plan=noon")
            assert titles(page) == ["The noon one"]
            page.get_by_role("link", name="rating 0.75").click()
            expect(page.get_by_role("heading", level=1)).to_contain_text("scored rating")
            page.goto(f"{address}/analytics")
            expect(page.locator(".waiting")).to_have_count(0)
            page.locator("figure", has_text="Cost per session").locator("svg a").last.click()
            assert titles(page) == ["The late one"]
