"""The page of a run: everything that it recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import run_id
from tests.tools.cli import recorded
from tests.tools.pages import Element, dashboard
from waxlocal.storage.connection import writer
from waxlocal.wire.paths import of_run


@pytest.fixture
def page(db_path: Path) -> Iterator[Element]:
    """Yield the page of a run with something of everything, between two others."""
    with recorded(db_path) as to:
        process = to.process(alive=True)
        to.run("s", at=-10)
        run = to.run(
            "s", at=0, seconds=4.0, user="ada", agent="desk", process=process, status="error",
            user_group="staff", inputs={"message": "Why?", "n": 1}, result={"response": "So."},
            tags={"channel": "web"}, metadata={"turn_number": 2, "deep": {"a": [1]}},
            error="it broke", error_type="ValueError", traceback="Traceback\n  line 1",
        )  # fmt: skip
        outer = to.span(run, "tool", at=0, seconds=2.0, name="outer", input={"q": 1})
        to.span(run, "io", at=1, seconds=0.5, name="inner", inside=outer, status="error",
                error="refused")  # fmt: skip
        to.llm(run, 100, 10, at=3.0, cost=0.002, duration_ms=1_000, provider="acme", task="answer",
               cached_tokens=40, reasoning_tokens=7, ttft_ms=200,
               cache_write_tokens=1_200, is_streaming=1,
               messages=[{"role": "user", "content": "Why?"}],
               response="So it is.")  # fmt: skip
        to.step(run, "think", output={"thought": "hm"})
        to.event(run, "policy_check", data={"allowed": True})
        to.score(run, "helpful", data_type="boolean", numeric_value=1, comment="thumb")
        child = to.run("s", at=2.5, seconds=1.0, parent=run, agent="child")
        to.llm(child, 30, 3, at=3.5, cost=0.001, duration_ms=500)
        to.step(child, "no bar of its own", at=2.6)
        to.run("s", at=10)
    with dashboard(db_path) as pages:
        yield pages.page(f"/runs/{run_id(2)}")


def trace(page: Element) -> list[Element]:
    """Return the rows of the trace."""
    return section(page, "trace").one("ol").all("li")


def name_of(row: Element) -> str:
    """Return what is done in a row; of a gap, that nothing is recorded."""
    return (row.all("bdi") or row.all("span", "soft"))[0].text


def section(page: Element, name: str) -> Element:
    return page.one(data_live=name)


def pairs(part: Element) -> dict[str, str]:
    return {one.one("dt").text: one.one("dd").text for one in part.one("dl").children
            if isinstance(one, Element)}  # fmt: skip


def test_beside_the_trace_stands_what_was_said(page: Element) -> None:
    """To the run and by it, with its scores."""
    pane = section(page, "pane")
    assert [one.text for one in pane.all("div", "value")] == ["Message Why?", "Answer So."]
    assert pairs(pane)["score helpful"] == "yes thumb"


def test_the_error_comes_with_its_traceback(page: Element) -> None:
    """Before anything else."""
    error = section(page, "error")
    assert error.one("div", "text").text == "ValueError: it broke"
    assert "line 1" in error.one("pre").text


def test_the_trace_shows_when_everything_ran(page: Element) -> None:
    """The run, and in it spans, LLM calls, steps, events, sub-agents: each with its place."""
    rows = trace(page)
    seen = [(name_of(row), row.one("span", "name")["class"].split()[1],
             row.one("small").text if row.all("small") else "") for row in rows]  # fmt: skip
    assert seen == [
        ("desk", "d0", "run"), ("outer", "d1", "tool"), ("inner", "d2", "io"),
        ("think", "d1", "step"), ("policy_check", "d1", "event"), ("gpt-4o", "d1", "LLM call"),
        ("child", "d1", "sub-agent"), ("no bar of its own", "d2", "step"),
        ("gpt-4o", "d2", "LLM call"), ("nothing recorded", "d1", ""),
    ]  # fmt: skip
    bars = {name_of(row): (bar["x"], bar["width"]) for row in rows for bar in row.all("rect")}
    assert bars == {
        "desk": ("0.0%", "100.0%"), "outer": ("0.0%", "50.0%"), "inner": ("25.0%", "12.5%"),
        "child": ("62.5%", "25.0%"), "gpt-4o": ("75.0%", "12.5%"),
        "nothing recorded": ("87.5%", "12.5%"),
    }  # fmt: skip
    assert "refused" in rows[2].text
    assert section(page, "trace").one("p", "axis").text == "02.0 s4.0 s"


def test_the_cost_with_sub_agents_stands_beside_that_of_the_run_alone(page: Element) -> None:
    """With the number of its sub-agents' runs."""
    facts = pairs(page.one("div", "heading"))
    assert facts["cost"] == "$0.0020"
    assert facts["with 1 sub-agent run"] == "$0.0030, 2 LLM calls"


