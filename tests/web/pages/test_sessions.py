"""The list of sessions: what it shows, filters, sorts and finds."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder, run_id
from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, dashboard, titles
from tests.tools.patience import PATIENCE_S
from waxlocal.records import RUN_STATUSES
from waxlocal.storage.connection import open_writer


def some_sessions(to: Builder) -> None:
    """Record three sessions: of alice for $0.30, of bob for $0.50 and failed, of nobody."""
    for turn in range(3):
        run = to.run("s-alice", at=turn * 10, user="alice", agent="desk",
                     inputs={"message": f"Question {turn} about tides"})  # fmt: skip
        to.llm(run, 100 * (turn + 1), 10, cost=0.1)
    said = {"inputs": {"message": "Why?"}, "result": {"response": "Because of the moon"}}
    run = to.run("s-bob", at=100, user="bob", agent="guide", status="error", seconds=4.0, **said)
    to.llm(run, 50, 5, cost=0.5)
    run = to.run("s-nobody", at=200, inputs={"message": "Hello"})
    to.llm(run, 10, 1)


@pytest.fixture
def pages(db_path: Path):  # type: ignore[no-untyped-def]
    with recorded(db_path) as to:
        some_sessions(to)
    with dashboard(db_path) as opened:
        yield opened


def test_a_row_says_what_a_session_was_about_and_what_it_cost(pages: Dashboard) -> None:
    """First words, id, user, agents, turns, tokens, cost, duration, in this order."""
    page = pages.page("/?user_id=alice")
    cells = [cell.text for cell in page.one("tr", data_live="session s-alice").all("td")]
    assert cells[:1] == ["Question 0 about tides s-alice"]
    assert cells[1:3] == ["alice", "desk"]
    assert [cell.split()[-1] for cell in cells[3:7]] == ["3", "630", "$0.3000", "s"]
    assert page.one("tr", data_live="session s-alice").one("a", "open")["href"] == (
        "/sessions/s-alice"
    )


def test_an_unknown_cost_is_not_nothing(pages: Dashboard) -> None:
    """A session whose model has no price says so."""
    row = pages.page("/").one("tr", data_live="session s-nobody")
    assert row.all("td", "cost")[0].text == "unknown"


def test_the_last_active_session_comes_first(pages: Dashboard) -> None:
    """Without a wish for another order."""
    page = pages.page("/")
    assert titles(page) == ["Hello", "Why?", "Question 0 about tides"]
    [sorted_by] = page.all("th", aria_sort="descending")
    assert sorted_by.text == "Last activity"


@pytest.mark.parametrize(
    ("column", "first"),
    [
        ("turn_count", "Question 0 about tides"),
        ("total_tokens", "Question 0 about tides"),
        ("total_cost", "Why?"),
        ("total_duration", "Why?"),
    ],
)
def test_a_header_sorts_by_its_column_and_back(pages: Dashboard, column: str, first: str) -> None:
    """The first click shows the largest first, the second the smallest."""
    header = next(
        link for link in pages.page("/").one("thead").all("a") if f"-{column}" in link["href"]
    )
    page = pages.page(header["href"])
    assert titles(page)[0] == first
    [again] = [h for h in page.all("th") if h.attributes.get("aria-sort") == "descending"]
    back = pages.page(again.one("a")["href"])
    [now] = [h for h in back.all("th") if h.attributes.get("aria-sort") == "ascending"]
    assert now.text == again.text
    assert titles(back)[0] != first


@pytest.mark.parametrize(
    ("query", "found", "title"),
    [
        ("user_id=alice", ["Question 0 about tides"], "Sessions of alice"),
        ("agent=guide", ["Why?"], "Sessions with guide"),
        ("status=error", ["Why?"], "Sessions with errors"),
        ("status=success", ["Hello", "Question 0 about tides"], "Sessions that succeeded"),
        ("search=MOON", ["Why?"], "Sessions containing “MOON”"),
        ("search=tides", ["Question 0 about tides"], "Sessions containing “tides”"),
        ("until=2026-01-31T09:31:00Z", ["Question 0 about tides"], None),
        ("since=2026-01-31T09:33:00Z", ["Hello"], None),
        ("user_id=alice&agent=desk", ["Question 0 about tides"], "Sessions of alice with desk"),
    ],
)
def test_filters_stand_in_the_address_and_in_the_title(
    pages: Dashboard, query: str, found: list[str], title: str | None
) -> None:
    """A link to a filtered list shows the same list to everybody."""
    page = pages.page(f"/?{query}")
    assert titles(page) == found
    if title:
        assert page.one("h1").text == title
        assert page.one("head").one("title").text == f"{title} · waxlocal"


def test_the_form_keeps_what_it_was_given(pages: Dashboard) -> None:
    """Fields show the filter that holds, order and rarer filters included."""
    page = pages.page("/?search=t&user_id=alice&since=7d&status=error&tag=k%3Dv&ordering=run_count")
    form = page.one("form", "filters")
    fields = {one["name"]: one["value"] for one in form.all("input") if one["value"]}
    assert fields == {
        "search": "t", "user_id": "alice", "tag": "k=v", "ordering": "run_count",
    }  # fmt: skip
    chosen = [one for one in form.all("option") if "selected" in one.attributes]
    assert [one.text for one in chosen] == ["last 7 days", "error"]


def test_a_filter_can_be_taken_away_by_itself(pages: Dashboard) -> None:
    """Each has a link to the same list without it."""
    page = pages.page("/?user_id=alice&agent=desk")
    links = [one.one("a")["href"] for one in page.one("ul", "chips").all("li")]
    assert links == ["/?agent=desk", "/?user_id=alice", "/"]


def test_the_totals_are_those_of_the_filter(pages: Dashboard) -> None:
    """Sessions, runs, tokens, cost with its priced share, p95, one-turn share."""
    facts = [one.text for one in pages.page("/").one("dl", "facts").all("dd")]
    assert facts == ["3", "5", "696", "$0.8000 98% priced", "$0.5000", "67%"]
    facts = [one.text for one in pages.page("/?user_id=bob").one("dl", "facts").all("dd")]
    assert facts == ["1", "1", "55", "$0.5000", "$0.5000", "100%"]


def test_a_long_list_comes_in_parts(pages: Dashboard) -> None:
    """Links lead forth and back, and say where one is."""
    page = pages.page("/?limit=2")
    pager = page.one("nav", "pager")
    assert pager.all("span")[0].text == "1 to 2 of 3"
    last = pages.page(pager.one("a", rel="next")["href"])
    assert titles(last) == ["Question 0 about tides"]
    assert last.one("nav", "pager").one("a", rel="prev")["href"] == "/?limit=2"


def test_a_search_for_an_id_leads_to_it(pages: Dashboard) -> None:
    """The beginning of a session's or run's id is enough."""
    found = pages.page(f"/?search={run_id(4)}").one("p", "found")
    assert found.one("a")["href"] == f"/runs/{run_id(4)}"
    assert pages.page("/?search=s-nobody").one("p", "found").one("a")["href"] == (
        "/sessions/s-nobody"
    )


@pytest.mark.parametrize("status", RUN_STATUSES)
def test_every_status_can_be_asked_for(pages: Dashboard, status: str) -> None:
    """The choices of the form are those that the queries know."""
    headings = {one: pages.page(f"/?status={one}").one("h1").text for one in ("", status)}
    assert headings[""] == "Sessions"
    assert headings[status].startswith("Sessions ")


def test_nothing_that_fits_says_what_to_do(pages: Dashboard) -> None:
    """With a way back to the whole list."""
    empty = pages.page("/?user_id=carol").one("div", "empty")
    assert empty.one("h2").text == "No session matches"
    assert empty.all("a", href="/")


def test_a_search_without_a_find_in_many_sessions_says_so(db_path: Path) -> None:
    """They are looked through piece by piece, and the page waits for the last one."""
    with closing(open_writer(db_path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        for number in range(1_100):
            make.run(f"s{number}", inputs={"message": "Is it open?"})
    with dashboard(db_path) as pages:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := pages.page("/?search=nowhere").all("div", "empty")):
            assert time.monotonic() < deadline
        assert found[0].one("h2").text == "No session matches"


def test_an_empty_file_shows_the_lines_that_make_the_first_session(db_path: Path) -> None:
    """And they are the lines of the readme, which run."""
    with dashboard(db_path) as pages:
        page = pages.page("/")
    code = "".join(str(part) for part in page.one("code", id="first").children)
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in readme
    assert "Nothing recorded yet" in page.text


def test_runs_without_a_session_are_shown_where_there_are_no_sessions(db_path: Path) -> None:
    """Who records without a session id finds the runs, and learns of the id."""
    with recorded(db_path) as to:
        to.run(None, inputs={"message": "alone"})
    with dashboard(db_path) as pages:
        page = pages.page("/")
        assert titles(page) == ["alone"]
        assert "session_id" in page.one("div", "empty").text
        assert titles(pages.page("/runs")) == ["alone"]


def test_all_runs_without_a_session_are_counted(db_path: Path) -> None:
    """Not only those that are shown."""
    with recorded(db_path) as to:
        for _ in range(53):
            to.run(None)
    with dashboard(db_path) as pages:
        assert "No sessions yet, but 53 runs" in pages.page("/").text


def test_bars_show_the_turns_of_a_session(pages: Dashboard) -> None:
    """One bar for each turn, as tall as its tokens."""
    row = pages.page("/").one("tr", data_live="session s-alice")
    heights = [float(bar["height"]) for bar in row.one("svg", "mini").all("rect")]
    assert heights == pytest.approx([110 / 310 * 12, 210 / 310 * 12, 12], abs=0.01)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ordering=password", "unknown ordering 'password'"),
        ("status=good", "unknown status 'good'"),
        ("since=yesterday", "'yesterday' is not a valid time"),
        ("limit=0", "0 is out of range"),
        ("offset=-1", "'-1' is not a number"),
        ("limit=9999999999999", "'9999999999999' is not a number"),
    ],
)
def test_a_wrong_address_is_a_page_that_says_what_is_right(
    pages: Dashboard, query: str, said: str
) -> None:
    """400, the reason, a hint, and a way on."""
    page = pages.page(f"/?{query}", status=400)
    assert said in page.text
    assert "Try: use" in page.text
    assert page.all("a", href="/")


def test_the_tokens_by_turn_are_unknown_where_nobody_told_them(db_path: Path) -> None:
    """Not 0, as those of a turn without calls."""
    with recorded(db_path) as to:
        to.llm(to.run("s", at=0), 0, 0, usage_known=0)
        to.run("s", at=1)
        to.llm(to.run("s", at=2), 100, 10)
    with dashboard(db_path) as pages:
        drawn = pages.page("/").one("svg", "mini")
    assert drawn.one("title").text == "Tokens by turn: unknown, 0, 110"
