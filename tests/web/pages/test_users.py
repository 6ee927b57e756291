"""The list of users, and the page of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard, titles
from waxlocal.web.pages.addresses import Links


def some_users(to: Builder) -> None:
    """Record two sessions of alice, one of alice and bob, and a run of carol outside of any."""
    for number, cost in ((1, 0.25), (2, None)):
        run = to.run(f"alice-{number}", user="alice", at=number, agent="desk",
                     inputs={"message": f"question {number}"})  # fmt: skip
        to.llm(run, 100, 10, cost=cost, at=number)
        to.score(run, "helpful", data_type="boolean", numeric_value=number % 2)
        to.score(run, "stars", numeric_value=2 + number)
        to.score(run, "tone", data_type="categorical", string_value="kind")
    shared = to.run("shared", user="alice", at=10, agent="guide", status="error")
    to.score(shared, "tone", data_type="categorical", string_value="rude")
    bobs = to.run("shared", user="bob", at=20, seconds=3.0)
    to.score(bobs, "stars", numeric_value=1)
    to.run("shared", user=None, at=21)
    to.run(None, user="carol", at=30, inputs={"message": "nightly"})


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    with recorded(db_path) as to:
        some_users(to)
    with dashboard(db_path) as opened:
        yield opened


def facts(page: Element) -> dict[str, str]:
    return {one.one("dt").text: one.one("dd").text for one in page.one("dl", "facts").all("div")}


def test_all_users_are_listed_who_was_active_last_first(pages: Dashboard) -> None:
    """With their figures; sorted by a click."""
    page = pages.page("/users")
    assert titles(page) == ["carol", "bob", "alice"]
    row = page.one("tbody").all("tr")[2]
    cells = [cell.text for cell in row.all("td")]
    assert cells[:4] == ["alice", "desk, guide", "3", "3"]
    assert cells[5].startswith("$0.25")
    assert "1 to 3 of 3" in page.text
    assert titles(pages.page("/users?ordering=-session_count"))[0] == "alice"
    assert titles(pages.page("/users?ordering=user_id&limit=1&offset=1")) == ["bob"]
    assert "No more users" in pages.page("/users?offset=9").text
    assert "unknown ordering" in pages.page("/users?ordering=name", status=400).text


def test_a_user_has_figures_scores_and_the_last_sessions(pages: Dashboard) -> None:
    """Their own of a session that they share."""
    page = pages.page(next(a["href"] for a in pages.page("/users").all("a") if a.text == "alice"))
    assert page.one("h1").text == "alice"
    assert facts(page)["sessions"] == "3"
    assert facts(page)["turns"] == "3"
    scores = page.one(data_live="scores")
    assert {one.one("dt").text: one.one("dd").text for one in scores.all("div")} == {
        "helpful": "50% yes 2 scores", "stars": "3.5 on average 2 scores", "tone": "kind 2, rude 1",
    }  # fmt: skip
    assert titles(page) == ["Untitled session", "question 2", "question 1"]
    assert "1 failed" in page.one(data_live="sessions").text
    assert "Total $0.25" in page.one(data_live="spent").text
    for name in (
        "/?user_id=alice",
        "/runs?user_id=alice",
        "/analytics?user_id=alice",
        "/errors?user_id=alice",
    ):
        assert page.all("a", href=name)


def test_a_user_without_sessions_has_a_page_too(pages: Dashboard) -> None:
    """It says what there is not."""
    page = pages.page("/users/carol")
    assert facts(page)["turns"] == "1"
    assert "the runs of this user are outside sessions" in page.text
    assert "No known costs in sessions" in page.text


def test_a_user_that_nobody_knows_is_not_found(pages: Dashboard) -> None:
    """404, with a way on."""
    page = pages.page("/users/nobody", status=404)
    assert "no user 'nobody'" in page.text
    assert "No users" not in page.text


def test_a_file_without_users_says_how_to_name_them(db_path: Path) -> None:
    """In the list."""
    with recorded(db_path) as to:
        to.run("s")
    with dashboard(db_path) as pages:
        assert "waxlocal run --user NAME" in pages.page("/users").text


@pytest.mark.parametrize("user", ["a/b", "..", "ü 🙂", "a?b#c", "x" * 300, "\\", "1"])
def test_any_user_has_a_page_that_a_browser_reaches(db_path: Path, user: str) -> None:
    """From the list, and from a session and a run of theirs."""
    with recorded(db_path) as to:
        run = to.run("s", user=user)
    with dashboard(db_path) as pages:
        link = pages.page("/users").one("a", "open")["href"]
        assert link == Links("").user(user)
        assert pages.page(link).one("h1").text == user
        for page in ("/sessions/s", f"/runs/{run}"):
            assert pages.page(page).all("a", href=link)
