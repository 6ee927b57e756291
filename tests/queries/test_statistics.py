from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tools.builders import FixedClock, moment, recording
from waxlocal.queries import SessionFilter, list_sessions, statistics
from waxlocal.queries.percentiles import (
    median,
    percentile,
)


def test_an_empty_file_has_no_figures(tmp_path: Path) -> None:
    """Counts are 0 and what cannot be known is None."""
    with recording(tmp_path) as (_make, conn):
        figures = statistics(conn)
    assert (figures.sessions, figures.runs, figures.distribution) == (0, 0, {})
    assert (figures.average_turns, figures.median_turns) == (None, None)
    assert (figures.abandonment_rate, figures.slow_after) == (None, None)
    assert (figures.total_cost, figures.p95_cost, figures.average_duration) == (None,) * 3
    assert figures.priced_share is None


def test_figures_agree_with_those_taken_from_the_list(tmp_path: Path) -> None:
    """Turns, one-turn share and cost are what a program would compute from all sessions."""
    with recording(tmp_path) as (make, conn):
        for number in range(40):
            for turn in range(1 + number % 4):
                run = make.run(f"s{number}", at=number * 10 + turn, seconds=0.5)
                make.llm(run, cost=(number * 7 % 40) / 100)
        sessions = list_sessions(conn, limit=1_000)
        figures = statistics(conn)
    turns = [one.run_count for one in sessions]
    costs = [one.total_cost for one in sessions if one.total_cost is not None]
    assert figures.distribution == dict(Counter(turns))
    assert figures.average_turns == sum(turns) / len(turns)
    assert figures.median_turns == 2.5
    assert figures.abandonment_rate == sum(1 for count in turns if count == 1) / len(turns)
    assert figures.average_cost == pytest.approx(sum(costs) / len(costs))
    assert figures.p95_cost == sorted(costs)[int(len(costs) * 0.95)]
    assert figures.p99_cost == sorted(costs)[int(len(costs) * 0.99)]
    assert figures.total_cost == pytest.approx(sum(costs))


def test_sessions_of_unknown_cost_do_not_make_the_rest_cheaper(tmp_path: Path) -> None:
    """Cost figures are of the sessions with a known price, and say how many those are.

    A session without calls cost nothing, and that is known.
    """
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("a"), 50, 50, cost=2.0)
        make.llm(make.run("b"), 200, 100)
        for session in ("c", "d", "e"):
            make.run(session)
        figures = statistics(conn)
    assert (figures.sessions, figures.priced_sessions, figures.sessions_without_calls) == (5, 4, 3)
    assert (figures.average_cost, figures.p50_cost, figures.priced_share) == (0.5, 0.0, 0.25)


def test_one_turn_sessions_are_told_apart_by_how_they_ended(tmp_path: Path) -> None:
    """Fine, failed and slow add up to those that are over; a killed run counts as failed."""
    with recording(tmp_path) as (make, conn):
        alive, dead = make.process(alive=True), make.process(alive=False)
        for number in range(60):
            make.run(f"two{number}", seconds=1.0)
            make.run(f"two{number}", seconds=1.0)
        for number in range(4):
            make.llm(make.run(f"fine{number}", seconds=1.0), cost=0.25)
        make.llm(make.run("slow", seconds=60.0), cost=2.0)
        make.llm(make.run("slow of unknown cost", seconds=60.0))
        make.llm(make.run("failed", seconds=60.0, status="error"), cost=0.5)
        make.run("going", seconds=None, process=alive)
        make.run("killed", seconds=None, process=dead)
        figures = statistics(conn)
        of_the_open = statistics(conn, filter=SessionFilter(status="running"))
    assert (figures.abandoned, figures.slow_after) == (8, 1.0)
    assert (figures.abandoned_fine, figures.abandoned_slow) == (4, 2)
    assert (figures.abandoned_error, figures.not_over) == (2, 1)
    assert (figures.abandoned_fine_cost, figures.abandoned_slow_cost) == (1.0, 2.0)
    assert (figures.abandoned_error_cost, figures.abandoned_cost) == (0.5, 3.5)
    assert figures.abandonment_rate == 8 / 68
    assert (of_the_open.abandoned, of_the_open.not_over) == (0, 1)
    assert of_the_open.abandonment_rate is None


