"""A turn is a run whose parent is not in its session; its sub-agents belong to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder, moment, recording, run_id
from tests.tools.file_versions import old_file
from waxlocal.maintenance import session_counts
from waxlocal.maintenance.session_counts import count_turns
from waxlocal.queries import (
    SessionFilter,
    as_dict,
    count_sessions,
    get_session,
    list_sessions,
    list_users,
    money,
    statistics,
)
from waxlocal.queries.overview import overview, turn_sizes
from waxlocal.queries.turns import Place, places
from waxlocal.storage.connection import open_writer, reader


def ask(make: Builder, session: str, at: float, helpers: int = 2) -> str:
    """Record a turn of one second that two sub-agents answered, half a second each."""
    turn = make.run(session, at=at, seconds=1.0, agent="desk")
    make.llm(turn, 100, 10, cost=0.10)
    for number in range(helpers):
        nested = make.run(session, at=at + number / 2, seconds=0.5, agent="helper", parent=turn)
        make.llm(nested, 50, 5, cost=0.05)
    return turn


def test_sub_agents_are_no_turns(tmp_path: Path) -> None:
    """Ten sessions of one question and ten of two: 1.5 turns on average, half of one turn."""
    with recording(tmp_path) as (make, conn):
        for number in range(20):
            for turn in range(1 + number % 2):
                ask(make, f"s{number}", at=number * 100 + turn * 10)
        figures = statistics(conn)
        totals = overview(conn).totals
    assert (figures.average_turns, figures.abandonment_rate) == (1.5, 0.5)
    assert (figures.distribution, figures.turns, figures.runs) == ({1: 10, 2: 10}, 30, 90)
    assert (totals.turns, totals.runs, totals.one_turn) == (30, 90, 10)
    assert figures.p50_duration == 2.0


def test_the_time_of_a_turn_is_its_own_and_its_cost_is_that_of_all(tmp_path: Path) -> None:
    """Nested time is counted once, nested tokens and costs are part of the turn's."""
    with recording(tmp_path) as (make, conn):
        ask(make, "s", at=0)
        ask(make, "s", at=10, helpers=0)
        (session,) = list_sessions(conn)
        spent = money(conn, "s")
        sizes = turn_sizes(conn, ["s"])
    assert (session.total_duration, session.turn_count, session.run_count) == (2.0, 2, 4)
    assert session.total_cost == pytest.approx(0.30)
    shown = [(turn.number, turn.runs, turn.llm_calls, turn.tokens_in) for turn in spent.turns]
    assert shown == [(1, 3, 3, 200), (2, 1, 1, 100)]
    assert [turn.cost for turn in spent.turns] == pytest.approx([0.20, 0.10])
    assert sizes == {"s": (220, 110)}


@pytest.mark.parametrize("status", ["error", "blocked", "interrupted"])
def test_a_sub_agent_that_failed_fails_no_session(tmp_path: Path, status: str) -> None:
    """It was asked again, and the turn was fine: only the runs say that one failed."""
    with recording(tmp_path) as (make, conn):
        turn = make.run("s", seconds=2.0)
        make.run("s", at=0.1, status=status, parent=turn)
        make.run("s", at=1.1, parent=turn)
        (session,) = list_sessions(conn)
        found = {
            name: count_sessions(conn, filter=SessionFilter(status=name))
            for name in ("success", "error", "blocked", "interrupted", "running")
        }
        figures = statistics(conn)
    assert (session.status, session.failed_turns, session.failed_runs) == ("success", 0, 1)
    assert found == {"success": 1, "error": 0, "blocked": 0, "interrupted": 0, "running": 0}
    assert (figures.abandoned_fine, figures.abandoned_error) == (1, 0)


def test_a_turn_that_failed_fails_its_session(tmp_path: Path) -> None:
    """Whatever its sub-agents did."""
    with recording(tmp_path) as (make, conn):
        turn = make.run("s", seconds=2.0, status="error")
        make.run("s", at=0.1, parent=turn)
        (session,) = list_sessions(conn, filter=SessionFilter(status="error"))
    assert (session.status, session.failed_turns) == ("error", 1)


