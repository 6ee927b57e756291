from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import (
    Builder,
    moment,
    recording,
    run_id,
)
from waxlocal.errors import InvalidQuery, NotFound
from waxlocal.queries import (
    ORDERINGS,
    SessionFilter,
    as_dict,
    count_sessions,
    get_session,
    list_sessions,
    recent_runs,
)
from waxlocal.queries.sessions import FIRST_RUNS


def found(conn: sqlite3.Connection, **wanted: Any) -> list[str]:
    """Return the ids of the sessions that fit, sorted, and check that they are counted alike."""
    chosen = SessionFilter(**wanted)
    sessions = list_sessions(conn, filter=chosen)
    assert count_sessions(conn, filter=chosen) == len(sessions)
    return sorted(session.session_id for session in sessions)


def plan(conn: sqlite3.Connection, ask: Callable[[], object]) -> str:
    """Return how SQLite runs the statements over `sessions s` that a query makes."""
    seen: list[str] = []
    conn.set_trace_callback(seen.append)
    ask()
    conn.set_trace_callback(None)
    chosen = [sql for sql in seen if "FROM sessions s " in sql]
    assert chosen
    rows = [row for sql in chosen for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
    return " | ".join(row["detail"] for row in rows)


def test_a_session_carries_its_totals(tmp_path: Path) -> None:
    """The list shows what the session's runs add up to, and how it began."""
    with recording(tmp_path) as (make, conn):
        one = make.run(at=0, seconds=2.0, user="alice", inputs={"message": "Hello\nthere"})
        two = make.run(at=10, seconds=3.0, agent="helper", status="error")
        make.llm(one, 100, 20, cost=0.5)
        make.llm(two, 60, 20)
        (session,) = list_sessions(conn)
    assert as_dict(session) == {
        "session_id": "s1",
        "user_id": "alice",
        "users": ["alice"],
        "user_count": 1,
        "agents": ["chatbot", "helper"],
        "turn_count": 2,
        "failed_turns": 1,
        "run_count": 2,
        "open_runs": 0,
        "failed_runs": 1,
        "llm_calls": 2,
        "unmetered_calls": 0,
        "metered_share": 1.0,
        "tokens_in": 160,
        "tokens_out": 40,
        "total_tokens": 200,
        "priced_tokens": 120,
        "priced_share": 0.6,
        "total_cost": 0.5,
        "total_duration": 5.0,
        "wall_duration": 13.0,
        "first_run_at": moment(0),
        "last_run_at": moment(10),
        "last_activity_at": moment(13),
        "status": "error",
        "title": "Hello there",
    }


def test_an_empty_file_has_no_sessions(tmp_path: Path) -> None:
    """A file without runs answers with nothing."""
    with recording(tmp_path) as (_make, conn):
        assert (list_sessions(conn), count_sessions(conn)) == ([], 0)


def test_a_cost_that_is_unknown_is_none_and_one_that_is_nothing_is_zero(tmp_path: Path) -> None:
    """NULL and 0 stay apart; no calls cost nothing, and no tokens have no priced share."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run("free"), cost=0.0)
        make.llm(make.run("unknown"))
        make.run("silent")
        shown = {one.session_id: (one.total_cost, one.priced_share) for one in list_sessions(conn)}
    assert shown == {"free": (0.0, 1.0), "unknown": (None, 0.0), "silent": (0.0, None)}


@pytest.mark.parametrize("column", ORDERINGS)
def test_every_ordering_works_in_both_directions(tmp_path: Path, column: str) -> None:
    """Ascending and descending order are each other's reverse."""
    with recording(tmp_path) as (make, conn):
        for number in range(1, 4):
            for turn in range(number):
                run = make.run(f"s{number}", at=number * 100 + turn, seconds=float(number))
                make.llm(run, number * 10, cost=float(number))
        up = [one.session_id for one in list_sessions(conn, ordering=column)]
        down = [one.session_id for one in list_sessions(conn, ordering=f"-{column}")]
    assert (up, down) == (["s1", "s2", "s3"], ["s3", "s2", "s1"])


def test_an_unknown_cost_comes_last_either_way(tmp_path: Path) -> None:
    """Sessions without a known cost follow the others, cheapest or most expensive first."""
    with recording(tmp_path) as (make, conn):
        for session, cost in (("a", None), ("b", 0.0), ("c", 2.0), ("d", None)):
            make.llm(make.run(session), cost=cost)
        up = [one.session_id for one in list_sessions(conn, ordering="total_cost")]
        down = [one.session_id for one in list_sessions(conn, ordering="-total_cost")]
    assert up == ["b", "c", "a", "d"]
    assert down == ["c", "b", "d", "a"]


@pytest.mark.parametrize("ordering", ["-last_activity_at", "run_count", "-total_cost"])
def test_pages_are_stable_when_all_values_are_equal(tmp_path: Path, ordering: str) -> None:
    """Equal sessions are ordered by id, so pages neither overlap nor leave one out."""
    with recording(tmp_path) as (make, conn):
        for number in range(7):
            make.run(f"s{number}")
        pages = [list_sessions(conn, ordering=ordering, limit=3, offset=at) for at in (0, 3, 6)]
    ids = [one.session_id for page in pages for one in page]
    assert ids in ([f"s{n}" for n in range(7)], [f"s{n}" for n in reversed(range(7))])


@pytest.mark.parametrize(
    "ordering", ["cost", "", "-", "--total_cost", "session_id; DROP TABLE runs"]
)
def test_an_unknown_ordering_names_the_allowed_ones(tmp_path: Path, ordering: str) -> None:
    """Only the listed columns can be ordered by."""
    with recording(tmp_path) as (_make, conn), pytest.raises(InvalidQuery) as caught:
        list_sessions(conn, ordering=ordering)
    assert all(name in caught.value.hint for name in ORDERINGS)


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (1001, 0), (-1, 0), (20, -1), (20, 2**63)])
def test_a_page_out_of_range_is_refused(tmp_path: Path, limit: int, offset: int) -> None:
    """Limits are 1 to 1,000, offsets not negative and no longer than SQLite's integers."""
    with recording(tmp_path) as (_make, conn), pytest.raises(InvalidQuery):
        list_sessions(conn, limit=limit, offset=offset)


