"""The totals that are added up now and then: every answer is the same with them and without."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.builders import Builder, FixedClock, moment
from tests.tools.examples import examples
from tests.tools.row_changes import CHANGE, apply
from waxlocal.maintenance.sums import add_up
from waxlocal.maintenance.upkeep import keep_up
from waxlocal.queries import (
    USER_ORDERINGS,
    SessionFilter,
    as_dict,
    list_models,
    list_sessions,
    list_users,
    statistics,
)
from waxlocal.queries.models import ModelsOverTime, model_usage, models_over_time
from waxlocal.queries.overview import overview
from waxlocal.queries.sessions import session_ids
from waxlocal.queries.statistics import analysis
from waxlocal.queries.sums import are_usable
from waxlocal.queries.users import count_users
from waxlocal.records import RUN_STATUSES
from waxlocal.storage.connection import open_writer, reader

# Since and until: of runs whose calls are of three days, all, some or none.
PERIODS = [
    (since, until)
    for since in (None, moment(50_000), "2026-02-01")
    for until in (None, "2026-02-01", moment(200_000))
    if since or until
]
TAG_FILTERS = (
    *("plan", "plan=free", "x", "x=1", "x=null", "y=true", 'plan=["free"]', "café=x", "n\0=1", "n"),
    *('pl"an=fr\nee', "0", ",", "="),
)
ORDERINGS = [f"{sign}{name}" for name in USER_ORDERINGS for sign in ("", "-")]
Answer = TypeVar("Answer")
SESSION_ORDERINGS = ("total_cost", "-total_cost", "total_duration", "-total_duration")


class Ticks:
    """A clock that goes on by a millisecond whenever it is looked at."""

    def __init__(self) -> None:
        self._ns = 0

    def time_ns(self) -> int:
        """Return nanoseconds."""
        self._ns += 1_000_000
        return self._ns

    monotonic_ns = time_ns


def answers(path: Path) -> dict[str, Any]:
    """Return all that totals are used for."""
    with reader(path) as conn:
        return {
            "statistics": as_dict(statistics(conn)),
            "while some go on": as_dict(statistics(conn, clock=FixedClock(2_000.0))),
            "costs": [astuple(one) for one in analysis(conn).costs],
            "totals": asdict(overview(conn).totals),
            "models": [as_dict(one) for one in list_models(conn)],
            "days": [as_dict(one) for one in model_usage(conn).days],
            "periods": [
                [as_dict(one) for kind in model_usage(conn, since=a, until=b) for one in kind]
                for a, b in PERIODS
            ],
            "tags": {
                tag: [one.session_id for one in list_sessions(conn, filter=SessionFilter(tag=tag))]
                for tag in TAG_FILTERS
            },
            "sessions by status": {
                status: [*session_ids(conn, filter=SessionFilter(status=status))]
                for status in RUN_STATUSES
            },
            "sessions by model": {
                model: [*session_ids(conn, filter=SessionFilter(model=model))]
                for model in ("gpt-4o", "gpt-4", "claude", "own", "c*", "*", "x*")
            },
            "agents": {
                agent: [as_dict(one) for one in list_models(conn, agent=agent, since=since)]
                for agent in ("chatbot", "researcher")
                for since in (None, "2026-02-01")
            },
            "spent": [
                cost_of(models_over_time(conn, since=a, until=b))
                for a, b in (*PERIODS, (None, None))
            ],
            "count": count_users(conn),
            "users": {
                one: [as_dict(u) for u in list_users(conn, ordering=one)] for one in ORDERINGS
            },
        }


def pages(path: Path) -> dict[tuple[str, int], list[str]]:
    """Return the sessions on small pages of all of them."""
    with reader(path) as conn:
        return {
            (one, at): [s.session_id for s in list_sessions(conn, ordering=one, limit=2, offset=at)]
            for one in SESSION_ORDERINGS
            for at in (0, 1, 3)
        }


def cost_of(found: ModelsOverTime) -> object:
    """Return what models cost over time, as far as the order of adding does not matter."""
    return found.cost and (astuple(found.cost.timeline), dict(found.cost.series))


def plainly(path: Path, asked: Callable[[Path], Answer]) -> Answer:
    """Return the same without totals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("waxlocal.queries.sums.MOST_APART", 0)
        with reader(path) as conn:
            assert not are_usable(conn)
        return asked(path)


