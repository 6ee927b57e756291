"""A row that is changed says so, and what was delivered goes again, whoever changes it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from waxlocal.records import LLM_CALLS, NEEDED, RECORD_TABLES, RUNS, SPANS, Kind, Table
from waxlocal.storage.schema import schema_text

RUN_ID = "019b0000-0000-7000-8000-000000000001"
TIME = "2026-01-31T09:30:00.123456Z"
EXAMPLES = {
    Kind.RUN_ID: (RUN_ID, RUN_ID),
    Kind.TIME: (TIME, "2026-01-31T09:30:01.000000Z"),
    Kind.STATUS: ("success", "error"),
    Kind.INTEGER: (1, 2),
    Kind.NUMBER: (1.5, 2.5),
    Kind.SCORE: (1.5, 2.5),
    Kind.JSON: ("{}", '{"a":1}'),
}
# What a row is known by, where it belongs, and the revision itself.
KEPT = ("id", "run_id", "workflow_id", "session_id", "position", "process_id", "revision")
ALL = pytest.mark.parametrize("table", [RUNS, *RECORD_TABLES], ids=lambda table: table.name)
OF_RECORDS = pytest.mark.parametrize("table", RECORD_TABLES, ids=lambda table: table.name)


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    """Open a file with one of everything, delivered."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        conn.executescript(schema_text())
        for table in (RUNS, *RECORD_TABLES):
            add(conn, table, **({"cost": 0.5} if table is LLM_CALLS else {}))
        conn.execute("INSERT INTO targets (target_id, url) VALUES (1, 'https://x')")
        conn.execute(
            "INSERT INTO deliveries (run_id, target_id, state, remote_run_id, delivered_at)"
            " VALUES (?, 1, 'delivered', 'r', ?)",
            (RUN_ID, TIME),
        )
        yield conn


def add(conn: sqlite3.Connection, table: Table, **given: object) -> None:
    """Add a row with a value in every column that must have one."""
    row = {
        column.name: EXAMPLES.get(column.kind, ("text",))[0]
        for column in table.columns
        if column.default is NEEDED or (column.required and column.name != "revision")
    } | given
    names, values = ", ".join(row), ", ".join("?" * len(row))
    conn.execute(f"INSERT INTO {table.name} ({names}) VALUES ({values})", tuple(row.values()))


def set_state(conn: sqlite3.Connection, state: str = "delivered") -> None:
    conn.execute("UPDATE deliveries SET state = ?", (state,))


def state(conn: sqlite3.Connection) -> str:
    return str(conn.execute("SELECT state FROM deliveries").fetchone()[0])


def revision(conn: sqlite3.Connection, table: Table) -> int | None:
    found: int | None = conn.execute(f"SELECT revision FROM {table.name}").fetchone()[0]
    return found


@OF_RECORDS
@pytest.mark.parametrize("before", ["delivered", "sending", "open", "parked", "pending"])
def test_a_late_record_goes(conn: sqlite3.Connection, table: Table, before: str) -> None:
    """Whatever table it stands in; a run that goes on stays as it is."""
    set_state(conn, before)
    add(conn, table, position=2)
    assert state(conn) == (before if before == "open" else "pending")
    assert revision(conn, table) is None


@OF_RECORDS
def test_a_late_record_of_a_run_that_was_refused_does_not_go(
    conn: sqlite3.Connection, table: Table
) -> None:
    """The server does not know the run, so it would refuse the record, too."""
    conn.execute("UPDATE deliveries SET state = 'parked', remote_run_id = NULL")
    add(conn, table, position=2)
    assert state(conn) == "parked"


