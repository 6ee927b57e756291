"""The totals of many sessions, when they were active, and the shape of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import Builder, recording
from waxlocal.queries import SessionFilter, statistics
from waxlocal.queries.overview import overview, turn_sizes
from waxlocal.queries.statistics import analysis


def hundred(to: Builder) -> None:
    """Record a hundred sessions, an hour apart; every fourth has no known cost."""
    for number in range(100):
        for turn in range(1 + number % 3):
            run = to.run(f"s{number:02}", at=number * 3_600 + turn, user=f"u{number % 2}")
            cost = None if number % 4 == 0 else 0.01 * number
            to.llm(run, 100 * (turn + 1), 10, cost=cost)


@pytest.mark.parametrize("filter", [SessionFilter(), SessionFilter(user_id="u1")])
def test_totals_are_those_of_the_statistics(tmp_path: Path, filter: SessionFilter) -> None:
    """The same sums and the same p95, for everything and for one user."""
    with recording(tmp_path) as (to, conn):
        hundred(to)
        to.llm(to.run("untold", user="u1"), 0, 0, usage_known=0)
        totals, whole = overview(conn, filter=filter).totals, statistics(conn, filter=filter)
    sums = ("sessions", "runs", "llm_calls", "unmetered_calls", "total_tokens", "priced_tokens")
    assert whole.unmetered_calls == 1
    for name in (*sums, "p95_cost", "priced_share", "metered_share"):
        assert getattr(totals, name) == getattr(whole, name), name
    assert totals.total_cost == pytest.approx(whole.total_cost)
    assert totals.one_turn_share == whole.abandonment_rate


def test_nothing_has_no_totals(tmp_path: Path) -> None:
    """Zero sessions, unknown cost, no shares, no activity."""
    with recording(tmp_path) as (_, conn):
        totals = overview(conn).totals
        assert (totals.sessions, totals.total_cost, totals.p95_cost) == (0, None, None)
        assert (totals.priced_share, totals.one_turn_share) == (None, None)
        assert overview(conn).activity is None
        assert analysis(conn).costs == ()


def test_activity_counts_every_session_once(tmp_path: Path) -> None:
    """In stretches of equal length, from the first to the last."""
    with recording(tmp_path) as (to, conn):
        hundred(to)
        found = overview(conn).activity
        some = overview(conn, filter=SessionFilter(since="2026-02-04")).activity
    assert found is not None
    assert sum(found.counts) == 100
    assert found.timeline.hours == 3
    assert found.timeline.begin(0) == "2026-01-31T09:00:00.000000Z"
    assert some is not None
    assert sum(some.counts) < 100


def test_costs_are_counted_in_bins(tmp_path: Path) -> None:
    """Those of the sessions that fit and whose cost is known: each in one bin."""
    with recording(tmp_path) as (to, conn):
        hundred(to)
        found = analysis(conn, filter=SessionFilter(user_id="u1"))
        assert found.statistics == statistics(conn, filter=SessionFilter(user_id="u1"))
    assert sum(one.count for one in found.costs) == found.statistics.priced_sessions == 50


def test_sizes_are_the_tokens_of_the_last_turns(tmp_path: Path) -> None:
    """In order, no more than asked for; a run without calls counts nothing."""
    with recording(tmp_path) as (to, conn):
        for turn in range(5):
            run = to.run("s", at=turn)
            if turn != 3:
                to.llm(run, 10 * turn, 1)
        sizes = turn_sizes(conn, ["s", "unknown"], most=3)
    assert sizes == {"s": (21, 0, 41), "unknown": ()}


def test_the_size_of_a_turn_whose_tokens_nobody_told_is_unknown(tmp_path: Path) -> None:
    """That of one of which some are known is their sum."""
    with recording(tmp_path) as (to, conn):
        to.llm(to.run("s"), 0, 0, usage_known=0)
        some = to.run("s", at=1)
        to.llm(some, 0, 0, usage_known=0)
        to.llm(some, 10, 1)
        sizes = turn_sizes(conn, ["s"])
    assert sizes == {"s": (None, 11)}


@pytest.mark.parametrize("apart", [0, 7_200])
def test_infinite_costs_of_either_sign_have_no_sum(tmp_path: Path, apart: int) -> None:
    """As SQL has it; in one hour, and in two."""
    with recording(tmp_path) as (to, conn):
        for number, cost in enumerate((float("inf"), float("-inf"), 1.0)):
            to.llm(to.run(f"s{number}", at=number * apart), cost=cost)
        totals = overview(conn).totals
    assert (totals.sessions, totals.total_cost) == (3, None)
