"""The description of the record tables says what the file has."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.sdk_rows import only
from waxlocal import WaxellContext
from waxlocal.delivery.progress import DeliveryState, RequestState
from waxlocal.ingest.known_runs import find_run
from waxlocal.ingest.runs import end_exactly, end_run
from waxlocal.maintenance.main_rows import MainRows
from waxlocal.maintenance.side_log import Change
from waxlocal.prices.lookup import PriceSource
from waxlocal.queries import Event, LlmCall, Score, SessionFilter, Span, Step, list_sessions
from waxlocal.queries.run_list import RunFilter, list_runs
from waxlocal.recording.statements import FINISH_RUN
from waxlocal.records import (
    LLM_CALLS,
    NEEDED,
    NOT_FINAL_STATUSES,
    PROCESS_ID_COLUMNS,
    PROCESSES,
    RECORD_TABLES,
    RUN_STATUSES,
    RUNS,
    SPANS,
    TABLES,
    CostSource,
    Kind,
    Phase,
    RecordStatus,
    RunStatus,
    Table,
)
from waxlocal.storage.connection import open_writer, reader, writer
from waxlocal.storage.schema import schema_text
from waxlocal.wire.runs import process_id

RUN_ID = "019b0000-0000-7000-8000-000000000001"
# Columns that 0.2 leaves out of its INSERTs although they may not be NULL, with their defaults.
LATER = {"usage_known": "1"}
EXAMPLES = {
    Kind.RUN_ID: RUN_ID,
    Kind.TIME: "2026-01-31T09:30:00.123456Z",
    Kind.STATUS: "running",
    Kind.INTEGER: 1,
    Kind.TOKENS: 1,
    Kind.NUMBER: 1.5,
    Kind.SCORE: 1.5,
}


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        conn.executescript(schema_text())
        yield conn


def add(conn: sqlite3.Connection, table: Table, **more: object) -> None:
    """Add a row with a value in every column that has to have one, and what else is given."""
    required = [column for column in table.columns if column.required]
    row = {column.name: EXAMPLES.get(column.kind, "text") for column in required} | more
    names, values = ", ".join(row), ", ".join("?" * len(row))
    conn.execute(f"INSERT INTO {table.name} ({names}) VALUES ({values})", tuple(row.values()))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_as_in_the_file(conn: sqlite3.Connection, table: Table) -> None:
    """Names in the same order, types, NOT NULL, and no default that SQLite would fill in.

    But for a column that may not be NULL and that 0.2, which records into the file, does not know.
    """
    stored = conn.execute(f"PRAGMA table_xinfo({table.name})").fetchall()
    described = [
        (column.name, column.kind.sql_type, column.required, LATER.get(column.name))
        for column in table.columns
    ]
    assert [
        (name, kind.removesuffix(" GENERATED ALWAYS"), bool(not_null), default)
        for _, name, kind, not_null, default, _key, _hidden in stored
    ] == described


@pytest.mark.parametrize("table", RECORD_TABLES, ids=lambda table: table.name)
def test_records_are_keyed_by_run_and_position(conn: sqlite3.Connection, table: Table) -> None:
    """The key is the primary key, and comes first in a row."""
    stored = conn.execute(f"PRAGMA table_info({table.name})").fetchall()
    keys = sorted((key, name) for _, name, *_more, key in stored if key)
    assert tuple(name for _, name in keys) == table.key == table.names[:2]
    assert table.moment in table.names


def test_no_table_of_records_is_missing_from_the_description(conn: sqlite3.Connection) -> None:
    """A table of the file is one of records when it has a run's id and a position."""
    query = "SELECT name FROM pragma_table_list WHERE type = 'table'"
    tables = [name for (name,) in conn.execute(query)]
    records = {
        name
        for name in tables
        if {"run_id", "position"} <= {row[1] for row in conn.execute(f"PRAGMA table_info({name})")}
    }
    assert records == {table.name for table in RECORD_TABLES}