def plain_answers(path: Path) -> dict[str, Any]:
    """Return all that totals are used for, without them."""
    return plainly(path, answers)


def rounded(value: Any) -> Any:
    """Return an answer whose floats may be compared: another order of adding changes their ends."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value


def select(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(sql).fetchall()


def change_all(path: Path, changes: Iterable[tuple[Any, ...]]) -> None:
    """Make the changes; some of them are to add up, for so many milliseconds."""
    with closing(open_writer(path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        for day in range(2):
            make.llm(make.run("a", user="alice"), at=day * 86_400, cost=0.5, duration_ms=7)
        # The next run begins another block.
        conn.execute("UPDATE runs SET id = 4093 + id")
        for change in changes:
            if change[0] == "add up":
                add_up(path, change[1] / 1_000, Ticks(), enough=1)
            else:
                apply(make, change)


@given(
    st.lists(
        st.one_of(CHANGE, CHANGE, st.tuples(st.just("add up"), st.sampled_from([2, 5, 100]))),
        max_size=40,
    )
)
@settings(max_examples=examples(60), deadline=None)
def test_every_answer_is_the_same_with_totals_and_without(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[Any, ...]]
) -> None:
    """Whatever came, changed or went before and after the totals were added up, wholly or half."""
    path = tmp_path_factory.mktemp("sums") / "waxlocal.db"
    change_all(path, [*made[:20], ("add up", 100), *made[20:]])
    assert rounded(answers(path)) == rounded(plain_answers(path))
    assert pages(path) == plainly(path, pages)
    add_up(path, enough=1)
    assert rounded(answers(path)) == rounded(plain_answers(path))
    assert pages(path) == plainly(path, pages)
    with reader(path) as conn:
        assert are_usable(conn) == bool(select(path, "SELECT 1 FROM runs"))


def test_a_period_has_the_calls_of_all_blocks_that_it_reaches(db_path: Path) -> None:
    """Of some whole, of some in part, of some not at all; whatever was moved or deleted since."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for day in range(8):
            for hour in range(0, 24, 8):
                at = day * 86_400 + hour * 3_600
                run = make.run(f"s{day}", at=at, user="u")
                make.llm(run, 10 + hour, at=at, cost=0.5, duration_ms=day)
                make.llm(run, 2**50, at=at, cost=1e300, duration_ms=day)
                conn.execute("UPDATE runs SET id = ? WHERE run_id = ?", (day * 4096 + hour, run))
        add_up(db_path, enough=1)
        assert select(db_path, "SELECT count(*), count(DISTINCT first) FROM call_blocks") == [
            (8, 8)
        ]
        days = [moment(day * 86_400 + 30_000) for day in range(-1, 9)]
        periods = [(a, b) for a in (None, *days) for b in (None, *days) if not a or not b or a < b]
        _assert_same(db_path, periods)
        for moved, to in ((3, days[7]), (6, days[1])):
            conn.execute(f"UPDATE llm_calls SET recorded_at = ? WHERE duration_ms = {moved}", (to,))
        conn.execute("DELETE FROM runs WHERE id / 4096 = 5")
        _assert_same(db_path, periods)