def test_a_killed_sub_agent_is_its_turns_to_tell(tmp_path: Path) -> None:
    """A turn that went on without it was not interrupted; one that was killed with it was."""
    with recording(tmp_path) as (make, conn):
        gone = make.process(alive=False)
        make.run("fine", parent=make.run("fine"), seconds=None, process=gone)
        make.run("killed", parent=make.run("killed", seconds=None, process=gone), at=1.0,
                 seconds=None, process=gone)  # fmt: skip
        listed = {one.session_id: one.status for one in list_sessions(conn)}
        filtered = {
            name: [one.session_id for one in list_sessions(conn, filter=SessionFilter(status=name))]
            for name in ("success", "interrupted")
        }
        figures = statistics(conn)
    assert (figures.abandoned_fine, figures.abandoned_error, figures.not_over) == (1, 1, 0)
    assert listed == {"fine": "success", "killed": "interrupted"}
    assert filtered == {"success": ["fine"], "interrupted": ["killed"]}


def test_a_run_whose_parent_is_elsewhere_is_a_turn(tmp_path: Path) -> None:
    """In another session, or on another machine: in its own session nothing called it."""
    with recording(tmp_path) as (make, conn):
        caller = make.run("caller")
        make.run("called", parent=caller)
        make.run("called", parent="of another machine")
        listed = {one.session_id: one.turn_count for one in list_sessions(conn)}
    assert listed == {"caller": 1, "called": 2}


def test_a_run_that_arrives_after_its_sub_agents_takes_them_over(tmp_path: Path) -> None:
    """They were turns until then; deleted, it leaves them as turns again."""
    with recording(tmp_path) as (make, conn):
        late = run_id(3)
        for number in range(2):
            make.run("s", at=number, seconds=1.0, parent=late)
        (before,) = list_sessions(conn)
        assert make.run("s", seconds=5.0) == late
        (after,) = list_sessions(conn)
        make.conn.execute("DELETE FROM runs WHERE run_id = ?", (late,))
        (left,) = list_sessions(conn)
    assert (before.turn_count, before.total_duration) == (2, 2.0)
    assert (after.turn_count, after.total_duration) == (1, 5.0)
    assert (left.turn_count, left.total_duration) == (2, 2.0)


def test_each_run_is_placed_in_its_turn(tmp_path: Path) -> None:
    """However deep; and on a later page, too."""
    with recording(tmp_path) as (make, conn):
        first = make.run("s", at=0)
        below = make.run("s", at=1, parent=first)
        make.run("s", at=2, parent=below)
        make.run("s", at=3)
        make.run("s", at=4, parent=below)
        whole = get_session(conn, "s")
        later = get_session(conn, "s", limit=2, offset=3)
        changed = money(conn, "s")
    assert [tuple(place) for place in whole.places] == [
        (1, False), (1, True), (1, True), (2, False), (1, True),
    ]  # fmt: skip
    assert later.places == (Place(2, False), Place(1, True))
    assert [turn.runs for turn in changed.turns] == [4, 1]


def test_runs_that_name_each_other_as_parent_are_one_turn(tmp_path: Path) -> None:
    """No figure is divided by nothing, and no query goes round in a circle."""
    with recording(tmp_path) as (make, conn):
        make.run("s", parent=run_id(2), seconds=1.0)
        make.run("s", at=1, parent=run_id(1), seconds=1.0)
        make.run("itself", parent=run_id(3), seconds=1.0)
        circle, itself = (get_session(conn, one).session for one in ("s", "itself"))
        figures = statistics(conn)
        sizes = turn_sizes(conn, ["s", "itself"])
        spent = money(conn, "s")
    assert (circle.turn_count, itself.turn_count) == (1, 1)
    assert figures.distribution == {1: 2}
    assert (len(sizes["s"]), len(sizes["itself"])) == (0, 1)
    assert [turn.runs for turn in spent.turns] == [2]
    assert places([("a", "wf_a")]) == {"a": Place(1, False)}


