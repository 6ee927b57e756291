"""The runs below a run, and what they cost together."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.tools.builders import recording
from waxlocal.queries import get_session
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.sub_agents import MOST_RUNS, sub_agent_runs, together


def summary(conn: sqlite3.Connection, run: str) -> RunSummary:
    return next(one for one in get_session(conn, "s1").runs if one.run_id == run)


def test_they_are_found_however_deep_and_by_their_start(tmp_path: Path) -> None:
    """In the session of the run, without the run itself."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        child = make.run(at=2, parent=top)
        deep = make.run(at=1, parent=child)
        make.run("another", at=3, parent=top)
        make.run(at=4)
        found = sub_agent_runs(conn, summary(conn, top))
    assert [one.run_id for one in found] == [deep, child]


def test_runs_that_call_each_other_in_a_circle_are_found_once(tmp_path: Path) -> None:
    """As only a hostile client says."""
    with recording(tmp_path) as (make, conn):
        one = make.run(parent="01942000-0000-7000-8000-000000000002")
        two = make.run(parent=one)
        assert [run.run_id for run in sub_agent_runs(conn, summary(conn, one))] == [two]


def test_there_are_not_more_than_a_thousand(tmp_path: Path) -> None:
    """A page shows fewer."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        make.conn.execute("BEGIN")
        for number in range(MOST_RUNS + 5):
            make.run(at=number, parent=top)
        make.conn.execute("COMMIT")
        run = get_session(conn, "s1", limit=1).runs[0]
        assert len(sub_agent_runs(conn, run)) == MOST_RUNS


def test_together_they_have_the_sum_of_what_is_known(tmp_path: Path) -> None:
    """A cost that nobody knows is none of it; without calls it is 0."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        make.llm(top, 100, 10, cost=None)
        priced, quiet = make.run(parent=top), make.run(parent=top)
        make.llm(priced, 50, 5, cost=0.25)
        unknown, known, nothing = (summary(conn, one) for one in (top, priced, quiet))
    whole = together(unknown, (known, nothing))
    assert (whole.run_id, whole.llm_calls, whole.total_tokens) == (top, 2, 165)
    assert (whole.total_cost, whole.priced_tokens) == (0.25, 55)
    assert together(unknown, (nothing,)).total_cost is None
    assert together(nothing, ()).total_cost == 0.0
