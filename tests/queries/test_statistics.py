from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tools.builders import recording
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
    """Fine, failed, slow and not yet ended add up to all of them; a killed run counts as failed."""
    with recording(tmp_path) as (make, conn):
        alive, dead = make.process(alive=True), make.process(alive=False)
        for number in range(60):
            make.run(f"two{number}", seconds=1.0)
            make.run(f"two{number}", seconds=1.0)
        for number in range(4):
            make.run(f"fine{number}", seconds=1.0)
        make.run("slow", seconds=60.0)
        make.run("failed", seconds=60.0, status="error")
        make.run("going", seconds=None, process=alive)
        make.run("killed", seconds=None, process=dead)
        figures = statistics(conn)
        of_the_open = statistics(conn, filter=SessionFilter(status="running"))
    assert (figures.abandoned, figures.slow_after) == (8, 1.0)
    assert (figures.abandoned_fine, figures.abandoned_slow) == (4, 1)
    assert (figures.abandoned_error, figures.abandoned_open) == (2, 1)
    assert figures.abandonment_rate == 8 / 68
    assert (of_the_open.abandoned, of_the_open.abandoned_open) == (1, 1)


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
