"""Rows as Parquet: each column of its kind, read back by the library that others use."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tests.tools.cli import invoke, recorded
from waxlocal import exports
from waxlocal.parquet import ParquetRows

WHEN = "2026-01-31T09:30:00.123456Z"
COLUMNS = ("title", "started_at", "users", "turn_count", "total_cost")


def written(rows: list[dict[str, Any]], size: int = 2) -> bytes:
    """Return the file with these rows, written in pieces."""
    file = ParquetRows(COLUMNS)
    pieces = [file.piece(rows[at : at + size]) for at in range(0, len(rows), size)]
    return b"".join([file.begin(), *pieces, file.end()])


def row(title: str, **columns: Any) -> dict[str, Any]:
    """Return a row, of which other columns than these are left out."""
    given = {"started_at": WHEN, "users": (), "turn_count": 1, "total_cost": None, "else": 1}
    return {"title": title, **given, **columns}


def test_columns_have_their_kinds() -> None:
    """Times in UTC, lists, whole and real numbers, text."""
    table = parquet.read_table(io.BytesIO(written([row("a", users=("u", "v"), total_cost=0.5)])))
    assert [str(kind) for kind in table.schema.types] == [
        "string", "timestamp[us, tz=UTC]", "list<element: string>", "int64", "double",
    ]  # fmt: skip
    when = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=timezone.utc)
    assert table.to_pylist() == [
        {"title": "a", "started_at": when, "users": ["u", "v"], "turn_count": 1, "total_cost": 0.5}
    ]


@given(st.lists(st.tuples(st.text(), st.none() | st.floats(allow_nan=False), st.integers(
    -(2**63), 2**63 - 1), st.lists(st.text()))))  # fmt: skip
def test_rows_come_back_as_they_were(
    made: list[tuple[str, float | None, int, list[str]]],
) -> None:
    """In any pieces, in order, also none at all."""
    rows = [row(a, total_cost=b, turn_count=c, users=tuple(d)) for a, b, c, d in made]
    found = parquet.read_table(io.BytesIO(written(rows))).to_pylist()
    assert [(r["title"], r["total_cost"], r["turn_count"], r["users"]) for r in found] == made


@pytest.mark.parametrize("odd", [None, "", "yesterday", "9999-99-99", 7])
def test_a_time_that_is_none_is_left_out(odd: object) -> None:
    """Another program may have written it."""
    (found,) = parquet.read_table(io.BytesIO(written([row("a", started_at=odd)]))).to_pylist()
    assert found["started_at"] is None


def test_half_of_a_surrogate_stops_nothing() -> None:
    """JSON may hold one."""
    (found,) = parquet.read_table(io.BytesIO(written([row("a\ud800b")]))).to_pylist()
    assert found["title"] == "a?b"


@pytest.mark.parametrize(("column", "odd", "read"), [
    ("title", b"a\xff", "a\ufffd"), ("title", 7, "7"), ("turn_count", float("inf"), None),
    ("turn_count", 2.0, 2), ("turn_count", 1.5, None), ("turn_count", 2**63, None),
    ("turn_count", "3", None), ("total_cost", 2**53 + 1, 2.0**53), ("total_cost", "x", None),
    ("users", ("a\ud800", None, 5), ["a?", None, "5"]), ("users", "u", []),
])  # fmt: skip
def test_what_a_column_cannot_hold_stops_nothing(column: str, odd: object, read: object) -> None:
    """Another program may have written it: near it, or nothing, is there."""
    (found,) = parquet.read_table(io.BytesIO(written([row("a") | {column: odd}]))).to_pylist()
    assert found[column] == read


def test_every_column_of_csv_has_a_kind() -> None:
    """Names in the lists of kinds are names of columns."""
    columns = {*exports.SESSION_COLUMNS, *exports.RUN_COLUMNS, *exports.USER_COLUMNS}
    assert columns >= exports.WHOLE_NUMBERS | exports.REAL_NUMBERS | exports.TEXT_LISTS


def test_pandas_reads_what_the_command_writes(db_path: Path, tmp_path: Path) -> None:
    """With the filter; figures are numbers, and no figure is none."""
    with recorded(db_path) as to:
        for number in range(3):
            run = to.run(f"s{number}", at=number, user="u", seconds=2.0)
            to.llm(run, 10 * number, 1, cost=None if number == 2 else 0.1)
    said = invoke("sessions", "--parquet", "--user", "u", db=db_path)
    file = tmp_path / "sessions.parquet"
    file.write_bytes(said.stdout_bytes)
    frame = pd.read_parquet(file)
    assert frame["session_id"].tolist() == ["s2", "s1", "s0"]
    assert frame["total_cost"].isna().tolist() == [True, False, False]
    assert frame["total_duration"].sum() == 6.0
    assert frame["users"].tolist()[0].tolist() == ["u"]
    assert str(frame["last_activity_at"].dtype) == "datetime64[us, UTC]"
    assert pyarrow.parquet.read_metadata(file).num_rows == 3
