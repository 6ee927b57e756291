from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import FixedClock, moment, recording
from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.queries import USER_ORDERINGS, as_dict, list_models, list_users
from waxlocal.queries.score_summaries import ScoreSummary, user_scores
from waxlocal.queries.users import get_user


def test_a_user_has_sessions_and_runs_outside_of_them(tmp_path: Path) -> None:
    """Totals count both; runs and sessions without a user belong to nobody."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("a", user="alice", seconds=2.0), 100, 100, cost=0.5)
        make.run("b", user="alice", at=100, agent="helper")
        make.llm(make.run(None, user="alice", at=50, seconds=3.0, agent="cron"), 300, 300)
        make.llm(make.run("d", user="alice", at=60, seconds=0.0), 0, 0, usage_known=0)
        make.run(None, user="bob", at=5, seconds=None)
        make.run("c")
        make.run(None)
        alice, bob = list_users(conn)
    assert as_dict(alice) == {
        "user_id": "alice",
        "session_count": 3,
        "turn_count": 4,
        "run_count": 4,
        "first_activity_at": moment(0),
        "last_activity_at": moment(101),
        "total_duration": 6.0,
        "llm_calls": 3,
        "unmetered_calls": 1,
        "metered_share": 2 / 3,
        "total_tokens": 800,
        "priced_tokens": 200,
        "priced_share": 0.25,
        "total_cost": 0.5,
        "agents": ["chatbot", "cron", "helper"],
    }
    assert (bob.user_id, bob.session_count, bob.run_count) == ("bob", 0, 1)
    assert (bob.total_cost, bob.last_activity_at) == (0.0, moment(5))


@pytest.mark.parametrize("column", USER_ORDERINGS)
def test_users_can_be_ordered_by_every_figure(tmp_path: Path, column: str) -> None:
    """Descending order reverses ascending order, page by page."""
    with recording(tmp_path) as (make, conn):
        for number in range(1, 4):
            for session in range(number):
                run = make.run(f"{number}-{session}", user=f"u{number}", at=number * 10)
                make.llm(run, number, cost=float(number))
        up = [user.user_id for user in list_users(conn, ordering=column)]
        down = [user.user_id for user in list_users(conn, ordering=f"-{column}", limit=2)]
        rest = [user.user_id for user in list_users(conn, ordering=f"-{column}", offset=2)]
    assert (up, down, rest) == (["u1", "u2", "u3"], ["u3", "u2"], ["u1"])


def test_users_of_unknown_cost_come_last(tmp_path: Path) -> None:
    """Ordered by cost either way, an unknown one ends the list."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("a", user="alice"))
        make.llm(make.run("b", user="bob"), cost=1.0)
        for ordering in ("total_cost", "-total_cost"):
            assert [user.user_id for user in list_users(conn, ordering=ordering)] == [
                "bob",
                "alice",
            ]


def test_users_without_calls_cost_nothing_in_the_order_too(tmp_path: Path) -> None:
    """Before those who cost something, and after them where most comes first."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("a", user="paid"), 10, cost=0.5)
        make.run("b", user="free")
        make.run(None, user="also free")
        up = [user.user_id for user in list_users(conn, ordering="total_cost")]
        down = [user.user_id for user in list_users(conn, ordering="-total_cost")]
    assert up == ["also free", "free", "paid"]
    assert down == up[::-1]


def test_an_unknown_ordering_of_users_is_refused(tmp_path: Path) -> None:
    """The hint names the allowed ones."""
    with recording(tmp_path) as (_make, conn), pytest.raises(InvalidQuery) as caught:
        list_users(conn, ordering="name")
    assert "session_count" in caught.value.hint


def test_a_model_is_shown_with_use_cost_and_latency(tmp_path: Path) -> None:
    """One row for each model and provider, percentiles over the calls of known duration."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        for number in range(20):
            make.llm(run, 10, 5, cost=0.25, duration_ms=100 + number, cached_tokens=4)
        make.llm(run, 10, 5, cost=0.25, status="error")
        make.llm(run, 10, 5, cost=0.25, provider="azure")
        make.insert(
            "model_prices", model="gpt-4o", provider="openai", source="override", updated_at="now"
        )
        openai, azure = list_models(conn)
    assert as_dict(openai) == {
        "model": "gpt-4o",
        "provider": "openai",
        "calls": 21,
        "errors": 1,
        "error_share": 1 / 21,
        "tokens_in": 210,
        "tokens_out": 105,
        "unmetered_calls": 0,
        "metered_share": 1.0,
        "total_tokens": 315,
        "cached_tokens": 80,
        "priced_tokens": 315,
        "priced_share": 1.0,
        "total_cost": 5.25,
        "p50_ms": 110,
        "p95_ms": 119,
        "price_source": "override",
    }
    assert (azure.provider, azure.p50_ms, azure.price_source) == ("azure", None, None)


