"""Contents that no call has any more are removed, and no others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.file_versions import make_newer
from tests.tools.sdk_rows import rows
from waxlocal import WaxellContext
from waxlocal.maintenance import contents
from waxlocal.maintenance.contents import sweep
from waxlocal.maintenance.side_files import take_in_all
from waxlocal.recording.recorder import Recorder
from waxlocal.records import LLM_CALLS
from waxlocal.storage.connection import open_writer
from waxlocal.storage.contents import put
from waxlocal.storage.record_sql import insert
from waxlocal.storage.schema import VERSION

ONE: dict[str, Any] = {"model": "m", "tokens_in": 1, "tokens_out": 1}


@pytest.fixture
def file(db_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a writing connection to the test's file."""
    with closing(open_writer(db_path)) as connection:
        yield connection


def record(*messages: str, tools: list[str] | None = None) -> str:
    """Record a run with one call; return the run's id."""
    with WaxellContext(agent_name="a") as ctx:
        if tools is None:
            ctx.record_llm_call(**ONE, full_messages=list(messages))
        else:
            with closing(open_writer(ctx._recorder.store.file)) as connection:
                add_with_tools(connection, ctx.run_id, tools)
    return ctx.run_id


def add_with_tools(connection: sqlite3.Connection, run_id: str, tools: list[str]) -> None:
    """Add a call with these tools to a run."""
    row = {column.name: column.default for column in LLM_CALLS.travelling}
    row |= {"run_id": run_id, "position": 9, "recorded_at": "2026-01-31T09:30:00.000000Z"}
    text = json.dumps(tools, separators=(",", ":"))
    (stored,) = put(connection, LLM_CALLS, [row | {"tools": text}])
    connection.execute(insert(LLM_CALLS, stored), stored)


def kept(file: sqlite3.Connection) -> set[str]:
    """Return what `contents` has."""
    return {json.loads(text) for (text,) in file.execute("SELECT content FROM contents")}


def dropped(file: sqlite3.Connection) -> int:
    """Return how many keys wait to be looked up."""
    return int(file.execute("SELECT count(*) FROM dropped_contents").fetchone()[0])


def test_contents_of_deleted_runs_go_and_those_of_others_stay(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """Messages and tools; and the second time there is nothing to do."""
    first, second = record("a", "b"), record("b", "c")
    third = record(tools=["t"])
    assert sweep(db_path) == 0
    file.execute("DELETE FROM runs WHERE run_id IN (?, ?)", (first, third))
    assert kept(file) == {"a", "b", "c", "t"}
    assert sweep(db_path) == 2
    assert (kept(file), dropped(file)) == ({"b", "c"}, 0)
    assert sweep(db_path) == 0
    assert [row["messages"] for row in rows(db_path, "llm_calls")] == [["b", "c"]]
    file.execute("DELETE FROM runs WHERE run_id = ?", (second,))
    assert sweep(db_path) == 2
    assert kept(file) == set()


def test_messages_that_are_taken_from_a_call_go(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """By an UPDATE, as somebody does who erases what was said."""
    record("a", "b")
    file.execute("UPDATE llm_calls SET message_keys = NULL")
    assert sweep(db_path) == 2
    assert kept(file) == set()


def again_and_deleted(file: sqlite3.Connection) -> None:
    """Two more calls have the content, and one of them is deleted again."""
    record("a")
    file.execute("DELETE FROM runs WHERE run_id = ?", (record("a"),))


BETWEEN: dict[str, Callable[[sqlite3.Connection], object]] = {
    "nothing": lambda _: None,
    "recorded": lambda _: record("a"),
    "recorded twice, deleted once": again_and_deleted,
    "recorded and deleted": lambda file: file.execute(
        "DELETE FROM runs WHERE run_id = ?", (record("a"),)
    ),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_what_is_recorded_while_a_sweep_looks_is_kept(
    recorder: Recorder,
    db_path: Path,
    file: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    between: str,
) -> None:
    """A call that comes after the look, with a content that no call had at the look."""
    file.execute("DELETE FROM runs WHERE run_id = ?", (record("a"),))
    look = contents._sorted_out

    def and_then(connection: sqlite3.Connection) -> tuple[int, list[str], list[str]]:
        found = look(connection)
        BETWEEN[between](file)
        return found

    monkeypatch.setattr(contents, "_sorted_out", and_then)
    sweep(db_path)
    expected = {"a"} if file.execute("SELECT 1 FROM llm_calls").fetchall() else set()
    assert kept(file) >= expected
    monkeypatch.undo()
    sweep(db_path)
    assert (kept(file), dropped(file)) == (expected, 0)


def test_a_key_that_was_still_had_and_is_dropped_meanwhile_is_looked_up_again(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last call that has it goes after the look: the next sweep removes it."""
    first, second = record("a"), record("a")
    file.execute("DELETE FROM runs WHERE run_id = ?", (first,))
    look = contents._sorted_out

    def and_then(connection: sqlite3.Connection) -> tuple[int, list[str], list[str]]:
        found = look(connection)
        file.execute("DELETE FROM runs WHERE run_id = ?", (second,))
        return found

    monkeypatch.setattr(contents, "_sorted_out", and_then)
    assert sweep(db_path) == 0
    monkeypatch.undo()
    assert sweep(db_path) == 1
    assert kept(file) == set()


def test_a_file_that_cannot_be_swept_is_left_alone(tmp_path: Path) -> None:
    """One that is not there, or is no file of waxlocal."""
    assert sweep(tmp_path / "none.db") == 0
    (tmp_path / "text.db").write_text("text")
    assert sweep(tmp_path / "text.db") == 0
    assert (tmp_path / "text.db").read_text() == "text"


def test_messages_of_a_side_file_are_taken_in_once_each(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """The calls of the main file have some of them already."""
    record("a", "b")
    recorder.close()
    make_newer(db_path, min_writer=99, min_reader=99)
    record("a", "b", "c")
    record("text")
    recorder.close()
    make_newer(db_path, min_writer=VERSION, min_reader=VERSION)
    assert take_in_all(db_path)
    messages = [row["messages"] for row in rows(db_path, "llm_calls")]
    assert sorted(messages) == [["a", "b"], ["a", "b", "c"], ["text"]]
    assert kept(file) == {"a", "b", "c", "text"}
    whole = "SELECT count(*) FROM llm_calls WHERE messages IS NOT NULL"
    assert file.execute(whole).fetchone()[0] == 0