def test_an_llm_call_has_its_cost_and_where_that_is_from(page: Element) -> None:
    """Model, task, tokens, cost, source, latency."""
    row = section(page, "calls").one("tbody").one("tr")
    assert [cell.text for cell in row.all("td")] == [
        "answer", "100", "40", "10 7 reasoning", "$0.0020", "the program", "1.0 s", "200 ms",
    ]  # fmt: skip


def test_tags_and_metadata_are_there(page: Element) -> None:
    """Each under its heading."""
    assert pairs(section(page, "Tags")) == {"channel": "web"}
    assert pairs(section(page, "Metadata"))["turn_number"] == "2"


def test_the_neighbours_are_a_click_away(page: Element) -> None:
    """Previous and next turn, the session, the runs that it opened; of these, their own."""
    head = page.one("head")
    assert head.one("link", rel="up")["href"] == "/sessions/s"
    assert head.one("link", rel="prev")["href"] == f"/runs/{run_id(1)}"
    assert head.one("link", rel="next")["href"] == f"/runs/{run_id(4)}"
    assert any(link.text == "child" for link in page.all("a", href=f"/runs/{run_id(3)}"))
    assert "Opened by" not in page.text


def test_the_origin_names_process_and_ids(page: Element) -> None:
    """With the way to the JSON."""
    assert f"wf_{run_id(2)}" in page.text
    assert "app.py" in page.text
    assert page.all("a", href=of_run(run_id(2)))


def test_a_workflow_id_or_the_start_of_an_id_finds_the_run(db_path: Path) -> None:
    """As at the command line."""
    with recorded(db_path) as to:
        to.run("s", agent="only")
    with dashboard(db_path) as pages:
        for named in (f"wf_{run_id(1)}", run_id(1)[:12]):
            assert pages.page(f"/runs/{named}").one("h1").text == "only"
        assert "no run 'zzz'" in pages.page("/runs/zzz", status=404).text


@pytest.mark.parametrize("milliseconds", [9e999, -9e999, 1e300, -5.0])
def test_a_length_that_is_none_leaves_the_page_whole(db_path: Path, milliseconds: float) -> None:
    """Of a call or a span of the run, and of a sub-agent's; another program may have written it."""
    with recorded(db_path) as to:
        run = to.run("s")
        child = to.run("s", at=0.2, seconds=0.5, parent=run)
        for one in (run, child):
            to.llm(one, at=0.5, duration_ms=milliseconds)
            to.span(one, "tool", at=0.1, seconds=milliseconds)
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
        assert pages.client.get("/sessions/s?file=html").status_code == 200
        assert pages.client.get("/sessions/s?file=markdown").status_code == 200
    rows = trace(page)
    assert len(rows) >= 6
    for bar in (bar for row in rows for bar in row.all("rect")):
        for name in ("x", "width"):
            assert 0.0 <= float(bar[name].rstrip("%")) <= 100.0


def test_a_call_without_a_price_has_no_cost(db_path: Path) -> None:
    """`unknown`, and `no price` where its source would be."""
    with recorded(db_path) as to:
        to.llm(to.run("s"), cost=None)
    with dashboard(db_path) as pages:
        row = pages.page(f"/runs/{run_id(1)}").one(data_live="calls").one("tbody").all("tr")[0]
    assert [cell.text for cell in row.all("td")][4:6] == ["unknown", "no price"]


