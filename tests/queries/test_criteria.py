"""What sessions and runs are chosen by, against the same rules in plain Python."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.builders import Builder, recording
from tests.tools.examples import examples
from waxlocal.errors import InvalidQuery
from waxlocal.queries import SessionFilter, count_sessions, list_sessions
from waxlocal.queries.criteria import ScoreWanted, check_order, parse_amount, typed
from waxlocal.queries.run_list import RunFilter, count_runs, list_runs
from waxlocal.queries.search import candidates, fitting

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-3", "日本*", "a%_b")
TOOLS = ("search", "search_web", "refund")
ERRORS = ("TimeoutError", "RateLimitError")
METADATA = (
    {"customer": {"plan": "gold", "seats": 5}},
    {"customer": {"plan": ["gold", "trial"], "seats": 5.5}, "customer.plan": "odd"},
    {"customer": {"plan": {"name": "gold"}}, "beta": True, "none": None},
    {"customer": "gold", 'pl"an': {"x": 1}},
)
SCORES: tuple[dict[str, Any], ...] = (
    {"name": "rating", "numeric_value": 4.0},
    {"name": "rating", "numeric_value": 1.5},
    {"name": "helpful", "data_type": "boolean", "numeric_value": 1.0},
    {"name": "helpful", "data_type": "boolean", "numeric_value": 0.0},
    {"name": "topic", "data_type": "categorical", "string_value": "billing"},
    {"name": "topic", "data_type": "categorical", "string_value": "yes"},
)
runs = st.lists(
    st.fixed_dictionaries(
        {
            "session": st.sampled_from([None, "a", "b", "c"]),
            "seconds": st.sampled_from([None, 0.0, 1.5, 60.0]),
            "calls": st.lists(
                st.tuples(st.sampled_from(MODELS), st.sampled_from([None, 0.0, 0.25, 1.0])),
                max_size=3,
            ),
            "tools": st.lists(st.sampled_from(TOOLS), max_size=2),
            "error": st.sampled_from([None, None, *ERRORS]),
            "metadata": st.sampled_from([None, *METADATA]),
            "scores": st.lists(st.sampled_from(SCORES), max_size=2),
        }
    ),
    max_size=8,
)
Run = dict[str, Any]


def record(make: Builder, made: Run) -> None:
    """Write a run down, and what it has."""
    one = make.run(
        made["session"],
        seconds=made["seconds"],
        status="error" if made["error"] else "success",
        error_type=made["error"],
        metadata=json.dumps(made["metadata"]) if made["metadata"] else None,
    )
    for model, cost in made["calls"]:
        make.llm(one, model=model, cost=cost)
    for tool in made["tools"]:
        make.span(one, name=tool)
    make.span(one, "retriever", name="refund")
    for score in made["scores"]:
        make.score(one, **score)


def is_called(name: str, wanted: str) -> bool:
    """A name, or the beginning of one."""
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def metadata_has(found: Any, wanted: str) -> bool:
    """A key, a path, and a value as JSON text, where lists count by their items."""
    if not isinstance(found, dict):
        return False
    key, equals, value = wanted.partition("=")
    values = [found[key]] if key in found else []
    at: Any = found
    for part in key.split("."):
        at = at.get(part, ...) if isinstance(at, dict) else ...
    if at is not ... and '"' not in key:
        values += at if isinstance(at, list) and equals else [at]
    if not equals:
        return bool(values)
    return any(value == (one if isinstance(one, str) else json.dumps(one)) for one in values)


def cost_of(made: list[Run]) -> float | None:
    """The known costs; None where there are calls and none is known, 0 without calls."""
    costs = [cost for one in made for _, cost in one["calls"]]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known or not costs else None


SCORE_RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "rating": lambda score: score["name"] == "rating",
    "rating>=4": lambda score: score["name"] == "rating" and score["numeric_value"] >= 4,
    "rating<4": lambda score: score["name"] == "rating" and score["numeric_value"] < 4,
    "rating=1.5": lambda score: score["name"] == "rating" and score["numeric_value"] == 1.5,
    "helpful=yes": lambda score: score["name"] == "helpful" and score["numeric_value"] == 1,
    "helpful=False": lambda score: score["name"] == "helpful" and score["numeric_value"] == 0,
    "topic=billing": lambda score: score.get("string_value") == "billing",
    "topic=yes": lambda score: score["name"] == "topic" and score.get("string_value") == "yes",
    "nothing": lambda score: False,
}
# Each as it is given, and the rule for a run.
RULES: list[tuple[str, str, Callable[[Run], bool]]] = [
    *(
        ("model", wanted, lambda run, w=wanted: any(is_called(m, w) for m, _ in run["calls"]))
        for wanted in (*MODELS[:3], "gpt*", "日本**", "a%_b", "*", "gpt-4")
    ),
    *(
        ("tool", wanted, lambda run, w=wanted: any(is_called(one, w) for one in run["tools"]))
        for wanted in (*TOOLS, "search*", "retriever")
    ),
    *(
        ("metadata", wanted, lambda run, w=wanted: metadata_has(run["metadata"], w))
        for wanted in (
            *("customer.plan", "customer.plan=gold", "customer.seats=5", "customer.seats=5.5"),
            *("customer=gold", "customer.plan.name=gold", "beta=true", "none=null", "customer."),
            *('pl"an.x=1', 'pl"an', "customer.plan=odd", 'customer.plan=["gold","trial"]', "plan"),
        )
    ),
    *(
        ("score", wanted, lambda run, rule=rule: any(map(rule, run["scores"])))
        for wanted, rule in SCORE_RULES.items()
    ),
    *(("error_type", wanted, lambda run, w=wanted: run["error"] == w) for wanted in ERRORS),
]


@settings(max_examples=examples(40))
@given(runs)
def test_sessions_and_runs_are_found_by_what_they_have(made: list[Run]) -> None:
    """A session has what one of its runs has; in the list, and counted, and read in pieces."""
    made = [one | {"error": one["error"] if one["seconds"] is not None else None} for one in made]
    with tempfile.TemporaryDirectory() as place, recording(Path(place)) as (make, conn):
        for one in made:
            record(make, one)
        for name, wanted, has in RULES:
            fits = [has(one) for one in made]
            chosen: dict[str, Any] = {name: wanted}
            assert found_runs(conn, RunFilter(**chosen)) == fits, (name, wanted)
            sessions = {one["session"] for one, fit in zip(made, fits, strict=True) if fit}
            assert found_sessions(conn, SessionFilter(**chosen)) == sessions - {None}, (
                name,
                wanted,
            )


@settings(max_examples=examples(40))
@given(runs, st.sampled_from([0.0, 0.25, 1.0, 2.0]), st.sampled_from([0.0, 1.5, 60.0, 61.5]))
def test_ranges_include_their_ends(made: list[Run], dollars: float, seconds: float) -> None:
    """An unknown cost, and the duration of what has not ended, are in no range."""
    with tempfile.TemporaryDirectory() as place, recording(Path(place)) as (make, conn):
        for one in made:
            record(make, one)
        for least, most in ((dollars, None), (None, dollars), (dollars, dollars)):
            cheap = [is_within(cost_of([one]), least, most) for one in made]
            assert found_runs(conn, RunFilter(min_cost=least, max_cost=most)) == cheap
            chosen = SessionFilter(min_cost=least, max_cost=most)
            by_session = sessions_of(made)
            assert found_sessions(conn, chosen) == {
                one for one, runs in by_session.items() if is_within(cost_of(runs), least, most)
            }
        for least, most in ((seconds, None), (None, seconds)):
            short = [is_within(one["seconds"], least, most) for one in made]
            assert found_runs(conn, RunFilter(min_duration=least, max_duration=most)) == short
        for turns in (1, 2, 3):
            assert found_sessions(conn, SessionFilter(min_turns=turns, max_turns=turns)) == {
                one for one, runs in by_session.items() if len(runs) == turns
            }


def is_within(value: float | None, least: float | None, most: float | None) -> bool:
    """Both ends count."""
    if value is None:
        return False
    return (least is None or value >= least) and (most is None or value <= most)


def sessions_of(made: list[Run]) -> dict[str, list[Run]]:
    """The runs of each session."""
    found: dict[str, list[Run]] = {}
    for one in made:
        if one["session"]:
            found.setdefault(one["session"], []).append(one)
    return found


def found_runs(conn: sqlite3.Connection, filter: RunFilter) -> list[bool]:
    """Whether each run is found, in the order of arrival; checks that they are counted alike."""
    found = {one.id for one in list_runs(conn, filter=filter, limit=1_000)}
    assert count_runs(conn, filter=filter) == len(found)
    every = [row[0] for row in conn.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    return [one in found for one in every]


def found_sessions(conn: sqlite3.Connection, filter: SessionFilter) -> set[str]:
    """The sessions that are found; checks that the other ways find the same."""
    found = {one.session_id for one in list_sessions(conn, filter=filter, limit=1_000)}
    assert count_sessions(conn, filter=filter) == len(found)
    ids = candidates(conn, filter, "-last_activity_at")
    assert set(fitting(conn, filter, ids)) == found
    return found


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("min_cost", "0.5", 0.5),
        ("max_cost", "$2", 2.0),
        ("min_cost", "1e-3", 0.001),
        ("min_turns", "3", 3.0),
        ("min_duration", "90", 90.0),
        ("max_duration", "500ms", 0.5),
        ("min_duration", "2m", 120.0),
        ("min_duration", " 1.5 h ", 5400.0),
    ],
)
def test_amounts_are_read_as_people_type_them(name: str, text: str, number: float) -> None:
    """Dollars, turns and seconds, or a length with its unit."""
    assert parse_amount(name, text) == number
    assert typed({name: text, "agent": "5"}) == {name: number, "agent": "5"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"min_cost": "cheap"},
        {"min_cost": "-1"},
        {"min_cost": "nan"},
        {"max_cost": "1e999"},
        {"min_cost": "3.4e38"},
        {"max_cost": "٣"},
        {"min_turns": "2.5"},
        {"min_duration": "5 years"},
        {"max_duration": ""},
        {"score": "rating>"},
        {"score": ">4"},
        {"score": "rating>high"},
        {"score": "rating="},
        {"score": "a<b<c"},
    ],
)
def test_what_is_no_amount_or_score_is_refused_with_a_hint(wanted: dict[str, str]) -> None:
    """Nobody gets all sessions because of a typing error."""
    with pytest.raises(InvalidQuery) as caught:
        SessionFilter(**typed(wanted))
    assert caught.value.hint


def test_numbers_that_are_none_are_refused() -> None:
    """By a program, too."""
    for number in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidQuery):
            RunFilter(max_cost=number)


def test_an_empty_range_is_a_typing_error_of_a_person() -> None:
    """To a program it is a range in which nothing is."""
    empty = SessionFilter(min_turns=3, max_turns=2)
    with pytest.raises(InvalidQuery, match="the least turns is greater than the most: 3 and 2"):
        check_order(empty)
    check_order(SessionFilter(min_turns=2, max_turns=2))


def test_a_score_is_read_as_a_name_or_a_comparison() -> None:
    """Spaces around the sign do not count."""
    assert ScoreWanted.of("rating >= 4") == ScoreWanted("rating", ">=", number=4.0)
    assert ScoreWanted.of("rating<-.5") == ScoreWanted("rating", "<", number=-0.5)
    assert ScoreWanted.of("was it = Yes") == ScoreWanted("was it", "=", "Yes", None, 1.0)
    assert ScoreWanted.of('"p/q >x"') == ScoreWanted("p/q >x")
    assert ScoreWanted.of('"a=b" <= 2') == ScoreWanted("a=b", "<=", number=2.0)
    assert ScoreWanted.of("decision_confidence:route") == ScoreWanted("decision_confidence:route")


def test_conditions_of_all_kinds_hold_together(tmp_path: Path) -> None:
    """Values of different conditions do not get into each other's way."""
    with recording(tmp_path) as (make, conn):
        one = make.run("a", metadata={"plan": "gold"}, tags={"plan": "free"}, user="42")
        make.llm(one, cost=0.5)
        make.span(one, name="refund")
        make.score(one, "rating", numeric_value=4.0)
        make.run("b", metadata={"plan": "free"}, tags={"plan": "gold"})
        both: dict[str, Any] = {
            "tag": "plan=free",
            "metadata": "plan=gold",
            "model": "gpt*",
            "tool": "refund",
        }
        chosen = SessionFilter(**both, score="rating>3", min_cost=0.5, max_turns=1, user_id="42")
        assert found_sessions(conn, chosen) == {"a"}
        assert found_runs(conn, RunFilter(**both, score="rating>3", max_cost=0.5)) == [True, False]
