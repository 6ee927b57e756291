"""The runs below a run, and what they cost together."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.tools.builders import recording
from waxlocal.queries import get_session
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.sub_agents import MOST_RUNS, below


def summary(conn: sqlite3.Connection, run: str) -> RunSummary:
    return next(one for one in get_session(conn, "s1").runs if one.run_id == run)


def test_they_are_found_however_deep_and_by_their_start(tmp_path: Path) -> None:
    """In the session of the run, without the run itself."""
    with recording(tmp_path) as (make, conn):
        top = caller = make.run()
        deep = []
        for number in range(30):
            caller = make.run(at=30 - number, parent=caller)
            deep.append(caller)
        make.run("another", at=3, parent=top)
        make.run(at=4)
        found = below(conn, summary(conn, top))
    assert [one.run_id for one in found.runs] == deep[::-1]
    assert found.count == 30


def test_a_run_that_one_below_it_calls_is_not_below_itself(tmp_path: Path) -> None:
    """As only a hostile client says."""
    with recording(tmp_path) as (make, conn):
        one = make.run(parent="01942000-0000-7000-8000-000000000002")
        two = make.run(parent=one)
        itself = make.run(parent="01942000-0000-7000-8000-000000000003")
        assert [run.run_id for run in below(conn, summary(conn, one)).runs] == [two]
        assert below(conn, summary(conn, itself)).count == 0


def test_of_many_the_first_thousand_are_named_and_all_are_counted(tmp_path: Path) -> None:
    """In count and cost."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        make.conn.execute("BEGIN")
        for number in range(MOST_RUNS + 5):
            make.llm(make.run(at=number, parent=top), 1, 0, cost=0.5)
        make.conn.execute("COMMIT")
        found = below(conn, get_session(conn, "s1", limit=1).runs[0])
    assert (len(found.runs), found.count) == (MOST_RUNS, MOST_RUNS + 5)
    assert found.together.total_cost == 0.5 * (MOST_RUNS + 5)


def test_an_open_run_of_a_process_that_ended_is_interrupted(tmp_path: Path) -> None:
    """As everywhere."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        make.run(parent=top, seconds=None, process=make.process(alive=False))
        make.run(parent=top, at=1, seconds=None, process=make.process(alive=True))
        found = below(conn, summary(conn, top))
    assert [run.status for run in found.runs] == ["interrupted", "running"]


def test_together_they_have_the_sum_of_what_is_known(tmp_path: Path) -> None:
    """A cost that nobody knows is none of it; without calls it is 0."""
    with recording(tmp_path) as (make, conn):
        top = make.run()
        make.llm(top, 100, 10, cost=None)
        make.llm(make.run(parent=top), 50, 5, cost=0.25)
        unpriced = make.run()
        make.llm(make.run(parent=unpriced), 1, 1, cost=None, usage_known=0)
        quiet = make.run()
        make.run(parent=quiet)
        whole, unknown, nothing = (
            below(conn, summary(conn, one)).together for one in (top, unpriced, quiet)
        )
    assert (whole.run_id, whole.llm_calls, whole.total_tokens) == (top, 2, 165)
    assert (whole.total_cost, whole.priced_tokens) == (0.25, 55)
    assert (unknown.total_cost, unknown.unmetered_calls) == (None, 1)
    assert (nothing.total_cost, nothing.llm_calls) == (0.0, 0)
