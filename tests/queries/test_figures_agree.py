"""The list, the statistics, the session, its page, the API and the commands say the same.

And that is what a plain program computes from the runs and calls.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.builders import Builder, moment, run_id
from tests.tools.cli import answer
from tests.tools.examples import examples
from tests.tools.pages import dashboard
from waxlocal.delivery.interruption import interrupt_gone
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
from waxlocal.records import RUN_STATUSES
from waxlocal.storage.connection import open_writer, reader

FAILED = ("error", "blocked", "interrupted")


@dataclass(frozen=True)
class Call:
    """An LLM call that ended so many seconds after its run began, if that had not ended."""

    after: float
    tokens: int
    cost: float | None


@dataclass
class Run:
    """A run; `parent` is the number of the run that called it."""

    session: str
    user: str | None
    at: float
    seconds: float | None
    status: str
    parent: int | None
    calls: Sequence[Call]
    number: int = 0
    turn: Run = field(init=False, repr=False)

    @property
    def end(self) -> float:
        return self.at if self.seconds is None else self.at + self.seconds

    def ended(self, call: Call) -> float:
        """When a call ended."""
        return self.at + (call.after if self.seconds is None else min(call.after, self.seconds))

    @property
    def is_turn(self) -> bool:
        return self.turn is self

    caller: Run | None = None

    @property
    def owner(self) -> str | None:
        """Whose it is: of whom it names, or of who called it."""
        return self.user or (None if self.caller is None else self.caller.owner)

    @property
    def shown(self) -> str:
        """Its process has ended, where it is open."""
        return "interrupted" if self.status == "running" else self.status


calls = st.builds(
    Call,
    st.sampled_from([0.0, 0.25, 30.0]),
    st.integers(0, 2_000),
    st.sampled_from([None, 0.0, 0.25, 1.5]),
)


@st.composite
def files(draw: st.DrawFn) -> list[Run]:
    """Draw runs in order of arrival: some nested, of several users, open, with clocks set back."""
    made: list[Run] = []
    for number in range(1, draw(st.integers(1, 14)) + 1):
        status = draw(st.sampled_from(["success"] * 3 + ["running", "cancelled", *FAILED]))
        run = Run(
            session=draw(st.sampled_from("abcd")),
            user=draw(st.sampled_from([None, "alice", "bob"])),
            at=draw(st.integers(0, 400)) / 4,
            seconds=None if status == "running" else draw(st.sampled_from([0.25, 1.0, 7.5])),
            status=status,
            parent=draw(st.sampled_from([None, None, *range(1, number)])),
            calls=draw(st.lists(calls, max_size=3)),
            number=number,
        )
        above = None if run.parent is None else made[run.parent - 1]
        run.caller = None if above is None or above.session != run.session else above
        run.turn = run if run.caller is None else run.caller.turn
        made.append(run)
    return made


def record(runs: Iterable[Run], path: Path) -> None:
    """Write them to a file."""
    with closing(open_writer(path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        gone = make.process(alive=False)
        for run in runs:
            new = make.run(
                run.session,
                at=run.at,
                seconds=run.seconds,
                user=run.user,
                status=run.status,
                process=gone,
                parent=None if run.parent is None else run_id(run.parent),
            )
            for call in run.calls:
                make.llm(new, call.tokens, 0, cost=call.cost, at=run.ended(call))


def known(costs: Iterable[float | None]) -> float | None:
    """Return the sum of the costs that are known; None where none of some is."""
    every = list(costs)
    given = [cost for cost in every if cost is not None]
    return float(sum(given)) if given or not every else None


def status_of(turns: Iterable[Run]) -> str:
    shown = {turn.shown for turn in turns}
    if "interrupted" in shown:
        return "interrupted"
    return "error" if shown & {"error", "blocked"} else "success"


def session_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what a session adds up to."""
    turns = [run for run in runs if run.is_turn]
    named = [run.user for run in runs if run.user is not None]
    last = max(max(run.at, run.end) for run in runs)
    return {
        "turn_count": len(turns),
        "run_count": len(runs),
        "failed_turns": sum(turn.shown in FAILED for turn in turns),
        "failed_runs": sum(run.shown in FAILED for run in runs),
        "open_runs": 0,
        "status": status_of(turns),
        "total_duration": sum(turn.seconds or 0.0 for turn in turns),
        "total_cost": known(call.cost for run in runs for call in run.calls),
        "total_tokens": sum(call.tokens for run in runs for call in run.calls),
        "last_activity_at": moment(last),
        "wall_duration": last - min(run.at for run in runs),
        "user_id": named[0] if named else None,
        "users": [*dict.fromkeys([*named[:1], *sorted(named)])],
    }


