"""What calls cost over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import Builder, moment, recording
from waxlocal.queries import SessionFilter, list_models
from waxlocal.queries.analysis_rows import needs_price
from waxlocal.queries.cost_over_time import HourCost, over_time, session_costs
from waxlocal.queries.models import models_over_time
from waxlocal.queries.time_buckets import MOST_STRETCHES, timeline_of


def many_calls(to: Builder, hours: float = 4.0) -> None:
    """Record 60 runs of four models, so many hours apart, some outside of sessions."""
    for number in range(60):
        at = number * hours * 3_600.0
        run = to.run(f"s{number % 7}" if number % 5 else None, at=at, user=f"u{number % 2}")
        for call in range(number % 3 + 1):
            more = {"model": f"m{number % 4}", "provider": "p" if number % 8 else ""}
            to.llm(run, 100 + number, call, at=at + call, cost=None if number % 4 == 1 else 0.01,
                   duration_ms=number * 10 or None, status="ok" if number % 6 else "error",
                   **more)  # fmt: skip


@pytest.mark.parametrize(("hours", "expected"), [(0.5, 1), (4.0, 6), (30.0, 48)])
def test_the_cost_over_time_is_all_that_was_spent(
    tmp_path: Path, hours: float, expected: int
) -> None:
    """In hours or days, by the whole time; a period has its own."""
    with recording(tmp_path) as (to, conn):
        many_calls(to, hours)
        whole = models_over_time(conn)
        part = models_over_time(conn, since=moment(10 * hours * 3_600.0))
        assert whole.models == list_models(conn)
    for found in (whole, part):
        assert found.cost is not None
        spent = sum(one.total_cost or 0 for one in found.models)
        assert sum(map(sum, (values for _, values in found.cost.series))) == pytest.approx(spent)
        assert all(len(values) == found.cost.timeline.count for _, values in found.cost.series)
    assert whole.cost is not None
    assert whole.cost.timeline.hours == expected


def test_the_most_expensive_models_have_names(tmp_path: Path) -> None:
    """The others are together, those of unknown cost are not among them."""
    costs = [HourCost("2026-01-31T09", f"m{number}", 1, number or None) for number in range(5)]
    found = over_time(costs, most=2)
    assert found is not None
    assert found.series == (("m4", (4,)), ("m3", (3,)), ("2 others", (3,)))


@pytest.mark.parametrize("cost", [None, 0.5])
def test_what_has_no_valid_time_is_at_no_time(cost: float | None) -> None:
    """Nor has it a place where it is all that there is."""
    assert over_time([HourCost("", "m", 1, cost)]) is None
    assert over_time([]) is None
    found = over_time([HourCost("", "m", 1, cost), HourCost("2026-01-31T09", "m", 1, 0.25)])
    assert found is not None
    assert (found.timeline.count, found.series) == (1, (("m", (0.25,)),))


def test_the_cost_in_sessions_is_that_of_their_calls(tmp_path: Path) -> None:
    """Of those that fit the filter, and of no run outside."""
    with recording(tmp_path) as (to, conn):
        many_calls(to)
        sql = """SELECT sum(llm_calls), sum(total_cost) FROM sessions
          WHERE session_id IN (SELECT session_id FROM session_users WHERE user_id = 'u1')"""
        calls, cost = conn.execute(sql).fetchone()
        costs = session_costs(conn, SessionFilter(user_id="u1"))
    assert 0 < sum(one.calls for one in costs) == calls < 120
    found = over_time(costs)
    assert found is not None
    assert sum(map(sum, (values for _, values in found.series))) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("last", "hours"),
    [("2026-01-31T09:00", 1), ("2026-02-02T09:00", 1), ("2026-02-05T09:00", 3),
     ("2026-03-20T09:00", 24), ("2026-12-31T09:00", 168), ("2036-01-01T00:00", 2_184),
     ("2999-01-01T00:00", 148_512)],
)  # fmt: skip
def test_a_timeline_has_stretches_that_people_think_in(last: str, hours: int) -> None:
    """Few enough to be told apart, and the last moment lies in the last of them."""
    timeline = timeline_of("2026-01-31T09:00:00Z", f"{last}:00Z")
    assert timeline.hours == hours
    assert 1 <= timeline.count <= MOST_STRETCHES
    assert timeline.place("2026-01-31T09") == 0
    assert timeline.place(last[:13]) == timeline.count - 1
    assert timeline.begin(0) <= "2026-01-31T09:00:00.000000Z"


def test_models_that_need_a_price_come_first(tmp_path: Path) -> None:
    """Also one whose tokens nobody told; not one that has a price, or whose costs were given."""
    with recording(tmp_path) as (to, conn):
        run = to.run()
        for model, cost, known in (
            *(("given", 9.0, 1), ("unpriced", None, 1), ("untold", None, 0)),
            *(("set", None, 0), ("listed", None, 0), ("at-home", None, 0), ("mixed", 1.0, 1)),
        ):
            provider = "ollama" if model == "at-home" else "p"
            to.llm(run, 5 * known, 0, model=model, provider=provider, cost=cost, usage_known=known)
        to.llm(run, 0, 0, model="mixed", provider="p", usage_known=0)
        for model, provider, source in (
            *(("unpriced", "p", "unknown"), ("untold", "p", "pending")),
            ("at-home", "ollama", "pending"),
            *(("set", "p", "unknown"), ("set", "", "override"), ("listed", "p", "a list")),
        ):
            to.insert("model_prices", model=model, provider=provider, source=source, updated_at="")
        found = list_models(conn)
        assert models_over_time(conn).models == found
    needing = {one.model for one in found if needs_price(one)}
    assert needing == {"unpriced", "untold"}
    assert {one.model for one in found[:2]} == needing
    assert {one.model: one.price_source for one in found if one.model in ("set", "at-home")} == {
        "set": "override",
        "at-home": "local",
    }