def test_filters_by_user_and_agent_are_exact(tmp_path: Path) -> None:
    """A user and an agent match by their whole names, whatever characters those hold."""
    with recording(tmp_path) as (make, conn):
        make.run("a", user="bob", agent="chat")
        make.run("b", user="bobby", agent='chat "2"')
        make.run("c", user=None, agent="chatbot")
        make.run("c", agent="überagent")
        assert found(conn, user_id="bob") == ["a"]
        assert found(conn, agent="chat") == ["a"]
        assert found(conn, agent='chat "2"') == ["b"]
        assert found(conn, agent="überagent") == ["c"]
        assert found(conn, agent="cha%") == []
        assert found(conn, agent="chatbot", user_id="bob") == []
        assert found(conn, user_id="", agent="") == ["a", "b", "c"]


def test_filters_by_tag_and_metadata_take_a_key_or_a_pair(tmp_path: Path) -> None:
    """`key` asks for the key, `key=value` for its value as JSON text."""
    with recording(tmp_path) as (make, conn):
        make.run("a", tags={"kind": "chat", "a.b": "x=y"}, metadata={"turn": 1, "ok": True})
        make.run(
            "b",
            tags={"kind": "task", 'é"q': "1", "was": "chat"},
            metadata={"turn": 2.5, "ok": None},
        )
        make.run("c", metadata={"deep": {"kind": "chat", "list": [1]}, "kind ": 1})
        assert found(conn, tag="kind") == ["a", "b"]
        assert found(conn, tag="kind=chat") == ["a"]
        assert found(conn, tag="a.b=x=y") == ["a"]
        assert found(conn, tag='é"q=1') == ["b"]
        assert found(conn, tag="kin") == []
        assert found(conn, metadata="turn=1") == ["a"]
        assert found(conn, metadata="turn=2.5") == ["b"]
        assert found(conn, metadata="ok=true") == ["a"]
        assert found(conn, metadata="ok=null") == ["b"]
        assert found(conn, metadata="kind") == []
        assert found(conn, metadata='deep={"kind":"chat","list":[1]}') == ["c"]
        assert found(conn, metadata="\0") == []
        assert found(conn, metadata="deep\0.kind=chat") == []
        assert found(conn, tag="kind=task", metadata="turn=1") == []


def test_times_bound_the_last_activity(tmp_path: Path) -> None:
    """A session that began long ago and went on is found by when it went on; bounds count."""
    with recording(tmp_path) as (make, conn):
        make.run("old", at=0, seconds=1)
        make.run("long", at=0, seconds=1)
        make.run("long", at=100, seconds=1)
        assert found(conn, since=moment(50)) == ["long"]
        assert found(conn, until=moment(50)) == ["old"]
        assert found(conn, since=moment(101), until=moment(101)) == ["long"]
        assert found(conn, since=moment(102)) == []