def test_a_period_is_right_where_calls_change_their_run_or_have_no_time(db_path: Path) -> None:
    """As another program may have written them."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for block in range(5):
            at = block * 86_400
            run = make.run("s", at=at)
            make.llm(run, 10, at=at, cost=0.5, duration_ms=block)
            conn.execute("UPDATE runs SET id = ? WHERE run_id = ?", (block * 4096 + 1, run))
        add_up(db_path, enough=1)
        to = "(SELECT run_id FROM runs ORDER BY id DESC LIMIT 1)"
        conn.execute(f"UPDATE llm_calls SET run_id = {to}, position = 99 WHERE duration_ms = 0")
        conn.execute("UPDATE llm_calls SET recorded_at = x'ff' WHERE duration_ms = 1")
        days = [moment(day * 86_400 + 30_000) for day in range(-1, 6)]
        _assert_same(db_path, [(a, b) for a in (None, *days) for b in (None, *days)])
        with reader(db_path) as opened:
            assert model_usage(opened).days[0].date == ""


def test_costs_without_a_sum_are_unknown(db_path: Path) -> None:
    """Of two infinities, one below nothing, on two days."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for day in range(2):
            make.llm(make.run("a"), at=day * 86_400, cost=1.0)
        conn.execute(
            "UPDATE llm_calls SET cost = iif(recorded_at > ?, 9e999, -9e999)", (moment(9),)
        )
    with reader(db_path) as conn:
        (model,) = list_models(conn)
    assert model.total_cost is None


def test_a_file_without_blocks_is_read_call_by_call(db_path: Path) -> None:
    """Its totals, of a version that did not keep them, are not used, and none are added."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        make.llm(make.run("a", user="alice"), 10, cost=0.5)
        plain = plain_answers(db_path)
        for name in ("TABLE call_blocks", "TRIGGER summary_call", "TRIGGER summary_begin_anew"):
            conn.execute(f"DROP {name}")
    assert add_up(db_path, enough=1) == 0
    assert answers(db_path) == plain


def _assert_same(path: Path, periods: list[tuple[str | None, str | None]]) -> None:
    """Assert that the usage in each period is the same with the totals and without."""
    for since, until in periods:
        with reader(path) as conn:
            found = model_usage(conn, since=since, until=until)
        with pytest.MonkeyPatch.context() as patch, reader(path) as conn:
            patch.setattr("waxlocal.queries.sums.MOST_APART", 0)
            plain = model_usage(conn, since=since, until=until)
        assert rounded([as_dict(one) for kind in found for one in kind]) == rounded(
            [as_dict(one) for kind in plain for one in kind]
        )


def test_the_id_of_a_deleted_run_is_no_old_run(db_path: Path) -> None:
    """SQLite gives it to the next run, whose calls are not added up yet."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        make.llm(make.run("a", user="alice"), 10)
        newest = make.run(None, user="bob")
        make.llm(newest, 20)
        add_up(db_path, enough=1)
        conn.execute("DELETE FROM runs WHERE run_id = ?", (newest,))
        make.llm(make.run(None, user="carol"), 40)
    assert select(db_path, "SELECT max(runs.id), up_to FROM runs, summary") == [(2, 1)]
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
    assert answers(db_path)["count"] == 2


def test_nothing_is_left_of_what_was_deleted(db_path: Path) -> None:
    """Neither sums nor costs, however absurd; a model without calls is not shown."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        make.llm(make.run("a", user="alice"), 10, cost=0.1, duration_ms=5)
        absurd = make.run("b", user="bob")
        make.llm(absurd, 2**50, cost=1e300, duration_ms=5)
        make.llm(absurd, 1, model="own")
        add_up(db_path, enough=1)
        conn.execute("DELETE FROM runs WHERE session_id = 'b'")
        conn.execute("UPDATE llm_calls SET cost = NULL")
        conn.execute("UPDATE llm_calls SET cost = 0.3")
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
    add_up(db_path, enough=1)
    assert select(db_path, "SELECT session_id, cost FROM session_sums") == [("a", 0.3)]
    assert select(db_path, "SELECT user_id FROM user_sums") == [("alice",)]
    with reader(db_path) as conn:
        (model,) = list_models(conn)
    assert (model.model, model.tokens_in, model.total_cost) == ("gpt-4o", 10, 0.3)


def test_an_open_run_that_joins_a_session_and_one_that_goes_change_it(db_path: Path) -> None:
    """Neither has a call, nor is there a later run of the session."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        late = make.run(None, seconds=None, user="alice")
        gone = make.run("a", user="alice")
        make.run("a", user="bob")
        add_up(db_path, enough=1)
        conn.execute("UPDATE runs SET session_id = 'b' WHERE run_id = ?", (late,))
        conn.execute("DELETE FROM runs WHERE run_id = ?", (gone,))
    assert answers(db_path)["statistics"]["distribution"] == {1: 2}
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))