def test_tokens_that_nobody_told_are_unknown(db_path: Path) -> None:
    """In the call; and the pages of the run, its session and all sessions say so of their sums."""
    with recorded(db_path) as to:
        run = to.run("s")
        to.llm(run, 0, 0, usage_known=0, response_id="resp_1", tools=[{"name": "look"}])
        to.llm(run)
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
        session, sessions = pages.page("/sessions/s").text, pages.page("/").text
    row, _ = page.one(data_live="calls").one("tbody").all("tr")
    cells = [cell.text for cell in row.all("td")]
    assert (cells[1], cells[3]) == ("unknown", "unknown")
    assert "1 with unknown tokens" in page.text
    assert "1 with unknown tokens" in session
    assert "50% metered" in session
    assert "50% metered" in sessions


def test_a_run_whose_tokens_nobody_told_has_no_sum_of_them(db_path: Path) -> None:
    """Nor a cost, and not for want of a price."""
    with recorded(db_path) as to:
        to.llm(to.run("s"), 0, 0, usage_known=0)
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
    assert "tokens unknown cost unknown" in page.one("dl", "facts").text
    row = page.one(data_live="calls").one("tbody").all("tr")[0]
    assert [cell.text for cell in row.all("td")][4:6] == ["unknown", "unknown tokens"]


def test_a_run_of_very_many_records_shows_the_first_of_them(db_path: Path) -> None:
    """And says where the rest is."""
    with recorded(db_path) as to:
        run = to.run("s")
        for _ in range(510):
            to.llm(run)
            to.step(run, "one")
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
        last = pages.page(f"/runs/{run_id(1)}?row={run_id(1)}.1020")
    assert len(trace(page)) == 500
    assert "The first 500 of 510" in section(page, "calls").text
    assert "Rows 1 to 500 of 1,021. Later ones" in section(page, "trace").text
    assert "Rows 1,001 to 1,021 of 1,021. Earlier ones" in section(last, "trace").text
    assert len([one for one in trace(last) if one.all("a", aria_current="true")]) == 1
    assert section(last, "pane").one("h2").text == "one step"


def test_json_that_is_none_or_is_too_deep_does_no_harm(db_path: Path) -> None:
    """What cannot be decoded is shown as it is; an escaped lone surrogate breaks nothing."""
    with recorded(db_path) as to:
        to.run("s", inputs="no json <b>", result='{"response": "\\ud800 half"}',
               tags="[" * 600 + "]" * 600)  # fmt: skip
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
        message, answer = section(page, "pane").all("div", "value")
        assert message.text == "Message no json <b>"
        assert "half" in answer.text
        assert pages.page("/").one("a", "open").text == "no json <b>"


def test_the_upload_of_a_run_is_told_with_its_receipts(db_path: Path) -> None:
    """To which host, what was answered, how often it was tried; never a key in the address."""
    with recorded(db_path) as to:
        to.run("s")
    with writer(db_path) as connection:
        connection.execute("INSERT INTO targets (target_id, url) VALUES (1, 'https://k@hub:8443')")
        connection.execute(
            "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state,"
            " positions, body, bytes, attempts, status, reason, first_attempt_at,"
            " last_attempt_at)"
            " VALUES (?, 1, 'start', 0, 'key', 'delivered', '[]', NULL, 12, 2,"
            " 201, NULL, '2026-01-31T09:30:00.000000Z', '2026-01-31T09:30:00.000000Z')",
            (run_id(1),),
        )
    with dashboard(db_path) as pages:
        page = pages.page(f"/runs/{run_id(1)}")
    row = page.all("tbody")[-1].one("tr")
    assert [cell.text for cell in row.all("td")][:5] == [
        "hub:8443",
        "start",
        "delivered",
        "201",
        "2",
    ]
    assert "k@hub" not in page.text
