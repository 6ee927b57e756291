"""A page of all sessions by cost or time, of which an index names those that may be on it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from waxlocal.maintenance.sums import add_up
from waxlocal.queries import list_sessions
from waxlocal.queries.leading_sessions import may_lead
from waxlocal.storage.connection import open_writer, reader

ORDERINGS = ("total_cost", "-total_cost", "total_duration", "-total_duration")
SESSIONS = 30


def fill(path: Path) -> None:
    """Record sessions that cost more and less, some alike and some unknown, and add up most."""
    with closing(open_writer(path)) as conn:
        make = Builder(conn)
        for number in range(SESSIONS):
            if number == SESSIONS - 3:
                add_up(path, enough=1)
            run = make.run(f"s{number:02}", at=number, seconds=float(number * 7 % 10))
            make.llm(run, cost=None if number % 9 == 4 else float(number * 3 % 8))


def pages(path: Path, ordering: str) -> list[str]:
    """Return the ids of all sessions, page by page."""
    with reader(path) as conn:
        return [
            session.session_id
            for offset in range(0, SESSIONS, 4)
            for session in list_sessions(conn, ordering=ordering, limit=4, offset=offset)
        ]


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("most", [0, 8, 14, 2_000])
def test_pages_are_those_of_all_sessions_sorted(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, ordering: str, most: int
) -> None:
    """With many alike, with unknown costs, with sessions in no total, and on every page."""
    fill(db_path)
    monkeypatch.setattr("waxlocal.queries.leading_sessions.MOST", most)
    found = pages(db_path, ordering)
    monkeypatch.setattr("waxlocal.queries.sums.MOST_APART", 0)
    assert found == pages(db_path, ordering)
    assert len(set(found)) == SESSIONS


def test_only_where_it_saves_work_are_sessions_chosen_by_the_index(db_path: Path) -> None:
    """Few of many: not for a page far down, nor where all have the same value."""
    fill(db_path)
    with reader(db_path) as conn:
        assert may_lead(conn, "-total_cost", 4)[1] == {"reach": 5.0}
        assert may_lead(conn, "total_duration", 4)[1] == {"reach": 2.0}
        assert may_lead(conn, "-total_cost", 2_000) == ("", {})
        assert may_lead(conn, "-total_cost", SESSIONS) == ("", {})
        assert may_lead(conn, "-run_count", 4) == ("", {})