def test_ids_may_be_anything(db_path: Path) -> None:
    """Other programs may write ids that are no text, or end at a NUL for SQLite's JSON."""
    ids: list[object] = ["", "a\0b", "a", b"\xff\xfe", 7, "\U0010ffff"]
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for number, one in enumerate(ids):
            run = make.run(None, user=f"u{number}", seconds=float(number))
            conn.execute("UPDATE runs SET session_id = ? WHERE run_id = ?", (one, run))
            make.llm(run, number, cost=0.5)
    plain = plain_answers(db_path)
    add_up(db_path, enough=1)
    assert select(db_path, "SELECT count(*) FROM session_sums") == [(len(ids),)]
    assert rounded(answers(db_path)) == rounded(plain)


def test_a_little_is_not_added_up(db_path: Path) -> None:
    """Questions look at it themselves; so a file is not written to for each run."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for _run in range(4):
            make.run("a")
        assert add_up(db_path, enough=5) == 0
        make.run("b")
        assert add_up(db_path, enough=5) == 7  # five runs, two sessions
        assert add_up(db_path, enough=1) == 0


def test_what_is_half_done_is_gone_on_with(db_path: Path) -> None:
    """A process that is killed leaves whole pieces; meanwhile all answers are right."""
    with closing(open_writer(db_path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        for number in range(60):
            make.llm(make.run(f"s{number % 25}", user=f"u{number % 3}"), number, cost=number / 8)
    plain = rounded(plain_answers(db_path))
    rounds = 0
    while add_up(db_path, 0.006, Ticks(), enough=1):
        rounds += 1
        assert rounded(answers(db_path)) == plain
    assert rounds > 3
    assert select(db_path, "SELECT count(*) FROM changed_sessions") == [(0,)]


def test_two_may_add_up_at_once(db_path: Path) -> None:
    """The daemon and the server do: each run counts once."""
    with closing(open_writer(db_path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        for number in range(400):
            make.llm(make.run(f"s{number % 40}", user=f"u{number % 7}"), number)
    plain = rounded(plain_answers(db_path))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: add_up(db_path, enough=1), range(4)))
    assert rounded(answers(db_path)) == plain


def test_a_file_whose_sessions_are_not_counted_yet_waits(db_path: Path) -> None:
    """What a turn is, of a session of an earlier version, is not known yet."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        make.llm(make.run("a", user="alice"))
        conn.execute("INSERT INTO counted_sessions (up_to) VALUES ('')")
    assert add_up(db_path, enough=1) == 0
    keep_up(db_path)
    assert add_up(db_path, enough=1) == 2