def test_a_session_belongs_to_all_who_took_part(tmp_path: Path) -> None:
    """In a shared channel each has what their own turns cost, and the filter finds it for each."""
    with recording(tmp_path) as (make, conn):
        for number, (user, cost) in enumerate((("alice", 0.01), ("bob", 5.0), ("bob", 1.0))):
            turn = make.run("channel", user=user, at=number * 10, agent=f"of {user}")
            make.llm(turn, cost=cost)
            make.llm(make.run("channel", at=number * 10 + 0.5, parent=turn), cost=0.25)
        make.llm(make.run("channel", at=50), cost=9.0)
        make.llm(make.run("own", user="bob", at=60), cost=0.5)
        make.llm(make.run("own", at=70), cost=0.5)
        found = {
            name: {
                one.session_id for one in list_sessions(conn, filter=SessionFilter(user_id=name))
            }
            for name in ("alice", "bob", "carol")
        }
        (session,) = (one for one in list_sessions(conn) if one.session_id == "channel")
        users = {one.user_id: one for one in list_users(conn)}
    assert found == {"alice": {"channel"}, "bob": {"channel", "own"}, "carol": set()}
    assert (session.user_id, session.users, session.user_count) == ("alice", ("alice", "bob"), 2)
    assert users["alice"].total_cost == pytest.approx(0.26)
    assert users["bob"].total_cost == pytest.approx(6.5 + 1.0)
    assert {name: (one.session_count, one.turn_count, one.run_count)
            for name, one in users.items()} == {"alice": (1, 1, 2), "bob": (2, 4, 6)}  # fmt: skip
    assert users["alice"].agents == ("chatbot", "of alice")


def test_the_last_end_counts_to_the_microsecond(tmp_path: Path) -> None:
    """Also where a run ends in the second in which it began; a time between the two finds it."""
    with recording(tmp_path) as (make, conn):
        make.run("s", at=0.1, seconds=None)
        make.conn.execute(
            "UPDATE runs SET status = 'success', duration = 0.676, completed_at = ?",
            (moment(0.776),),
        )
        (session,) = list_sessions(conn)
        found = [
            count_sessions(conn, filter=SessionFilter(since=moment(at))) for at in (0.7, 0.776, 0.8)
        ]
        until = [
            count_sessions(conn, filter=SessionFilter(until=moment(at))) for at in (0.7, 0.776)
        ]
    assert (session.last_activity_at, session.wall_duration) == (moment(0.776), 0.676)
    assert session.total_duration == 0.676
    assert (found, until) == ([1, 1, 0], [0, 1])


