"""The use of models, read in pieces."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.tools.builders import Builder, moment, recording
from waxlocal.prices.table import prices_by_model
from waxlocal.queries import SessionFilter, list_models
from waxlocal.queries.analysis_rows import needs_price
from waxlocal.queries.time_buckets import MOST_STRETCHES, timeline_of
from waxlocal.queries.usage import Usage, add_usage, session_usage


def many_calls(to: Builder) -> None:
    """Record 60 runs of three models, over ten days, some outside of sessions."""
    for number in range(60):
        at = number * 4 * 3_600.0
        run = to.run(f"s{number % 7}" if number % 5 else None, at=at, user=f"u{number % 2}")
        for call in range(number % 3 + 1):
            more = {"model": f"m{number % 4}", "provider": "p" if number % 8 else ""}
            to.llm(run, 100 + number, call, at=at + call, cost=None if number % 4 == 1 else 0.01,
                   duration_ms=number * 10 or None, status="ok" if number % 6 else "error",
                   **more)  # fmt: skip


def read(conn: sqlite3.Connection, most: int, **bounds: str) -> tuple[Usage, int]:
    usage, pieces = Usage(), 0
    while usage.after is not None:
        add_usage(conn, usage, most=most, **bounds)
        pieces += 1
    return usage, pieces


@pytest.mark.parametrize(("most", "expected"), [(0, 61), (1, 41), (7, 14), (1_000, 1)])
def test_pieces_add_up_to_the_whole(tmp_path: Path, most: int, expected: int) -> None:
    """Whatever their size, and to what one query over everything says."""
    with recording(tmp_path) as (to, conn):
        many_calls(to)
        usage, pieces = read(conn, most)
        assert [as_far_as_exact(one) for one in usage.models({})] == [
            as_far_as_exact(one) for one in list_models(conn)
        ]
    assert pieces == expected
    assert usage.calls == 120


def as_far_as_exact(one: object) -> dict[str, object]:
    """Return a row, its sum of money without the last digits: the order of adding differs."""
    names = ("model", "provider", "calls", "unmetered_calls", "errors", "tokens_in", "tokens_out",
             "cached_tokens", "priced_tokens", "p50_ms", "p95_ms")  # fmt: skip
    row = {name: getattr(one, name) for name in names}
    cost = getattr(one, "total_cost")  # noqa: B009
    return {**row, "cost": None if cost is None else round(cost, 9)}


def test_times_bound_the_calls(tmp_path: Path) -> None:
    """Both ends included."""
    bounds = {"since": moment(4 * 3_600.0), "until": moment(8 * 3_600.0)}
    with recording(tmp_path) as (to, conn):
        many_calls(to)
        usage, _ = read(conn, 10, **bounds)
        whole = list_models(conn, **bounds)
    assert usage.calls == sum(one.calls for one in whole) == 3


def test_nothing_was_used(tmp_path: Path) -> None:
    """One piece, no models, no cost over time."""
    with recording(tmp_path) as (_, conn):
        usage, pieces = read(conn, 10)
    assert (pieces, usage.models({}), usage.cost_over_time()) == (1, [], None)


def test_the_cost_over_time_is_all_that_was_spent(tmp_path: Path) -> None:
    """The most expensive models by name, the others together."""
    with recording(tmp_path) as (to, conn):
        many_calls(to)
        usage, _ = read(conn, 1_000)
        found = usage.cost_over_time(most=1)
    assert found is not None
    names = [name for name, _ in found.series]
    assert names[1] == "2 others"
    total = sum(one.total_cost or 0 for one in usage.models({}))
    assert sum(map(sum, (values for _, values in found.series))) == pytest.approx(total)
    assert all(len(values) == found.timeline.count for _, values in found.series)


def test_the_use_in_sessions_is_that_of_their_calls(tmp_path: Path) -> None:
    """Of those that fit the filter, and of no run outside."""
    with recording(tmp_path) as (to, conn):
        many_calls(to)
        sql = """SELECT sum(llm_calls), sum(total_cost) FROM sessions
          WHERE session_id IN (SELECT session_id FROM session_users WHERE user_id = 'u1')"""
        calls, cost = conn.execute(sql).fetchone()
        usage = session_usage(conn, filter=SessionFilter(user_id="u1"))
    assert 0 < usage.calls == calls < 120
    over_time = usage.cost_over_time()
    assert over_time is not None
    assert sum(map(sum, (values for _, values in over_time.series))) == pytest.approx(cost)


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
        usage, _ = read(conn, 10)
        assert usage.models(prices_by_model(conn)) == found
    needing = {one.model for one in found if needs_price(one)}
    assert needing == {"unpriced", "untold"}
    assert {one.model for one in found[:2]} == needing
    assert {one.model: one.price_source for one in found if one.model in ("set", "at-home")} == {
        "set": "override",
        "at-home": "local",
    }