def test_models_with_calls_of_unknown_price_come_first(tmp_path: Path) -> None:
    """Then the most expensive; what needs a price is seen at once."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        make.llm(run, model="cheap", cost=0.5)
        make.llm(run, model="expensive", cost=5.0)
        make.llm(run, model="partly", cost=9.0)
        make.llm(run, model="partly")
        make.llm(run, model="unknown")
        models = {one.model: one.total_cost for one in list_models(conn)}
    assert list(models) == ["partly", "unknown", "expensive", "cheap"]
    assert models["unknown"] is None


def test_models_can_be_bounded_in_time(tmp_path: Path) -> None:
    """Calls count by when they ended."""
    with recording(tmp_path) as (make, conn):
        run = make.run()
        for at in (0, 3_600, 7_200):
            make.llm(run, at=at)
        clock = FixedClock(7_200)
        assert list_models(conn, since="90m", clock=clock)[0].calls == 2
        assert list_models(conn, since="90m", until=moment(3_600), clock=clock)[0].calls == 1
        assert list_models(conn, since="2027-01-01") == []


def test_a_sub_agent_outside_sessions_is_of_whoever_called_it(tmp_path: Path) -> None:
    """As in a session of several users."""
    with recording(tmp_path) as (make, conn):
        turn = make.run(None, user="cy", seconds=2.0)
        make.llm(turn, cost=1.0)
        nested = make.run(None, parent=turn, agent="helper")
        make.llm(make.run(None, parent=nested), cost=0.25)
        make.llm(make.run(None), cost=8.0)
        (cy,) = list_users(conn)
    assert (cy.total_cost, cy.turn_count, cy.run_count, cy.total_duration) == (1.25, 1, 3, 2.0)
    assert cy.agents == ("chatbot", "helper")


def test_one_user_has_the_figures_of_the_list(tmp_path: Path) -> None:
    """Of sessions alone and shared, of sub-agents, and of runs outside sessions."""
    with recording(tmp_path) as (make, conn):
        for user in ("alice", "bob"):
            turn = make.run("shared", user=user, seconds=2.0)
            make.llm(make.run("shared", at=1, parent=turn, agent="helper"), 10, 10, cost=0.5)
            make.llm(make.run(f"own-{user}", user=user, at=2), 5, 5)
            make.run(None, user=user, at=9, agent="cron")
        make.run("nobody")
        assert [get_user(conn, one.user_id) for one in list_users(conn)] == list_users(conn)
        with pytest.raises(NotFound, match="no user 'carol'"):
            get_user(conn, "carol")


def test_the_outside_runs_of_others_are_not_read_for_one_user(tmp_path: Path) -> None:
    """But those of sub-agents that name nobody, below a run of theirs."""
    with recording(tmp_path) as (make, conn):
        alice = make.run(None, user="alice")
        make.llm(make.run(None, parent=alice), 10, 5, cost=0.25)
        make.llm(make.run(None, user="bob"), 10, 5, cost=0.5)
        assert get_user(conn, "alice").total_cost == 0.25
        assert get_user(conn, "alice") == list_users(conn, ordering="user_id")[0]


def test_the_scores_of_a_user_are_of_their_own_runs(tmp_path: Path) -> None:
    """And of those that name nobody in a session that is theirs alone."""
    with recording(tmp_path) as (make, conn):
        make.score(make.run("own", user="alice"), "stars", numeric_value=4.0)
        make.score(make.run("own", at=1), "stars", numeric_value=2.0)
        make.score(make.run("shared", user="alice"), "stars", numeric_value=0.0)
        make.score(make.run("shared", user="bob"), "stars", numeric_value=100.0)
        make.score(make.run("shared"), "stars", numeric_value=100.0)
        for word in ("a", "b", "b", "c", "d", "e", "f"):
            run = make.run("own", user="alice", at=5)
            make.score(run, "word", data_type="categorical", string_value=word)
        make.score(make.run("own", user="alice", at=6), "empty", numeric_value=None)
        found = user_scores(conn, "alice")
        assert user_scores(conn, "carol") == []
    assert found == [
        ScoreSummary("empty", "numeric", 0, None, ()),
        ScoreSummary("stars", "numeric", 3, 2.0, ()),
        ScoreSummary("word", "categorical", 0, None,
                  (("b", 2), ("a", 1), ("c", 1), ("d", 1), ("e", 1))),
    ]  # fmt: skip