def test_a_run_has_one_of_the_statuses(conn: sqlite3.Connection) -> None:
    """The CHECK in the file takes the statuses of the description, and no other."""
    add(conn, RUNS)
    for status in RUN_STATUSES:
        conn.execute("UPDATE runs SET status = ?", (status,))
    for wrong in ("", "RUNNING", "done", *(f"{status} " for status in RUN_STATUSES)):
        with pytest.raises(sqlite3.IntegrityError):
            conn.execute("UPDATE runs SET status = ?", (wrong,))


def test_every_record_is_deleted_with_its_run(conn: sqlite3.Connection) -> None:
    """Whatever table it stands in."""
    add(conn, RUNS)
    for table in RECORD_TABLES:
        add(conn, table)
    conn.execute("DELETE FROM runs")
    counts = [conn.execute(f"SELECT count(*) FROM {t.name}").fetchone() for t in RECORD_TABLES]
    assert counts == [(0,)] * len(RECORD_TABLES)


# The triggers of a table of records: what sets each off, and what it does, always the same.
REVISION = (
    "UPDATE {table} SET revision = max(coalesce(OLD.revision, 0) + 1,"
    " CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"
    " WHERE run_id = NEW.run_id AND position = NEW.position;"
)
DELIVERY = (
    "UPDATE deliveries SET state = 'pending'"
    " WHERE run_id = NEW.run_id AND (state = 'delivered' OR state = 'sending'"
    " OR (state = 'parked' AND remote_run_id IS NOT NULL));"
)
TRIGGERS = {
    "change": ("AFTER UPDATE ON", REVISION),
    "deliver": ("AFTER INSERT ON", DELIVERY),
    "deliver_change": (r"AFTER UPDATE OF (\w+, )*revision ON", DELIVERY),
}