def of_before(path: Path) -> None:
    """Write a file of version 2: sessions with sub-agents and several users."""
    old_file(path, 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        for table in ("llm_calls", "steps", "spans", "scores", "events", "runs", "sessions"):
            conn.execute(f"DELETE FROM {table}")
        make = Builder(conn)
        for number in range(7):
            turn = make.run(f"s{number}", user="alice", at=number * 100, seconds=2.5)
            nested = make.run(f"s{number}", at=number * 100 + 1, parent=turn, status="error")
            make.run(f"s{number}", user="bob", at=number * 100 + 10, parent=nested, seconds=0.25)
            make.run(f"s{number}", user="bob", at=number * 100 + 20, seconds=0.75)


def figures_of(path: Path) -> list[object]:
    """Return what the queries say of a file."""
    with reader(path) as conn:
        return [
            [as_dict(one) for one in list_sessions(conn, ordering="-turn_count")],
            as_dict(statistics(conn)),
            as_dict(overview(conn).totals),
            [as_dict(one) for one in list_users(conn)],
            [one.session_id for one in list_sessions(conn, filter=SessionFilter(user_id="bob"))],
            count_sessions(conn, filter=SessionFilter(status="success")),
        ]


def test_sessions_of_an_earlier_version_are_counted_without_a_wait(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the upgrade, after it, half counted and counted: the same figures."""
    monkeypatch.setattr(session_counts, "PIECE", 3)
    of_before(db_path)
    found = [figures_of(db_path)]
    open_writer(db_path).close()
    found.append(figures_of(db_path))
    with closing(open_writer(db_path)) as conn:
        assert session_counts._count(conn) == 3
    found.append(figures_of(db_path))
    assert count_turns(db_path, 0.0) == 0
    assert count_turns(db_path) == 3 + 3  # the last one of a piece is the first one of the next
    found.append(figures_of(db_path))
    assert count_turns(db_path) == 0
    sessions, *_ = found[0]
    assert [one["turn_count"] for one in sessions] == [2] * 7  # type: ignore[attr-defined]
    assert [one["users"] for one in sessions] == [["alice", "bob"]] * 7  # type: ignore[attr-defined]
    assert all(one == found[0] for one in found)


def test_a_session_that_goes_on_before_it_is_counted_is_counted_once(db_path: Path) -> None:
    """Its new runs, too: what counts them takes all of its runs."""
    of_before(db_path)
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        make._runs = 100
        make.run("s3", parent=make.run("s3", user="carol", at=350), at=351)
        make.run("new", at=352, user="dan")
    before = figures_of(db_path)
    assert count_turns(db_path) == 8
    assert count_turns(db_path) == 0
    assert figures_of(db_path) == before
    with reader(db_path) as conn:
        (session,) = (one for one in list_sessions(conn) if one.session_id == "s3")
    assert (session.turn_count, session.users) == (3, ("alice", "bob", "carol"))


ODD_IDS = [
    "''",
    "x'00ff'",
    "'a' || char(0) || 'b'",
    "'a' || char(0) || 'c'",
    "CAST(x'ff61' AS TEXT)",
]


@pytest.mark.parametrize(("piece", "runs"), [(2, 5_000), (500, 1), (500, 5_000)])
def test_a_session_with_an_odd_id_is_counted_like_any_other(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, runs: int
) -> None:
    """Empty, of bytes, with a NUL, not UTF-8: any program may have written it."""
    monkeypatch.setattr(session_counts, "PIECE", piece)
    monkeypatch.setattr(session_counts, "RUNS_IN_PIECE", runs)
    of_before(db_path)
    with closing(sqlite3.connect(db_path, isolation_level=None)) as conn:
        for number, odd in enumerate(ODD_IDS):
            conn.execute(
                f"""
                INSERT INTO runs (run_id, agent_name, workflow_name, session_id, user_id, trace_id,
                  parent_workflow_id, interaction_mode, status, started_at, duration)
                SELECT {number} || '-' || run_id, agent_name, workflow_name, {odd}, user_id,
                  trace_id, 'wf_{number}-' || substr(parent_workflow_id, 4), interaction_mode,
                  status, started_at, duration
                FROM runs WHERE session_id = 's1'
                """
            )
    open_writer(db_path).close()
    assert count_turns(db_path) >= 12
    assert count_turns(db_path) == 0
    with closing(sqlite3.connect(db_path)) as conn:
        counted = conn.execute("SELECT nested_runs, nested_duration FROM sessions").fetchall()
        users = conn.execute("SELECT count(*) FROM session_users").fetchone()[0]
    assert counted == [(2, 1.25)] * 12
    assert users == 24


def test_a_sub_agent_whose_clock_is_behind_moves_no_turn(tmp_path: Path) -> None:
    """Turns have the numbers of their order, in the list and in the cost."""
    with recording(tmp_path) as (make, conn):
        first = make.run("s", at=0)
        second = make.run("s", at=1)
        early = make.run("s", at=-0.5, parent=second)
        found = get_session(conn, "s")
        spent = money(conn, "s")
    placed = {run.run_id: place for run, place in zip(found.runs, found.places, strict=True)}
    assert placed == {first: Place(1, False), second: Place(2, False), early: Place(2, True)}
    assert [(turn.number, turn.run_id) for turn in spent.turns] == [(1, first), (2, second)]
