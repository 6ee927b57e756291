"""The page of errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, dashboard, titles


def some_failures(to: Builder) -> None:
    """Record three timeouts of one agent, one of a sub-agent, a stop and an interruption."""
    for number, user in enumerate(("ada", "bob", "ada")):
        to.run(f"s{number % 2}", at=number * 60, user=user, agent="desk", status="error",
               error=f"no answer after {number} s", error_type="Timeout")  # fmt: skip
    to.run("s2", at=200, user="bob", agent="desk", status="error", error_type="KeyError")
    turn = to.run("s3", at=300, user="eve", agent="desk")
    to.run("s3", at=301, agent="helper", parent=turn, status="error", error_type="Timeout")
    to.run(None, at=400, agent="nightly", status="blocked", error="over budget")
    to.run("s4", at=500, agent="desk", status="interrupted", error_type="Killed")
    to.run("s5", at=600, agent="desk", status="cancelled")


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        some_failures(to)
    with dashboard(db_path) as opened:
        yield opened


def rows(pages: Dashboard, path: str = "/errors") -> list[list[str]]:
    return [[cell.text for cell in row.all("td")][:5]
            for row in pages.page(path).one("tbody").all("tr")]  # fmt: skip


def test_failed_runs_are_grouped_by_error_and_agent(pages: Dashboard) -> None:
    """The most frequent first, then those that happened last; a cancelled run has not failed."""
    found = rows(pages)
    assert [(row[0], *row[1:]) for row in found] == [
        ("Timeout error no answer after 2 s and 2 other messages", "desk", "3", "2", "2"),
        ("Killed interrupted", "desk", "1", "1", "0"),
        ("over budget blocked over budget", "nightly", "1", "0", "0"),
        ("Timeout error", "helper", "1", "1", "1"),
        ("KeyError error", "desk", "1", "1", "1"),
    ]


def test_an_error_opens_the_last_run_and_its_number_lists_all(pages: Dashboard) -> None:
    """Both are a click away; after a search, which the list of runs does not know, the first."""
    row = pages.page("/errors").one("tbody").all("tr")[0]
    assert row.one("a", "open")["href"] == f"/runs/{run_id(3)}"
    listed = next(link["href"] for link in row.all("a") if link.text == "3")
    assert len(titles(pages.page(listed))) == 3
    found = pages.page("/errors?search=timeout").one("tbody").all("tr")[0]
    assert not [link for link in found.all("a") if link.text == "3"]


def test_errors_can_be_filtered(pages: Dashboard) -> None:
    """By agent, user and period, each run on its own."""
    assert [row[1] for row in rows(pages, "/errors?agent=helper")] == ["helper"]
    assert [row[2] for row in rows(pages, "/errors?user_id=bob")] == ["1", "1"]
    assert [row[1] for row in rows(pages, "/errors?user_id=eve")] == ["helper"]
    assert rows(pages, "/errors?until=2026-01-31T09:31:30Z")[0][2] == "2"
    assert [row[1] for row in rows(pages, "/errors?since=2026-01-31T09:36:00Z")] == [
        "desk", "nightly",
    ]  # fmt: skip
    assert [row[1] for row in rows(pages, "/errors?search=OVER+BUDGET")] == ["nightly"]
    assert [row[2] for row in rows(pages, "/errors?search=timeout:+no+answer+after+1")] == ["1"]
    assert [row[1] for row in rows(pages, "/errors?status=blocked")] == ["nightly"]
    assert "No failed run matches" in pages.page("/errors?agent=nobody").text
    assert "soon" in pages.page("/errors?since=soon", status=400).text


def test_a_file_without_errors_says_so(db_path: Path) -> None:
    """And nothing else."""
    with recorded(db_path) as to:
        to.run("s")
    with dashboard(db_path) as opened:
        assert "Nothing has failed" in opened.page("/errors").text