@pytest.mark.parametrize("table", RECORD_TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("purpose", TRIGGERS)
def test_every_table_of_records_has_the_triggers_of_revision_and_delivery(
    conn: sqlite3.Connection, table: Table, purpose: str
) -> None:
    """They are written out for each table, as SQL has no loop; so one is easily forgotten.

    One trigger may do more than that: each that fires costs the record that fires it.
    """
    event, action = TRIGGERS[purpose]
    query = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    found = [" ".join(sql.split()) for (sql,) in conn.execute(query, (table.name,))]
    head = rf"CREATE TRIGGER \w+ {event} {table.name} (WHEN .*)?BEGIN "
    unconditional = head.replace("(WHEN .*)?", "") if purpose == "deliver" else head
    wanted = action.format(table=table.name)
    assert any(re.match(unconditional, sql) and wanted in sql for sql in found)


def test_what_travels_is_what_another_file_can_know() -> None:
    """Not the ids of rows in this file; records leave the id of the run to their run."""
    travelling = {table.name: {c.name for c in table.travelling} for table in TABLES}
    assert set(RUNS.names) - travelling["runs"] == {"id", "workflow_id", "process_id"}
    assert set(PROCESSES.names) - travelling["processes"] == {"process_id"}
    for table in RECORD_TABLES:
        local = {"message_keys", "tool_keys"}.intersection(table.names)
        assert set(table.names) - travelling[table.name] == {"run_id"} | local


def test_a_default_fits_its_column() -> None:
    """A default is a value of the column's kind."""
    kinds = {"TEXT": str, "INTEGER": int, "REAL": float}
    for table in TABLES:
        for column in table.columns:
            if column.default is not None and column.default is not NEEDED:
                assert type(column.default) is kinds[column.kind.sql_type], column


@pytest.mark.parametrize("table", [RUNS, SPANS], ids=lambda table: table.name)
def test_what_begins_and_ends_has_a_phase_for_every_column(table: Table) -> None:
    """But for those that identify a row or follow from others."""
    without = {column.name for column in table.columns if column.phase is None}
    assert without == {"id", "run_id", "workflow_id", "position", "revision"}.intersection(
        table.names
    )


def words_of(*owners: type) -> set[str]:
    return {
        value for owner in owners for name, value in vars(owner).items() if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("column", "owners"),
    [
        ("status", (RunStatus, RecordStatus)),
        ("state", (DeliveryState, RequestState)),
        ("source", (PriceSource,)),
        ("cost_source", (CostSource,)),
    ],
)
def test_sql_compares_a_state_with_a_word_that_it_can_have(
    column: str, owners: tuple[type, ...]
) -> None:
    """The schema and the statements in Python write the words of these columns out."""
    package = Path(waxlocal.__file__).parent
    texts = [schema_text(), *(path.read_text("utf-8") for path in package.rglob("*.py"))]
    compared = re.compile(rf"\b{column} (?:=|<>|IS NOT|IS) '(\w+)'")
    found = {word for text in texts for word in compared.findall(text)}
    assert found
    assert found <= words_of(*owners)


def test_the_statuses_of_a_run_are_those_with_a_name() -> None:
    """The tuple, in its order, is for checks and choices; code says which one it means by name."""
    assert set(RUN_STATUSES) == words_of(RunStatus)


def _end_by_recorder(conn: sqlite3.Connection) -> None:
    nothing = [None] * (len(RUNS.names_of(Phase.END)) + len(RUNS.names_of(Phase.ANY_TIME)) - 1)
    conn.execute(FINISH_RUN.sql, (RunStatus.ERROR, *nothing, RUN_ID))


def _end_by_request(conn: sqlite3.Connection) -> None:
    end_run(conn, find_run(conn, RUN_ID), {"status": RunStatus.ERROR}, time.time_ns())


def _end_by_waxlocal(conn: sqlite3.Connection) -> None:
    end_exactly(conn, find_run(conn, RUN_ID), {"status": RunStatus.ERROR}, {"run": {}})


def _end_from_side_file(conn: sqlite3.Connection) -> None:
    row = {"run_id": RUN_ID, "status": RunStatus.ERROR}
    MainRows(conn, "side").take([Change(1, RUNS, RUN_ID, 0, False, False, row)])


@pytest.mark.parametrize("status", RUN_STATUSES)
@pytest.mark.parametrize(
    "end", [_end_by_recorder, _end_by_request, _end_by_waxlocal, _end_from_side_file]
)
def test_only_an_end_that_was_a_guess_is_replaced_by_another(
    conn: sqlite3.Connection, status: str, end: Callable[[sqlite3.Connection], None]
) -> None:
    """Whatever brings the other end: the recorder, a request, or a side file."""
    add(conn, RUNS, status=status)
    end(conn)
    (found,) = conn.execute("SELECT status FROM runs").fetchone()
    assert found == (RunStatus.ERROR if status in NOT_FINAL_STATUSES else status)


@pytest.mark.parametrize("column", [column.name for column in PROCESSES.travelling])
def test_a_process_without_an_id_gets_it_from_what_identifies_it(column: str) -> None:
    """And from nothing else: the same process arrives again with another version or time."""
    row = {name.name: f"a {name.name}" for name in PROCESSES.travelling}
    other = row | {column: "another"}
    same = process_id({}, list(row.values())) == process_id({}, list(other.values()))
    assert same == (column not in PROCESS_ID_COLUMNS)


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.usefixtures("recorder")
def test_a_run_changes_by_phases(db_path: Path) -> None:
    """The start, what is said on the way, and the end each set their columns, and no others."""
    given = {"inputs": {"q": 1}, "session_id": "s", "user_id": "u", "user_group": "g"}
    states = []
    with WaxellContext("outer"), pytest.raises(ValueError, match="no"):  # noqa: PT012, SIM117
        with WaxellContext("agent", **given) as ctx:
            states.append(only(db_path, "runs", agent_name="agent"))
            ctx.set_tag("k", "v")
            ctx.set_metadata("k", "v")
            ctx.set_result({"a": 1})
            ctx.record_step("one")
            states.append(only(db_path, "runs", agent_name="agent"))
            raise ValueError("no")
    begun, on_the_way = states
    ended = only(db_path, "runs", agent_name="agent")
    filled = {name for name, value in begun.items() if value is not None}
    assert filled == {"id", "run_id", "workflow_id", "status", *RUNS.names_of(Phase.START)}
    assert differing(begun, on_the_way) == set(RUNS.names_of(Phase.ANY_TIME))
    assert differing(on_the_way, ended) == set(RUNS.names_of(Phase.END))


@pytest.mark.usefixtures("recorder")
def test_a_span_changes_by_phases(db_path: Path) -> None:
    """Its end sets the columns of the end, and no others."""
    with WaxellContext("agent") as ctx:
        outer = ctx.enter_span("outer")
        inner = ctx.enter_span("inner", attributes={"a": 1}, input_data={"i": 1})
        open_ = only(db_path, "spans", name="inner")
        ctx.exit_span(inner, output_data={"o": 1}, exc=ValueError("no"))
        ctx.exit_span(outer)
    filled = {name for name, value in open_.items() if value is not None}
    assert filled == {"run_id", "position", "status", *SPANS.names_of(Phase.START)}
    assert differing(open_, only(db_path, "spans", name="inner")) == set(SPANS.names_of(Phase.END))


@pytest.mark.parametrize(
    ("table", "row"),
    list(zip(RECORD_TABLES, (LlmCall, Step, Span, Score, Event), strict=True)),
    ids=lambda given: getattr(given, "name", ""),
)
def test_a_record_is_read_with_all_of_its_columns(table: Table, row: type) -> None:
    """What the queries return of a record has a field for each column, in the same order.

    But for the revision, which is for files that meet, and not for people.
    """
    of_the_query = {"children"}
    names = [field.name for field in fields(row) if field.name not in of_the_query]
    assert [*names, "revision"] == [column.name for column in table.travelling]


@pytest.mark.parametrize("status", RUN_STATUSES)
def test_lists_find_runs_of_every_status(db_path: Path, status: str) -> None:
    """The list of runs and the list of sessions take each status that a run can have."""
    with writer(db_path) as conn:
        add(conn, RUNS, status=status, session_id="s")
    with reader(db_path) as conn:
        assert [run.status for run in list_runs(conn, filter=RunFilter(status=status))] == [status]
        (session,) = list_sessions(conn, filter=SessionFilter(status=status))
        assert session.session_id == "s"


def _changed_call(db_path: Path, changes: str) -> list[object]:
    """Return the revision that a call without a cost has after an UPDATE by hand."""
    with closing(open_writer(db_path)) as conn:
        conn.execute("DELETE FROM llm_calls")
        names = ", ".join(LLM_CALLS.names)
        values = dict.fromkeys(LLM_CALLS.names, 0) | {"run_id": "r", "position": 1}
        values |= {"cost": None, "cost_source": None, "revision": None}
        marks = ", ".join(f":{name}" for name in LLM_CALLS.names)
        conn.execute(f"INSERT INTO llm_calls ({names}) VALUES ({marks})", values)
        conn.execute(f"UPDATE llm_calls SET {changes}")
        return [row[0] for row in conn.execute("SELECT revision FROM llm_calls")]


def test_a_cost_that_becomes_known_is_no_change(db_path: Path) -> None:
    """It may become known in several files, and none of them is newer then."""
    assert _changed_call(db_path, "cost = 0.1, cost_source = 'price'") == [None]


@pytest.mark.parametrize(
    "column",
    sorted({*LLM_CALLS.names} - {"run_id", "position", "cost", "cost_source", "revision"}),
)
def test_what_changes_together_with_a_cost_is_a_change(db_path: Path, column: str) -> None:
    """Whatever the column is: a server that has the call must get it again."""
    (revision,) = _changed_call(db_path, f"cost = 0.1, {column} = 7")
    assert isinstance(revision, int)
    assert revision > 0