def test_recorders_write_nothing_to_the_totals(db_path: Path) -> None:
    """A run of a program with its calls leaves all of them as they were."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        run = make.run("a", seconds=None)
        make.llm(run, cost=0.5, duration_ms=5)
        conn.execute("UPDATE runs SET status = 'success', completed_at = started_at")
    for name in ("model_sums", "hour_sums", "session_sums", "user_sums", "changed_sessions"):
        assert select(db_path, f"SELECT count(*) FROM {name}") == [(0,)]
    assert select(db_path, "SELECT call_run, look_from FROM summary") == [(None, "")]


ABSURD = ["cost = 9e999", "cost = 1e300", "cost = -1e300", "tokens_in = 4611686018427387904"]
ABSURD += ["tokens_out = 2.5", "cached_tokens = -7", "tokens_in = 'many'", "cost = 'much'"]


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize("undone", ["set right", "deleted"])
def test_an_absurd_figure_leaves_nothing_behind(db_path: Path, absurd: str, undone: str) -> None:
    """It can be set right, or deleted with its run, and all sums are exact again."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        odd = ["a", "b", "c"]
        for session in (*odd, "d", "e"):
            make.llm(make.run(session, user="u"), 10, cost=0.1, duration_ms=5)
        wrong = f"UPDATE llm_calls SET {absurd} WHERE run_id IN ({', '.join('?' * 3)})"
        ids = [row[0] for row in conn.execute("SELECT run_id FROM runs LIMIT 3")]
        conn.execute(wrong, ids[:1] * 3)
        add_up(db_path, enough=1)
        conn.execute(wrong, ids)
        if absurd.startswith("cost = -"):  # others are cut, or rounded, at another place
            assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
        add_up(db_path, enough=1)
        if undone == "deleted":
            conn.execute("DELETE FROM runs WHERE session_id IN ('a', 'b', 'c')")
        else:
            right = "cost = 0.1, tokens_in = 10, tokens_out = 50, cached_tokens = 0"
            conn.execute(f"UPDATE llm_calls SET {right}")
    left = 2 if undone == "deleted" else 5
    (model,) = answers(db_path)["models"]
    assert (model["calls"], model["tokens_in"], model["cached_tokens"]) == (left, 10 * left, 0)
    assert model["total_cost"] == pytest.approx(0.1 * left)
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))


def test_runs_that_come_back_under_their_old_ids_count(db_path: Path) -> None:
    """As from a backup: the calls first, or the runs, or under ids below all others."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for number in range(6):
            make.llm(make.run("a" if number % 2 else None, user=f"u{number}"), 10, cost=0.5)
        add_up(db_path, enough=1)
        names = ", ".join(
            row[1] for row in conn.execute("PRAGMA table_info(runs)") if row[1] != "workflow_id"
        )
        conn.execute(f"CREATE TEMP TABLE kept AS SELECT {names} FROM runs WHERE id IN (2, 3)")
        conn.execute(
            "CREATE TEMP TABLE calls AS SELECT c.* FROM llm_calls c JOIN kept USING (run_id)"
        )
        conn.execute("DELETE FROM runs WHERE id IN (2, 3)")
        add_up(db_path, enough=1)
        conn.execute("INSERT INTO llm_calls SELECT * FROM calls")
        conn.execute(f"INSERT INTO runs ({names}) SELECT {names} FROM kept")
        assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
        add_up(db_path, enough=1)
        assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
        conn.execute("UPDATE runs SET id = -id WHERE id < 4")
        add_up(db_path, enough=1)
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))
    assert answers(db_path)["count"] == 6


def test_open_sessions_are_passed_by(db_path: Path) -> None:
    """Killed programs leave them; the others are added up, and nothing is tried again and again."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        for number in range(40):
            make.run(f"s{number:02}", seconds=None if number < 30 else 1.0)
        assert add_up(db_path, enough=1) == 40 + 10
        assert select(db_path, "SELECT count(*), left_over FROM changed_sessions, summary") == [
            (30, 30)
        ]
        assert add_up(db_path, enough=1) == 0
        conn.execute("UPDATE runs SET status = 'success' WHERE session_id = 's07'")
        make.run("t")
        assert add_up(db_path, enough=1) == 1 + 2
    assert rounded(answers(db_path)) == rounded(plain_answers(db_path))


def test_an_infinite_duration_stops_nothing(db_path: Path) -> None:
    """The difference of two of them is none."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        turn = make.run("a", user="u")
        nested = make.run("a", parent=turn)
        make.run("b", user=None)
        conn.execute("UPDATE runs SET duration = 9e999 WHERE run_id = ?", (nested,))
        conn.execute(
            "UPDATE runs SET user_id = x'ff', agent_name = 'renamed' WHERE session_id = 'b'"
        )
        assert add_up(db_path, enough=1) == 3 + 2
        conn.execute("UPDATE runs SET agent_name = 'again' WHERE session_id = 'a'")
    assert answers(db_path)["statistics"]["sessions"] == 2