def test_search_reads_values_of_inputs_and_results(tmp_path: Path) -> None:
    """Text is found in any case, as it is, in values only: not in names, not in escapes."""
    with recording(tmp_path) as (make, conn):
        make.run("a", inputs={"message": 'Where is "my" Größe?'}, result={"response": "100%_sure"})
        make.run(
            "b", inputs={"message": "line\nbreak", "n": 1234}, result={"response": ["C:\\new"]}
        )
        make.run("c")
        assert found(conn, search="WHERE IS") == ["a"]
        assert found(conn, search='"MY"') == ["a"]
        assert found(conn, search="GRÖSSE") == ["a"]
        assert found(conn, search="0%_S") == ["a"]
        assert found(conn, search="1%e") == []
        assert found(conn, search="line\nb") == ["b"]
        assert found(conn, search="nbreak") == []
        assert found(conn, search="c:\\NEW") == ["b"]
        assert found(conn, search="1234") == ["b"]
        assert found(conn, search="message") == []


def test_search_takes_any_text(tmp_path: Path) -> None:
    """Neither a lone surrogate nor SQL in the text is more than text that does not occur."""
    with recording(tmp_path) as (make, conn):
        make.run("a", inputs={"message": "hello"}, result="not json but hello")
        assert found(conn, search="\udc80") == []
        assert found(conn, search="' OR 1=1 --") == []
        assert found(conn, search="but hello") == ["a"]
        assert found(conn, user_id="\udc80") == []


def every_status(make: Builder) -> None:
    """Add one session of each kind, named after what it is."""
    alive, dead = make.process(alive=True), make.process(alive=False)
    make.run("going", seconds=None, process=alive)
    make.run("killed", seconds=None, process=dead)
    make.run("killed", process=alive)
    make.run("back", seconds=None, process=dead)
    make.run("back", seconds=None, process=alive)
    make.run("unknown writer", seconds=None)
    make.run("said so", status="interrupted", process=alive)
    make.run("failed", status="error", process=alive)
    make.run("refused", status="blocked", process=alive)
    make.run("fine", process=dead)


def test_a_session_shows_what_became_of_its_runs(tmp_path: Path) -> None:
    """Running only while an open run's process lives; interrupted when that is gone."""
    with recording(tmp_path) as (make, conn):
        every_status(make)
        shown = {one.session_id: one.status for one in list_sessions(conn)}
        stored = conn.execute("SELECT count(*) FROM runs WHERE status = 'running'").fetchone()[0]
    assert shown == {
        "going": "running",
        "killed": "interrupted",
        "back": "running",
        "unknown writer": "running",
        "said so": "interrupted",
        "failed": "error",
        "refused": "error",
        "fine": "success",
    }
    assert stored == 5


def test_the_status_filter_agrees_with_the_status_shown(tmp_path: Path) -> None:
    """Each status finds the sessions that show it; `blocked` those with a blocked run."""
    with recording(tmp_path) as (make, conn):
        every_status(make)
        assert found(conn, status="running") == ["back", "going", "unknown writer"]
        assert found(conn, status="interrupted") == ["killed", "said so"]
        assert found(conn, status="error") == ["failed", "refused"]
        assert found(conn, status="blocked") == ["refused"]
        assert found(conn, status="success") == ["fine"]


def test_a_process_id_that_is_not_a_number_is_that_of_nobody(tmp_path: Path) -> None:
    """Any program may have written the run, and SQLite keeps what it is given."""
    with recording(tmp_path) as (make, conn):
        every_status(make)
        foreign: tuple[Any, ...] = ("worker-1", b"\xff", 1.5)
        for process in foreign:
            make.run("foreign", seconds=None, process=process)
        assert found(conn, status="running") == ["back", "foreign", "going", "unknown writer"]
        assert found(conn, status="interrupted") == ["killed", "said so"]
        assert {run.status for run in recent_runs(conn)} >= {"running", "interrupted"}


def test_an_unknown_status_is_refused() -> None:
    """A status that no session can have is an error, not an empty list."""
    with pytest.raises(InvalidQuery):
        SessionFilter(status="done")


def test_a_session_is_detailed_with_its_runs_in_order(tmp_path: Path) -> None:
    """Runs come by their start, each with its totals, its words and its error."""
    with recording(tmp_path) as (make, conn):
        second = make.run(at=5, seconds=1, status="error", error="no luck", error_type="ValueError")
        first = make.run(at=0, inputs={"message": "Hi"}, result={"response": "Hello " * 50})
        make.llm(first, 10, 5, cost=0.25)
        make.llm(first, 10, 5)
        detail = get_session(conn, "s1")
    one, two = detail.runs
    assert [one.run_id, two.run_id] == [first, second]
    assert (one.llm_calls, one.total_tokens, one.priced_share, one.total_cost) == (2, 30, 0.5, 0.25)
    assert (one.message, one.answer, one.error) == ("Hi", "Hello " * 50, None)
    assert (two.status, two.error, two.error_type) == ("error", "no luck", "ValueError")
    assert (two.total_cost, two.priced_share) == (0.0, None)
    assert (detail.session.title, detail.session.run_count) == ("Hi", 2)


