"""Every column of every record goes with it to another file, or says why it stays."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.tools.bulk_lines import line
from tests.wire.test_round_trip import WAYS, differences, files
from waxlocal.records import (
    LLM_CALLS,
    RECORD_TABLES,
    RUNS,
    SCORES,
    STEPS,
    TABLES,
    Column,
    Kind,
    Table,
)
from waxlocal.storage.schema import schema_text
from waxlocal.wire.bulk import read_line
from waxlocal.wire.calls import columns_of_call, columns_of_span
from waxlocal.wire.exact import told, written
from waxlocal.wire.scores import columns_of_score
from waxlocal.wire.steps import columns_of_step

# The columns that are in no request and no batch, and why.
STAYS = {
    ("processes", "process_id"): "computed from the others where it is not sent beside them",
    ("runs", "id"): "the order of arrival in one file",
    ("runs", "workflow_id"): "follows from the run's id",
    ("runs", "process_id"): "the process goes with the run",
    ("llm_calls", "message_keys"): "the messages travel whole",
    ("llm_calls", "tool_keys"): "the tools travel whole",
}
# A value that no column has by default, by what the column holds.
_OTHER: dict[Kind, Any] = {
    Kind.RUN_ID: "01942000-0000-7000-8000-0000000000ff",
    Kind.ID: "sess_other",
    Kind.TEXT: "other",
    Kind.STATUS: "blocked",
    Kind.TIME: "2027-02-28T01:02:03.456789Z",
    Kind.JSON: '{"other" : 1.50}',
    Kind.INTEGER: 9_007_199_254_740_993,
    Kind.TOKENS: 9_007_199_254_740_993,
    Kind.NUMBER: 0.1 + 0.2,
    Kind.SCORE: float("-inf"),
    Kind.REVISION: 1_790_000_000_000,
}
_PLAIN: dict[Kind, Any] = {
    Kind.RUN_ID: "01942000-0000-7000-8000-000000000001",
    Kind.ID: "sess_1",
    Kind.TEXT: "x",
    Kind.STATUS: "success",
    Kind.TIME: "2026-01-31T09:30:00.000000Z",
    Kind.JSON: '{"a":1}',
    Kind.INTEGER: 1,
    Kind.TOKENS: 1,
    Kind.NUMBER: 1.0,
    Kind.SCORE: 1.0,
    Kind.REVISION: 1,
}


def columns() -> list[tuple[str, str]]:
    """Return (table, column) of all tables of records, as the schema has them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_text())
        return [
            (table.name, column[1])
            for table in TABLES
            for column in connection.execute(f"PRAGMA table_xinfo({table.name})")
        ]


def test_every_column_travels_or_says_why_it_stays() -> None:
    """All columns of the schema, none twice; the run's id goes with each of its records."""
    travelling = {(table.name, column.name) for table in TABLES for column in table.travelling}
    inside = {(table.name, "run_id") for table in RECORD_TABLES}
    assert travelling | inside | STAYS.keys() == set(columns())
    assert not travelling & (inside | STAYS.keys())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_item_says_each_column_that_its_fields_do_not_give(table: Table) -> None:
    """And a row can be made of what it says."""
    row = {column.name: _PLAIN[column.kind] for column in table.travelling}
    said = told(table, row, {})
    assert said == row
    assert written(table, json.loads(json.dumps(said)), {}) == row


def _changed() -> list[tuple[Table, Column]]:
    tables = (table for table in TABLES if table.name != "processes")
    return [(table, column) for table in tables for column in table.travelling]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("table", "column"), _changed(), ids=lambda one: getattr(one, "name", None)
)
def test_a_column_alone_arrives(table: Table, column: Column, way: str) -> None:
    """One run with one record of each kind, in which one column has another value."""
    rows = {
        one.name: {part.name: _PLAIN[part.kind] for part in one.travelling}
        for one in (RUNS, *RECORD_TABLES)
    }
    rows[table.name][column.name] = _OTHER[column.kind]
    run = rows.pop("runs")
    with files(2) as (device, hub):
        device.insert((run, None, {name: [row] for name, row in rows.items()}))
        device.send(hub, way)
        assert differences(hub, device) == []


def test_a_line_of_a_batch_may_have_every_column() -> None:
    """What is left out of a line has a default; what is there is kept."""
    document = line()
    for table in RECORD_TABLES:
        row = {column.name: _PLAIN[column.kind] for column in table.travelling}
        document[table.name] = [row]
    records = read_line(document).records
    for table in RECORD_TABLES:
        (row,) = records[table.name]
        assert dict(zip(table.arriving, row, strict=True)) == {
            "run_id": document["run"]["run_id"],
            **document[table.name][0],
        }


@pytest.mark.parametrize(
    ("read", "table"),
    [
        (columns_of_call, LLM_CALLS),
        (columns_of_span, LLM_CALLS),
        (columns_of_step, STEPS),
        (columns_of_score, SCORES),
    ],
)
def test_what_the_original_sdk_sends_fills_every_column(
    read: Callable[[dict[str, Any]], dict[str, Any]], table: Table
) -> None:
    """Also one of which it knows nothing: the `INSERT` takes each column by its name."""
    assert read({}).keys() == table.defaults.keys()
