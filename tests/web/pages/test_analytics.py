"""The pages of many sessions and of models: what is normal, what is out of line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.cli import recorded
from tests.tools.pages import Dashboard, Element, dashboard
from waxlocal.wording import NOTHING


@pytest.fixture
def pages(db_path: Path) -> Iterator[Dashboard]:
    """Yield the pages of ten sessions: five of one turn (one failed), five of three turns."""
    with recorded(db_path) as to:
        for number in range(10):
            for turn in range(1 if number < 5 else 3):
                run = to.run(
                    f"s{number}", at=number * 4_000 + turn * 60, user=f"u{number % 2}",
                    status="error" if number == 0 else "success", seconds=1.0 + number,
                    inputs={"message": f"talk {number}"},
                )  # fmt: skip
                to.llm(run, 100, 10, at=number * 4_000 + turn * 60 + 1, cost=0.01 * (number + 1),
                       duration_ms=100 * (number + 1), model="big" if number > 7 else "small",
                       status="error" if number == 3 else "ok")  # fmt: skip
        to.llm(run, 50, 5, model="house", provider="in-house")
    with dashboard(db_path) as opened:
        yield opened


def table(part: Element) -> list[list[str]]:
    return [
        [cell.text for cell in row.children if isinstance(cell, Element)]
        for row in part.one("tbody").all("tr")
    ]


def test_the_distribution_of_turns_has_its_numbers_as_a_table(pages: Dashboard) -> None:
    """The columns say what the table says; a number of turns that nobody had is a gap."""
    part = pages.page("/analytics").one("section", data_live="turns")
    assert table(part) == [["1", "5", "50%"], ["2", "0", "0%"], ["3", "5", "50%"]]
    assert len(part.one("svg", "plot").all("rect", "p1")) - 1 == 2  # one is in the pattern
    assert "On average 2.0 turns, median 2." in part.text


def test_abandonment_is_split_by_how_the_one_run_ended(pages: Dashboard) -> None:
    """Answered well, failed, slow, and what they cost."""
    part = pages.page("/analytics").one("section", data_live="ends")
    assert [row[0:1] + row[2:] for row in table(part)] == [
        ["completed", "4", "80%", "$0.1400"], ["failed", "1", "20%", "$0.0100"],
        ["slow", "0", "0%", NOTHING],
    ]  # fmt: skip
    assert "50%: 5 of the sessions that are over" in part.text


def test_three_durations_are_told_apart(pages: Dashboard) -> None:
    """Each with its average and percentiles."""
    part = pages.page("/analytics").one("section", data_live="durations")
    assert [row[0] for row in table(part)] == ["Agent time", "Elapsed", "Between turns"]
    assert all(len(row) == 5 for row in table(part))


def test_the_costs_are_a_histogram_with_percentiles_marked(pages: Dashboard) -> None:
    """Every session with a known cost is in one of its bins."""
    part = pages.page("/analytics").one("section", data_live="costs")
    assert sum(int(row[1]) for row in table(part)) == 10
    assert [mark.text for mark in part.all("text", "named")] == [
        "p50 $0.1800", "p95 $0.3000", "p99 $0.3000",
    ]  # fmt: skip


def test_the_cost_over_time_is_told_by_model(pages: Dashboard) -> None:
    """One line for each, told apart by their dashes; all that was spent is in the table."""
    part = pages.page("/analytics").one("section", data_live="spent")
    names = [one.text for one in part.one("ul", "legend").all("li")]
    assert names == ["small", "big"]
    assert {line["class"] for line in part.all("polyline")} == {"l0", "l1"}
    sums = [sum(float(row[n].strip("$")) for row in table(part)) for n in (1, 2)]
    assert sums == pytest.approx([0.15 + 3 * (0.06 + 0.07 + 0.08), 3 * 0.19])


def test_the_most_expensive_and_the_slowest_come_with_their_reasons(pages: Dashboard) -> None:
    """Ten of each, with the verdict, and the way to the whole list in that order."""
    page = pages.page("/analytics")
    expensive, slow = (page.one("section", data_live=name) for name in ("expensive", "slow"))
    assert expensive.one("tbody").all("tr")[0].one("a", "open").text == "talk 9"
    assert len(expensive.one("tbody").all("tr")) == 10
    assert "$0.3000" in expensive.one("tbody").all("tr")[0].one("td", "why").text
    assert slow.one("tbody").all("tr")[0].all("td")[3].text == "30.0 s"
    assert "own code" in slow.one("tbody").all("tr")[0].one("td", "why").text
    assert (
        pages.page(expensive.all("a")[-1]["href"]).one("th", aria_sort="descending").text == "Cost"
    )


def test_the_filter_holds_for_every_part(pages: Dashboard) -> None:
    """As in the list of sessions, and in the title."""
    page = pages.page("/analytics?user_id=u1")
    assert page.one("h1").text == "Analytics of u1"
    assert page.one("dl", "facts").all("dd")[0].text == "5"
    assert len(page.one("section", data_live="expensive").one("tbody").all("tr")) == 5
    spent = table(page.one("section", data_live="spent"))
    assert sum(float(row[1].strip("$")) for row in spent) == pytest.approx(
        0.02 + 0.04 + 3 * (0.06 + 0.08)
    )


def test_nothing_to_count_says_what_to_do(pages: Dashboard, tmp_path: Path) -> None:
    """For a filter that nothing fits, and for a file without anything."""
    assert "No session matches" in pages.page("/analytics?user_id=nobody").text
    with dashboard(tmp_path / "empty.db") as empty:
        assert "No sessions yet" in empty.page("/analytics").text
        assert "No LLM calls" in empty.page("/models").text


def test_models_without_a_price_come_first_with_the_command(pages: Dashboard) -> None:
    """The command can be copied and names model and provider."""
    page = pages.page("/models")
    rows = page.one("table", "models").one("tbody").all("tr")
    assert [row.one("th").text.split()[0] for row in rows] == ["house", "small", "big"]
    assert rows[0].text.endswith("no price")
    command = "waxlocal prices set house --provider in-house --input X --output Y"
    assert page.one("button", "copy")["data-copy"] == command


def test_a_model_has_calls_tokens_cost_latencies_and_errors(pages: Dashboard) -> None:
    """The percentiles are those of the command line."""
    row = pages.page("/models").one("table", "models").one("tbody").all("tr")[1]
    cells = [cell.text for cell in row.all("td")]
    assert cells[:6] == ["14", "1,540", "$0.7800", "600 ms", "800 ms", "7%"]


@pytest.mark.parametrize("column", ["calls", "tokens", "cost", "p50", "p95", "errors"])
def test_models_sort_by_every_figure(pages: Dashboard, column: str) -> None:
    """Both ways."""
    down, up = (
        [row.one("th").text for row in pages.page(address).one("tbody").all("tr")]
        for address in (f"/models?ordering=-{column}", f"/models?ordering={column}")
    )
    assert sorted(down) == sorted(up)
    assert down != up


def test_the_time_bounds_the_calls_of_models(pages: Dashboard) -> None:
    """`since` and `until` of the address, and an unknown order is an error that says so."""
    page = pages.page("/models?until=2026-01-31T10:00:00Z")
    assert [row.all("td")[0].text for row in page.one("tbody").all("tr")] == ["1", "1"]
    assert "unknown ordering" in pages.page("/models?ordering=name", status=400).text
