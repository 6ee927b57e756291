"""The list of runs: what it shows, filters and sorts, with sessions and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, dashboard, titles
from waxlocal.records import RUN_STATUSES


def some_runs(to: Builder) -> None:
    """Record a turn of alice with a sub-agent, one of bob, and two runs without a session."""
    turn = to.run("s-alice", user="alice", agent="desk", seconds=3.0, inputs={"message": "When?"})
    to.llm(turn, 100, 10, cost=0.1)
    to.run("s-alice", at=1, agent="helper", parent=turn, inputs={"task": "Look it up"})
    to.run("s-bob", at=10, user="bob", agent="guide", status="error", inputs={"message": "Why?"})
    to.run(None, at=20, agent="nightly", seconds=9.0, inputs={"message": "Clean up"})
    to.run(None, at=30, user="alice", agent="nightly", inputs={"message": "Count"})


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        some_runs(to)
    with dashboard(db_path) as opened:
        yield opened


def test_all_runs_are_listed_the_last_recorded_first(pages: Dashboard) -> None:
    """Turns, sub-agents, and those without a session."""
    page = pages.page("/runs")
    assert titles(page) == ["Count", "Clean up", "Why?", "Look it up", "When?"]
    assert "1 to 5 of 5" in page.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("no_session=true", ["Count", "Clean up"]),
        ("no_session=true&user_id=alice", ["Count"]),
        ("session_id=s-alice", ["Look it up", "When?"]),
        ("agent=nightly", ["Count", "Clean up"]),
        ("user_id=alice", ["Count", "When?"]),
        ("status=error", ["Why?"]),
        ("search=clean", ["Clean up"]),
        ("ordering=-duration&limit=2", ["Clean up", "When?"]),
        ("ordering=started_at&limit=2&offset=1", ["Look it up", "Why?"]),
    ],
)
def test_the_filter_of_the_address_holds(pages: Dashboard, query: str, found: list[str]) -> None:
    """As in the API, and each run by itself."""
    assert titles(pages.page(f"/runs?{query}")) == found


def test_a_search_for_an_id_leads_to_it(pages: Dashboard) -> None:
    """As on the page of sessions."""
    found = pages.page(f"/runs?search={run_id(3)}").one("p", "found")
    assert found.one("a")["href"] == f"/runs/{run_id(3)}"


def test_the_api_says_no_in_the_same_words(pages: Dashboard) -> None:
    """`no_session=false` is as if it were not given."""
    page = pages.page("/runs?no_session=false")
    assert len(titles(page)) == 5
    assert not page.all("ul", "chips")


def test_active_filters_are_named_and_can_be_removed(pages: Dashboard) -> None:
    """In words, each with a way back."""
    page = pages.page("/runs?no_session=true&agent=nightly")
    assert page.one("h1").text == "Runs without a session, with nightly"
    chips = page.one("ul", "chips")
    assert [one.text for one in chips.all("bdi")] == ["none", "nightly"]
    assert chips.all("a", href="/runs?agent=nightly")


def test_a_column_sorts_and_pages_keep_the_filter(pages: Dashboard) -> None:
    """Descending first; the form sends a chosen order again."""
    page = pages.page("/runs?user_id=alice&limit=1&ordering=duration")
    assert page.all("a", href="/runs?user_id=alice&ordering=-duration&limit=1")
    assert page.all("a", href="/runs?user_id=alice&ordering=duration&limit=1&offset=1")
    assert page.one("input", name="ordering")["value"] == "duration"


@pytest.mark.parametrize("status", RUN_STATUSES)
def test_every_status_can_be_asked_for(pages: Dashboard, status: str) -> None:
    """The choices of the form are those that the queries know."""
    assert pages.page(f"/runs?status={status}").one("h1").text.startswith("Runs ")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("no_session=maybe", "no_session is 'maybe'"),
        ("ordering=total_cost", "unknown ordering 'total_cost'"),
        ("status=lost", "unknown status 'lost'"),
        ("since=yesterday", "'yesterday' is not a valid time"),
        ("limit=1000", "1,000 is out of range"),
    ],
)
def test_what_cannot_be_asked_is_explained(pages: Dashboard, query: str, said: str) -> None:
    """With status 400, and what can."""
    assert said in pages.page(f"/runs?{query}", status=400).text


def test_nothing_that_fits_says_what_to_do(pages: Dashboard, tmp_path: Path) -> None:
    """A filter can go; beyond the end is the beginning; an empty file has its first steps."""
    assert pages.page("/runs?user_id=carol").one("div", "empty").all("a", href="/runs")
    beyond = pages.page("/runs?offset=50").one("div", "empty")
    assert beyond.one("h2").text == "No more runs"
    with dashboard(tmp_path / "empty.db") as empty:
        assert "Nothing recorded yet" in empty.page("/runs").text
