"""Searching in pieces finds what one query finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import Builder, recording
from waxlocal.errors import InvalidQuery
from waxlocal.queries import SessionFilter, list_sessions
from waxlocal.queries.search import candidates, fitting, is_slow
from waxlocal.queries.sessions import sessions_by_id


def twenty(to: Builder) -> None:
    """Record twenty sessions, every third about ferries, every fourth by phone."""
    for number in range(20):
        run = to.run(
            f"s{number:02}", at=number, user=f"u{number % 2}",
            inputs={"message": "a FERRY" if number % 3 == 0 else "a train"},
            tags={"channel": "phone" if number % 4 == 0 else "web"},
            metadata={"turn_number": number},
        )  # fmt: skip
        to.llm(run, 10, 1, cost=0.1 * (number % 6))


@pytest.mark.parametrize("ordering", ["-last_activity_at", "total_cost", "-total_cost"])
@pytest.mark.parametrize(
    "filter",
    [
        SessionFilter(search="ferry"),
        SessionFilter(search="ferry", user_id="u1"),
        SessionFilter(metadata="turn_number=7"),
        SessionFilter(search="ferry", tag="channel=phone", status="success"),
        SessionFilter(search="nowhere"),
    ],
)
def test_pieces_find_what_one_query_finds(
    tmp_path: Path, filter: SessionFilter, ordering: str
) -> None:
    """In the same order."""
    with recording(tmp_path) as (to, conn):
        twenty(to)
        ids = candidates(conn, filter, ordering)
        found = [
            one for at in range(0, len(ids), 3) for one in fitting(conn, filter, ids[at : at + 3])
        ]
        whole = list_sessions(conn, filter=filter, ordering=ordering)
        assert sessions_by_id(conn, found) == whole
    assert is_slow(filter)


def test_what_an_index_or_a_sum_can_tell_is_not_slow() -> None:
    """Only words and metadata are in the runs."""
    filter = SessionFilter(user_id="u", agent="a", status="error", since="1h", tag="channel")
    assert not is_slow(filter)


@pytest.mark.parametrize("levels", [3, 150, 5_000])
def test_a_search_looks_into_deep_values_and_goes_on(tmp_path: Path, levels: int) -> None:
    """A foreign program may have written thousands of levels, with the word inside."""
    with recording(tmp_path) as (to, conn):
        to.run("deep", inputs="[" * levels + '"a \\"ferry\\""' + "]" * levels)
        to.run("flat", at=1, inputs={"message": 'a "ferry"'})
        to.run("none", at=2, inputs={"message": "a train"})
        found = list_sessions(conn, filter=SessionFilter(search="ferry"), ordering="first_run_at")
        assert [one.session_id for one in found] == ["deep", "flat"]


def test_an_unknown_order_is_refused(tmp_path: Path) -> None:
    """As everywhere."""
    with recording(tmp_path) as (_, conn), pytest.raises(InvalidQuery):
        candidates(conn, SessionFilter(), "session_id; DROP TABLE runs")


def test_unknown_sessions_are_left_out(tmp_path: Path) -> None:
    """And the others come in the order asked for."""
    with recording(tmp_path) as (to, conn):
        twenty(to)
        found = sessions_by_id(conn, ["s03", "none", "s01"])
    assert [one.session_id for one in found] == ["s03", "s01"]