def test_a_long_session_is_detailed_page_by_page(tmp_path: Path) -> None:
    """Limit and offset choose among the runs; the session's own count tells of the rest."""
    with recording(tmp_path) as (make, conn):
        for number in range(5):
            make.run(at=number)
        detail = get_session(conn, "s1", limit=2, offset=3)
    assert [run.run_id for run in detail.runs] == [run_id(4), run_id(5)]
    assert detail.session.run_count == 5


def test_a_session_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """An unknown id raises `NotFound`, also the beginning of a known one."""
    with recording(tmp_path) as (make, conn):
        make.run("sess_1")
        with pytest.raises(NotFound):
            get_session(conn, "sess_")


def test_the_newest_sessions_come_from_the_index_on_activity(tmp_path: Path) -> None:
    """The default list reads no more of the index than its page and sorts nothing."""
    with recording(tmp_path) as (_make, conn):
        steps = plan(conn, lambda: list_sessions(conn))
        since = plan(conn, lambda: list_sessions(conn, filter=SessionFilter(since="24h")))
    assert "INDEX sessions_by_activity" in steps
    assert "INDEX sessions_by_activity (last_activity_at>?)" in since
    assert "TEMP B-TREE" not in steps + since


def test_a_users_sessions_come_from_the_index_on_users(tmp_path: Path) -> None:
    """With or without a time, no other session is read."""
    with recording(tmp_path) as (_make, conn):
        of_user = SessionFilter(user_id="alice")
        steps = plan(conn, lambda: list_sessions(conn, filter=of_user))
        lately = SessionFilter(user_id="alice", since="24h")
        since = plan(conn, lambda: list_sessions(conn, filter=lately))
    for found in (steps, since):
        assert "SEARCH u USING COVERING INDEX session_users_by_user" in found
        assert "SCAN s" not in found


def test_the_newest_sessions_of_somebody_with_thousands_are_read_in_order(tmp_path: Path) -> None:
    """No sort of all of them, and the same sessions."""
    with recording(tmp_path) as (make, conn):
        for number in range(2_002):
            make.run(f"s{number:04}", user="alice", at=number)
        make.run("of bob", user="bob", at=5_000)
        of_user = SessionFilter(user_id="alice")
        steps = plan(conn, lambda: list_sessions(conn, filter=of_user))
        newest = [one.session_id for one in list_sessions(conn, filter=of_user, limit=3)]
        whole = count_sessions(conn, filter=of_user)
    assert "SCAN s USING COVERING INDEX sessions_by_activity" in steps
    assert "TEMP B-TREE" not in steps
    assert (newest, whole) == (["s2001", "s2000", "s1999"], 2_002)


def test_no_query_leaves_a_transaction_open(tmp_path: Path) -> None:
    """After an answer, and after an error, the connection holds no snapshot."""
    with recording(tmp_path) as (make, conn):
        make.run()
        list_sessions(conn)
        with pytest.raises(NotFound):
            get_session(conn, "nobody")
        assert not conn.in_transaction


HI = {"message": "Hi"}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([({}, "What is it?"), (HI, "")], "What is it?"),
        ([(None, '[{"role": "user", "content": "What is it?"}]')], "What is it?"),
        ([(None, ""), ({}, None), (HI, "What is it?")], "Hi"),
        ([(HI, "What is it?")], "Hi"),
        ([(None, None)] * 3, ""),
        ([(None, None)] * FIRST_RUNS + [(HI, "")], ""),
    ],
)
def test_a_title_is_the_first_that_was_said(
    tmp_path: Path, runs: list[tuple[dict[str, str] | None, str | None]], expected: str
) -> None:
    """To one of the first runs, or by it to a model; each session has its own."""
    with recording(tmp_path) as (to, conn):
        for number, (inputs, prompt) in enumerate(runs):
            run = to.run("s", at=float(number), inputs=inputs)
            to.llm(run)
            to.llm(run, prompt_preview=prompt)
            to.run("other", at=float(number), inputs={"message": "Else"})
        found = {one.session_id: one.title for one in list_sessions(conn)}
    assert found == {"s": expected, "other": "Else"}
