"""Whole runs as they are read for the upload."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.builders import (
    Builder,
    moment,
    recording,
    run_id,
)
from waxlocal.delivery.records import load_children, load_runs
from waxlocal.storage.contents import KEYED
from waxlocal.wire.recorded_run import Delegate

File = tuple[Builder, sqlite3.Connection]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    """Return a builder and a reading connection of a fresh file."""
    with recording(tmp_path) as opened:
        yield opened


def test_runs_come_in_the_order_asked_for(file: File) -> None:
    """Each once, in the order asked for, without those that do not exist."""
    build, conn = file
    first, second = build.run(), build.run()
    loaded = load_runs(conn, [second, "nowhere", first, second])
    assert [run.run["run_id"] for run in loaded] == [second, first]
    assert load_runs(conn, []) == []


def test_a_run_has_all_columns_and_its_process(file: File) -> None:
    """Every column of every table is there, JSON as the text that the file holds."""
    build, conn = file
    run = build.run(process=build.process(alive=True), inputs={"q": 1})
    build.llm(run, details={"framework": "f"})
    build.step(run, "s")
    build.span(run, "tool")
    build.score(run, "x")
    build.event(run, "stop_requested")
    (loaded,) = load_runs(conn, [run])
    assert loaded.run["inputs"] == '{"q":1}'
    assert loaded.run["workflow_id"] == f"wf_{run}"
    assert loaded.process is not None
    assert loaded.process["program"] == "app.py"
    assert loaded.llm_calls[0]["details"] == '{"framework":"f"}'
    for table, row in {
        "runs": loaded.run,
        "processes": loaded.process,
        "llm_calls": loaded.llm_calls[0],
        "steps": loaded.steps[0],
        "spans": loaded.spans[0],
        "scores": loaded.scores[0],
        "events": loaded.events[0],
    }.items():
        columns = [column["name"] for column in conn.execute(f"PRAGMA table_xinfo({table})")]
        assert list(row) == [name for name in columns if name not in KEYED.values()]


def test_records_belong_to_their_run_and_come_by_position(file: File) -> None:
    """Runs that are read together do not mix their records."""
    build, conn = file
    first, second = build.run(), build.run()
    for name in ("a", "b", "c"):
        build.step(first, name)
        build.step(second, name.upper())
    loaded = load_runs(conn, [second, first])
    assert [[step["step_name"] for step in run.steps] for run in loaded] == [
        ["A", "B", "C"],
        ["a", "b", "c"],
    ]
    assert [[step["position"] for step in run.steps] for run in loaded] == [[1, 2, 3]] * 2


def test_many_runs_take_as_many_queries_as_one(file: File) -> None:
    """The number of queries does not grow with the number of runs."""
    build, conn = file
    process = build.process(alive=True)
    runs = [build.run(process=process) for _ in range(50)]
    for run in runs:
        build.llm(run)
    asked: list[str] = []
    conn.set_trace_callback(asked.append)
    load_runs(conn, runs[:1])
    for_one, asked[:] = len(asked), []
    load_runs(conn, runs)
    assert len(asked) == for_one > 0


def test_what_is_around_a_run(file: File) -> None:
    """A run knows its parent's agent, how many runs are around it, and which it opened."""
    build, conn = file
    outer = build.run(agent="outer", seconds=9.0)
    inner = build.run(agent="inner", parent=outer, at=1.0, seconds=5.0)
    build.run(agent="innermost", parent=inner, at=2.0, seconds=None)
    loaded = load_runs(conn, [run_id(3), inner, outer])
    assert [(run.parent_agent, run.depth) for run in loaded] == [
        ("inner", 2),
        ("outer", 1),
        (None, 0),
    ]
    assert [list(run.delegates) for run in loaded] == [
        [],
        [Delegate("innermost", moment(2.0), None)],
        [Delegate("inner", moment(1.0), moment(6.0))],
    ]


def test_a_parent_elsewhere_is_not_known(file: File) -> None:
    """A run whose parent is not in the file has none that could be spoken of."""
    build, conn = file
    (loaded,) = load_runs(conn, [build.run(parent="elsewhere")])
    assert (loaded.parent_agent, loaded.depth) == (None, 0)


def test_children_have_the_sums_of_all_below_them(file: File) -> None:
    """A child's tokens, calls and cost are those of itself and of every run that it led to."""
    build, conn = file
    outer = build.run(agent="outer")
    first = build.run(agent="first", parent=outer, at=1.0)
    second = build.run(agent="second", parent=outer, at=2.0)
    below = build.run(agent="below", parent=first, at=1.5)
    build.llm(outer, 1_000, 1_000, cost=9.0)
    build.llm(first, 10, 1, cost=0.5)
    build.llm(below, 20, 2, cost=0.25)
    build.llm(below, 30, 3)
    children = load_children(conn, f"wf_{outer}")
    assert [
        (child.agent_name, child.tokens_in, child.tokens_out, child.cost, child.llm_calls)
        for child in children
    ] == [("first", 60, 6, 0.75, 3), ("second", 0, 0, None, 0)]
    assert [child.run_id for child in children] == [first, second]
    assert load_children(conn, f"wf_{second}") == []


def test_a_circle_of_parents_ends(file: File) -> None:
    """Rows that name each other as their parents can be read, each call counted once."""
    build, conn = file
    first = build.run(parent=run_id(2))
    second = build.run(parent=first)
    build.llm(first, 10, 1)
    (child,) = load_children(conn, f"wf_{first}")
    assert (child.run_id, child.tokens_in) == (second, 10)
    assert load_runs(conn, [first])[0].depth > 1


def test_text_that_is_none_is_read_with_replacement_characters(file: File) -> None:
    """Bytes that are no UTF-8 do not keep a run from being read, nor change how others are."""
    build, conn = file
    run = build.run()
    build.step(run, "s")
    build.conn.execute("UPDATE steps SET step_name = CAST(x'61ff62' AS TEXT)")
    build.conn.execute("UPDATE runs SET agent_name = CAST(x'ff' AS TEXT)")
    (loaded,) = load_runs(conn, [run])
    assert loaded.steps[0]["step_name"] == "a\ufffdb"
    assert loaded.run["agent_name"] == "\ufffd"
    assert conn.text_factory is str


def test_other_errors_of_sqlite_are_not_hidden() -> None:
    """A file without the tables is an error, as ever."""
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        load_runs(connection, ["x"])
    connection.close()