@pytest.mark.parametrize("setting", [None, "60", "0"])
def test_a_session_of_one_turn_is_abandoned_once_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None
) -> None:
    """Half an hour after its last activity, or as long as the setting says; to the second."""
    if setting:
        monkeypatch.setenv("WAXLOCAL_SESSION_OVER_AFTER", setting)
    over_after = float(setting or 1_800)
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("one", seconds=10.0), cost=0.5)
        make.run("two", seconds=1.0)
        make.run("two", at=2.0, seconds=1.0)
        shown = {
            passed: statistics(conn, clock=FixedClock(10.0 + over_after + passed))
            for passed in (-0.5, 0.0, 0.5)
        }
    assert {passed: (one.abandoned, one.not_over) for passed, one in shown.items()} == {
        -0.5: (0, 1),
        0.0: (0, 1),
        0.5: (1, 0),
    }
    assert (shown[0.0].abandonment_rate, shown[0.5].abandonment_rate) == (0.0, 0.5)
    assert (shown[0.0].abandoned_cost, shown[0.5].abandoned_cost) == (0.0, 0.5)


def test_three_durations_are_told_apart(tmp_path: Path) -> None:
    """What the turns took, from start to end, and what of that no turn took."""
    with recording(tmp_path) as (make, conn):
        make.run("a", at=0.0, seconds=2.0)
        make.run("a", at=60.0, seconds=4.0)
        make.run("b", at=0.0, seconds=10.0)
        make.run("overlapping", at=0.0, seconds=8.0)
        make.run("overlapping", at=1.0, seconds=8.0)
        figures = statistics(conn)
        of_a_period = statistics(conn, filter=SessionFilter(since=moment(30)))
    assert figures.spread("duration") == (32.0 / 3, 10.0, 16.0, 16.0)
    assert figures.spread("elapsed") == (83.0 / 3, 10.0, 64.0, 64.0)
    assert figures.spread("waiting") == (58.0 / 3, 0.0, 58.0, 58.0)
    assert (of_a_period.average_elapsed, of_a_period.average_waiting) == (4.0, 0.0)


def test_users_who_took_part_in_two_sessions_came_back(tmp_path: Path) -> None:
    """However many turns they had in one; in a period, those who came twice in it."""
    with recording(tmp_path) as (make, conn):
        for session, user, at in (
            ("a", "ann", 0.0),
            ("a", "ann", 10.0),
            ("b", "bob", 0.0),
            ("c", "bob", 100.0),
            ("c", "cid", 110.0),
            ("d", None, 100.0),
            ("c", None, 120.0),
            ("e", "bob", 200.0),
        ):
            make.run(session, user=user, at=at)
        figures = statistics(conn)
        of_a_period = statistics(conn, filter=SessionFilter(until=moment(50)))
        later = statistics(conn, filter=SessionFilter(since=moment(50)))
        of_one = statistics(conn, filter=SessionFilter(user_id="cid"))
    assert (figures.users, figures.returning_users, figures.return_rate) == (3, 1, 1 / 3)
    assert (of_a_period.users, of_a_period.returning_users) == (2, 0)
    assert (later.users, later.returning_users) == (2, 1)
    assert (of_one.users, of_one.returning_users) == (2, 0)


def test_a_filter_chooses_the_sessions(tmp_path: Path) -> None:
    """Figures are of the sessions that fit."""
    with recording(tmp_path) as (make, conn):
        make.run("a", user="alice", seconds=2.0)
        make.run("b", user="bob", seconds=4.0)
        figures = statistics(conn, filter=SessionFilter(user_id="bob"))
    assert (figures.sessions, figures.average_duration, figures.p95_duration) == (1, 4.0, 4.0)
    assert figures.p99_duration == 4.0


@pytest.mark.parametrize(
    ("count", "q", "index"), [(1, 0.99, 0), (2, 0.5, 1), (20, 0.95, 19), (100, 0.95, 95)]
)
def test_a_percentile_is_a_value_that_occurs(count: int, q: float, index: int) -> None:
    """Of n sorted values it is the one at int(n * q)."""
    assert percentile(list(range(count)), q) == index


def test_figures_of_nothing_are_none() -> None:
    """No values have no median and no percentile."""
    assert (median({}), percentile([], 0.5)) == (None, None)


def test_a_median_is_the_middle() -> None:
    """Of an even number of values it is the mean of the middle two."""
    assert median({3: 1}) == 3
    assert median({1: 2, 5: 2}) == 3
    assert median({1: 2, 5: 1}) == 1