def figures_of(sessions: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the statistics of these sessions."""
    listed = list(sessions)
    turns = sorted(one["turn_count"] for one in listed)
    costs = sorted(one["total_cost"] for one in listed if one["total_cost"] is not None)
    durations = sorted(one["total_duration"] for one in listed)
    elapsed = sorted(one["wall_duration"] for one in listed)
    waiting = sorted(max(0.0, one["wall_duration"] - one["total_duration"]) for one in listed)
    alone = [one for one in listed if one["turn_count"] == 1]
    visits = Counter(user for one in listed for user in one["users"])
    middle = len(turns) // 2
    return {
        "sessions": len(listed),
        "turns": sum(turns),
        "runs": sum(one["run_count"] for one in listed),
        "average_turns": sum(turns) / len(turns),
        "median_turns": (turns[middle] + turns[-middle - 1]) / 2,
        "distribution": dict(Counter(turns)),
        "abandoned": turns.count(1),
        "abandonment_rate": turns.count(1) / len(turns),
        "not_over": 0,
        "abandoned_cost": sum(one["total_cost"] or 0.0 for one in alone),
        "average_elapsed": sum(one["wall_duration"] for one in listed) / len(listed),
        "p95_elapsed": elapsed[int(len(elapsed) * 0.95)],
        "average_waiting": sum(waiting) / len(waiting),
        "p50_waiting": waiting[len(waiting) // 2],
        "users": len(visits),
        "returning_users": sum(count > 1 for count in visits.values()),
        "abandoned_error": sum(
            one["turn_count"] == 1 and one["status"] != "success" for one in listed
        ),
        "priced_sessions": len(costs),
        "total_cost": sum(costs) if costs else None,
        "average_cost": sum(costs) / len(costs) if costs else None,
        "p95_cost": costs[int(len(costs) * 0.95)] if costs else None,
        "average_duration": sum(durations) / len(durations),
        "p50_duration": durations[len(durations) // 2],
    }


def users_of(by_session: dict[str, list[Run]]) -> dict[str, dict[str, Any]]:
    """Return what each user's runs add up to; in a session of one user, all of them are theirs."""
    owned: dict[str, list[Run]] = {}
    for runs in by_session.values():
        named = {run.user for run in runs} - {None}
        for run in runs:
            owner = run.owner
            if len(named) == 1:
                (owner,) = named
            if owner is not None:
                owned.setdefault(owner, []).append(run)
    return {
        user: {
            "session_count": len({run.session for run in runs}),
            "turn_count": sum(run.is_turn for run in runs),
            "run_count": len(runs),
            "total_cost": known(call.cost for run in runs for call in run.calls),
            "total_tokens": sum(call.tokens for run in runs for call in run.calls),
            "total_duration": sum(run.seconds or 0.0 for run in runs if run.is_turn),
        }
        for user, runs in owned.items()
    }


def agrees(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    """Assert that what is shown has what is expected, floats to the last digits."""
    for name, value in expected.items():
        same = pytest.approx(value) if isinstance(value, float) else value
        assert shown[name] == same, name


def sessions_in(runs: Iterable[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.session, []).append(run)
    return found


def asked(path: Path, question: Any) -> Any:
    with reader(path) as conn:
        return question(conn)


@given(files())
@settings(max_examples=examples(150), deadline=None)
def test_every_query_agrees_with_a_plain_program(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Run]
) -> None:
    """Sessions, their statuses, statistics, users, and the cost of each turn."""
    path = tmp_path_factory.mktemp("figures") / "waxlocal.db"
    record(runs, path)
    by_session = sessions_in(runs)
    expected = {name: session_of(some) for name, some in by_session.items()}
    with reader(path) as conn:
        listed = {one.session_id: as_dict(one) for one in list_sessions(conn)}
        assert listed.keys() == expected.keys()
        for name, session in expected.items():
            agrees(listed[name], session)
            turns_agree(conn, name, by_session[name])
        agrees(as_dict(statistics(conn)), figures_of(expected.values()))
        users = {one.user_id: as_dict(one) for one in list_users(conn)}
        for user, sums in users_of(by_session).items():
            agrees(users[user], sums)
        for status in RUN_STATUSES:
            count = count_sessions(conn, filter=SessionFilter(status=status))
            assert count == expected_with(status, by_session, expected), status


def expected_with(
    status: str, by_session: dict[str, list[Run]], expected: dict[str, dict[str, Any]]
) -> int:
    """Return how many sessions have a status; that of any of its turns counts for these two."""
    if status in ("blocked", "cancelled"):
        return sum(
            any(run.is_turn and run.status == status for run in runs)
            for runs in by_session.values()
        )
    return sum(one["status"] == status for one in expected.values())


def turns_agree(conn: sqlite3.Connection, session: str, runs: Sequence[Run]) -> None:
    """Assert that each turn costs what its run and those of its sub-agents do."""
    places = {
        run.run_id: place
        for detail in [get_session(conn, session)]
        for run, place in zip(detail.runs, detail.places, strict=True)
    }
    spent = {turn.run_id: turn for turn in money(conn, session).turns}
    assert len(spent) == sum(run.is_turn for run in runs)
    for run in runs:
        assert places[run_id(run.number)].nested is not run.is_turn
        if run.is_turn:
            inside = [one for one in runs if one.turn is run]
            turn = spent[run_id(run.number)]
            tokens = sum(call.tokens for one in inside for call in one.calls)
            assert (turn.runs, turn.total_tokens) == (len(inside), tokens)
            assert places[run_id(run.number)].turn == turn.number
            assert {places[run_id(one.number)].turn for one in inside} == {turn.number}


@given(files(), st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=examples(60), deadline=None)
def test_the_statistics_of_a_period_are_of_what_happened_in_it(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Run], since: int, length: int
) -> None:
    """Turns that began in it, calls that ended in it; what came before and after does not count."""
    path = tmp_path_factory.mktemp("period") / "waxlocal.db"
    record(runs, path)
    until = since + length
    period = SessionFilter(since=moment(since), until=moment(until))
    figures = asked(path, lambda conn: statistics(conn, filter=period))
    counts, costs, single, touched = [], [], 0, 0
    for some in sessions_in(runs).values():
        begun = [run for run in some if since <= run.at <= until]
        turns = [run for run in begun if run.is_turn]
        ended = [call for run in some for call in run.calls if since <= run.ended(call) <= until]
        touched += bool(begun or ended)
        counts += [len(turns)] if turns else []
        single += len(turns) == sum(run.is_turn for run in some) == 1
        cost = known(call.cost for call in ended)
        costs += [cost] if cost is not None and (begun or ended) else []
    assert (figures.sessions, figures.turns, figures.abandoned) == (touched, sum(counts), single)
    assert figures.distribution == dict(Counter(counts))
    assert figures.abandonment_rate == (single / len(counts) if counts else None)
    assert figures.total_cost == (pytest.approx(sum(costs)) if costs else None)
    assert figures.priced_sessions == len(costs)


@given(files())
@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_commands_api_and_pages_show_the_same(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Run]
) -> None:
    """Each session and the statistics, as JSON and in the page."""
    path = tmp_path_factory.mktemp("shown") / "waxlocal.db"
    record(runs, path)
    interrupt_gone(path, all_runs=True)  # the server does, at some moment between two questions
    for run in reversed(runs):
        if run.status == "running":
            inside = [one for one in runs if one.parent == run.number]
            known = [run.ended(call) for call in run.calls]
            known += [moment for one in inside for moment in (one.at, one.end)]
            run.seconds = max([run.at, *known]) - run.at
            run.status = "interrupted"
    expected = {name: session_of(some) for name, some in sessions_in(runs).items()}
    by_command = answer("sessions", db=path)
    with dashboard(path) as pages:
        by_api = pages.get("/api/v1/observability/sessions/").json()["results"]
        figures = pages.get("/api/v1/observability/sessions/stats/").json()
        for name, session in expected.items():
            for rows in (by_command, by_api):
                agrees(next(one for one in rows if one["session_id"] == name), session)
            agrees(answer("session", name, db=path), session)
            agrees(pages.get(f"/api/v1/observability/sessions/{name}/").json(), session)
            row = pages.page("/").one("tr", data_live=f"session {name}")
            assert row.one("td", "turns").text.split()[-1] == str(session["turn_count"])
            totals = pages.page(f"/sessions/{name}").one("section", data_live="totals").text
            assert totals.startswith(f"Totals Turns {session['turn_count']}")
    stated = figures_of(expected.values())
    stated["distribution"] = {str(turns): n for turns, n in stated["distribution"].items()}
    agrees(figures, stated)
    agrees(answer("stats", db=path), stated)