@ALL
def test_a_change_of_any_column_goes(conn: sqlite3.Connection, table: Table) -> None:
    """Each change has a greater revision than the one before, in milliseconds since 1970."""
    last = int(time.time() * 1000) - 10  # SQLite's clock is rounded
    for column in table.columns:
        if column.name in KEPT:
            continue
        set_state(conn)
        value = EXAMPLES.get(column.kind, ("", "other"))[1]
        conn.execute(f"UPDATE {table.name} SET {column.name} = ?", (value,))
        now = revision(conn, table)
        assert state(conn) == "pending", column.name
        assert now is not None
        assert now > last, column.name
        last = now
    assert last < time.time() * 1000 + 1_000


@ALL
def test_a_clock_that_was_put_back_makes_nothing_older(
    conn: sqlite3.Connection, table: Table
) -> None:
    """The next revision is always greater than the one there is."""
    ahead = 99_999_999_999_999
    conn.execute(f"UPDATE {table.name} SET revision = ?", (ahead,))
    column = table.moment
    conn.execute(f"UPDATE {table.name} SET {column} = ?", ("2026-01-31T09:30:02.000000Z",))
    assert revision(conn, table) == ahead + 1


@ALL
def test_a_revision_that_comes_from_elsewhere_stays(conn: sqlite3.Connection, table: Table) -> None:
    """And what came with it goes on from here."""
    conn.execute(f"UPDATE {table.name} SET revision = 17, {table.moment} = ?", (TIME,))
    assert (revision(conn, table), state(conn)) == (17, "pending")


@pytest.mark.parametrize("before", ["delivered", "sending"])
def test_the_end_of_a_run_goes_and_is_no_change(conn: sqlite3.Connection, before: str) -> None:
    """What a run that goes on says of itself is recorded for the first time."""
    add(conn, RUNS, run_id="open", status="running")
    conn.execute("UPDATE deliveries SET run_id = 'open'")
    set_state(conn, before)
    conn.execute("UPDATE runs SET tags = '{}' WHERE run_id = 'open'")
    assert state(conn) == before
    conn.execute("UPDATE runs SET status = 'success' WHERE run_id = 'open'")
    assert state(conn) == "pending"
    assert conn.execute("SELECT revision FROM runs WHERE run_id = 'open'").fetchone() == (None,)
    set_state(conn)
    conn.execute("UPDATE runs SET tags = '{}' WHERE run_id = 'open'")
    assert state(conn) == "pending"


def test_the_end_of_a_span_goes_and_is_no_change(conn: sqlite3.Connection) -> None:
    """A tool that outlives its run ends after the run was delivered."""
    add(conn, SPANS, position=2, status="running")
    set_state(conn)
    conn.execute("UPDATE spans SET status = 'ok', duration_ms = 7 WHERE position = 2")
    assert state(conn) == "pending"
    assert conn.execute("SELECT revision FROM spans WHERE position = 2").fetchone() == (None,)


def test_a_cost_that_becomes_known_goes_and_is_no_change(conn: sqlite3.Connection) -> None:
    """It may become known here and elsewhere, and neither is newer; another cost is a change."""
    conn.execute("UPDATE llm_calls SET cost = NULL")
    withdrawn = revision(conn, LLM_CALLS)
    set_state(conn)
    conn.execute("UPDATE llm_calls SET cost = 0.25")
    assert (revision(conn, LLM_CALLS), state(conn)) == (withdrawn, "pending")
    conn.execute("UPDATE llm_calls SET cost = 0.75")
    assert revision(conn, LLM_CALLS) != withdrawn


def test_events_outside_any_run_are_queued_in_the_order_of_arrival(
    conn: sqlite3.Connection,
) -> None:
    """Whatever their positions say, which are times of some clock."""
    add_event = "INSERT INTO events (run_id, position, recorded_at, event) VALUES (?, ?, ?, 'e')"
    for run_id, position in (("", 7), ("", 3), (RUN_ID, 9), ("", 5)):
        conn.execute(add_event, (run_id, position, TIME))
    assert conn.execute("SELECT position FROM outside_events ORDER BY id").fetchall() == [
        (7,),
        (3,),
        (5,),
    ]
