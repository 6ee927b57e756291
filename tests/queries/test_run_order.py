"""The order of a session's runs, and what stands beside each."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tools.builders import moment, recording
from waxlocal.queries import get_run, get_session, get_turns, money, run_order, sessions, timing
from waxlocal.queries.turns import Place


def in_order(conn: sqlite3.Connection) -> list[str]:
    """Return the agents of the runs of the session `s`, in order."""
    return [run.agent_name for run in get_session(conn, "s").runs]


def test_a_clock_that_was_put_back_leaves_the_turns_in_order(tmp_path: Path) -> None:
    """In the conversation, in its cost and in its time; and the next turn is the next one."""
    with recording(tmp_path) as (make, conn):
        process = make.process(alive=True)
        one, two, three, four = (
            make.run("s", at=at, agent=agent, process=process)
            for agent, at in (("a", 7_200), ("b", 7_210), ("c", 3_620), ("d", 3_630))
        )
        assert in_order(conn) == ["a", "b", "c", "d"]
        assert [turn.run_id for turn in money(conn, "s").turns] == [one, two, three, four]
        took = timing(conn, "s")
        assert [turn.run_id for turn in took.turns] == [one, two, three, four]
        assert get_run(conn, three).previous_run_id == two
        assert get_run(conn, two).next_run_id == three
    assert took.wall_duration == 7_211 - 3_620


def test_what_only_arrived_late_is_where_it_began(tmp_path: Path) -> None:
    """From another process, from another machine, or after a longer run of the same process."""
    with recording(tmp_path) as (make, conn):
        one, other = make.process(alive=True), make.process(alive=False)
        make.run("s", at=100, agent="d", process=one)
        make.run("s", at=50, agent="b", process=other)
        make.run("s", at=60, agent="c")
        make.run("s", at=40, seconds=200, agent="a", process=one)
        assert in_order(conn) == ["a", "b", "c", "d"]


def test_ids_of_somebody_else_say_nothing_of_the_order(tmp_path: Path) -> None:
    """A program may name its runs as it likes: only ours increase."""
    with recording(tmp_path) as (make, conn):
        process = make.process(alive=True)
        for at, agent, letter in ((10, "a", "f"), (3_600, "b", "1")):
            foreign = f"{letter * 8}-0000-4000-8000-000000000000"
            make.insert(
                "runs", run_id=foreign, agent_name=agent, workflow_name="default", session_id="s",
                trace_id=foreign, interaction_mode="interactive", process_id=process,
                status="success", started_at=moment(at), completed_at=moment(at + 1), duration=1.0,
            )  # fmt: skip
        assert in_order(conn) == ["a", "b"]


def test_a_very_long_session_goes_by_the_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages and neighbours are found by an index."""
    for module in (run_order, sessions):
        monkeypatch.setattr(module, "MOST_IN_ORDER", 3)
    with recording(tmp_path) as (make, conn):
        made = [make.run("s", at=at) for at in (30, 10, 20, 40)]
        nested = make.run("other", at=15)
        found = get_session(conn, "s", limit=2, offset=1)
        turns = get_turns(conn, "s", limit=2, offset=2)
        beside = [(get_run(conn, one).previous_run_id, get_run(conn, one).next_run_id)
                  for one in made]  # fmt: skip
    assert [run.run_id for run in found.runs] == [made[2], made[0]]
    assert [place.turn for place in found.places] == [2, 3]
    assert [run.run_id for run in turns.runs] == [made[0], made[3]]
    assert beside == [(made[2], made[3]), (None, made[2]), (made[1], made[0]), (made[0], None)]
    assert nested not in {run.run_id for run in found.runs}


@given(st.lists(st.integers(-5_000, 5_000) | st.integers(-3, 3), min_size=1, max_size=12))
@example([-310, 308, 0])  # the clock catches up
@example([-2, 0])
def test_runs_of_one_process_stay_as_they_were_recorded(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[int]
) -> None:
    """However its clock jumps between them, one after the other."""
    with recording(tmp_path_factory.mktemp("order")) as (make, conn):
        process, now, made = make.process(alive=True), 100_000.0, []
        for jump in jumps:
            made.append(make.run("s", at=now, seconds=1.0, process=process))
            now += 1.0 + jump
        found = get_session(conn, "s").runs
    assert [run.run_id for run in found] == made


def test_the_turns_of_a_page_come_with_their_sub_agents(tmp_path: Path) -> None:
    """Those of other turns are elsewhere."""
    with recording(tmp_path) as (make, conn):
        for number in range(5):
            turn = make.run(at=number * 10, agent=f"t{number}")
            for helper in range(3):
                make.run(at=number * 10 + helper, agent=f"h{number}", parent=turn)
        found = get_turns(conn, "s1", limit=2, offset=2)
        beyond = get_turns(conn, "s1", limit=2, offset=9)
    assert [run.agent_name for run in found.runs] == ["t2", *["h2"] * 3, "t3", *["h3"] * 3]
    assert found.places[0] == Place(3, nested=False)
    assert found.places[-1] == Place(4, nested=True)
    assert (beyond.runs, beyond.session.turn_count) == ((), 5)


def test_a_turn_has_the_first_thousand_runs_of_its_sub_agents(tmp_path: Path) -> None:
    """And its own always."""
    with recording(tmp_path) as (make, conn):
        turn = make.run(at=5_000)
        make.conn.execute("BEGIN")
        for number in range(1_005):
            make.run(at=number, parent=turn)
        make.conn.execute("COMMIT")
        found = get_turns(conn, "s1")
    assert len(found.runs) == 1_001
    assert found.runs[-1].run_id == turn


def test_beside_a_run_of_a_sub_agent_are_those_of_its_turn(tmp_path: Path) -> None:
    """And beside a turn other turns."""
    with recording(tmp_path) as (make, conn):
        first = make.run(at=0)
        helpers = [make.run(at=1 + number, parent=first) for number in range(3)]
        second = make.run(at=9)
        make.run(at=10, parent=second)
        beside = {
            one: (get_run(conn, one).previous_run_id, get_run(conn, one).next_run_id)
            for one in (first, *helpers, second)
        }
    assert beside == {
        first: (None, second),
        helpers[0]: (None, helpers[1]),
        helpers[1]: (helpers[0], helpers[2]),
        helpers[2]: (helpers[1], None),
        second: (first, None),
    }
