"""Calls whose messages or tools were redacted count as changed, and no others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.maintenance.test_contents import add_with_tools, record
from waxlocal import WaxellContext
from waxlocal.maintenance import changed_contents
from waxlocal.maintenance.changed_contents import mark_calls
from waxlocal.maintenance.contents import sweep
from waxlocal.recording.recorder import Recorder
from waxlocal.storage.connection import open_writer


@pytest.fixture
def file(db_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a writing connection to the test's file."""
    with closing(open_writer(db_path)) as connection:
        yield connection


def redact(file: sqlite3.Connection, content: str) -> None:
    """Replace a message that is a text."""
    file.execute("UPDATE contents SET content = '\"-\"' WHERE content = ?", (f'"{content}"',))


def changed(file: sqlite3.Connection) -> set[str]:
    """Return the runs with a call that has a revision."""
    query = "SELECT run_id FROM llm_calls WHERE revision IS NOT NULL"
    return {run_id for (run_id,) in file.execute(query)}


def noted(file: sqlite3.Connection) -> int:
    """Return how many keys wait for a look at the calls."""
    return int(file.execute("SELECT count(*) FROM changed_contents").fetchone()[0])


def test_each_call_that_has_a_redacted_message_gets_a_new_revision(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """Messages and tools, and again a greater one with the next change; others stay as they are."""
    first, second = record("a", "b"), record("b", "c")
    with_tools, other = record(tools=["b"]), record("c")
    assert mark_calls(db_path) == 0
    redact(file, "b")
    assert mark_calls(db_path) == 3
    assert changed(file) == {first, second, with_tools}
    assert (mark_calls(db_path), noted(file)) == (0, 0)
    before = dict(file.execute("SELECT run_id, revision FROM llm_calls").fetchall())
    redact(file, "a")
    assert mark_calls(db_path) == 1
    after = dict(file.execute("SELECT run_id, revision FROM llm_calls").fetchall())
    assert after[first] > before[first]
    assert {run: after[run] for run in (second, with_tools, other)} == {
        run: before[run] for run in (second, with_tools, other)
    }


def test_of_a_run_only_the_calls_that_have_it_change(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """A run may have many calls, and tools beside messages."""
    with WaxellContext(agent_name="a") as ctx:
        for text in ("a", "b", "a"):
            ctx.record_llm_call(model="m", tokens_in=1, tokens_out=1, full_messages=[text])
        add_with_tools(file, ctx.run_id, ["a"])
    redact(file, "a")
    assert mark_calls(db_path) == 3
    unchanged = "SELECT position FROM llm_calls WHERE revision IS NULL"
    assert file.execute(unchanged).fetchall() == [(2,)]


def test_what_is_set_to_what_it_was_is_no_change(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """An UPDATE names more rows than it changes, at times."""
    record("a")
    file.execute("UPDATE contents SET content = content")
    assert (noted(file), mark_calls(db_path)) == (0, 0)


def test_contents_that_are_swept_change_no_call(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """No call has them; nothing is left to be looked up."""
    file.execute("DELETE FROM runs WHERE run_id = ?", (record("a", "b"),))
    record("b")
    assert sweep(db_path) == 1
    assert (noted(file), mark_calls(db_path), changed(file)) == (0, 0, set())


def test_a_deleted_content_stays_deleted_when_it_is_recorded_again(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection
) -> None:
    """What was marked as removed is there, in place of the text."""
    record("a")
    file.execute("DELETE FROM contents")
    assert mark_calls(db_path) == 1
    record("a")
    ((kept,),) = file.execute("SELECT content FROM contents").fetchall()
    assert kept.startswith('{"$removed":')


def test_a_call_that_moves_and_a_change_that_comes_while_it_looks_are_not_missed(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is found at its new position; the later change is looked up the next time."""
    first, second = record("a"), record("b")
    redact(file, "a")
    look = changed_contents._look

    def and_then(connection: sqlite3.Connection) -> changed_contents._Found:
        found = look(connection)
        file.execute("UPDATE llm_calls SET position = 7, revision = 1 WHERE run_id = ?", (first,))
        redact(file, "b")
        return found

    monkeypatch.setattr(changed_contents, "_look", and_then)
    assert mark_calls(db_path) == 1
    (revision,) = file.execute("SELECT revision FROM llm_calls WHERE position = 7").fetchone()
    assert revision > 1
    monkeypatch.undo()
    assert mark_calls(db_path) == 1
    assert changed(file) == {first, second}


def test_a_look_that_is_cut_off_begins_anew(
    recorder: Recorder, db_path: Path, file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is forgotten before all calls are marked."""
    record("a")
    redact(file, "a")
    monkeypatch.setattr(changed_contents, "_MARK", "SELECT nothing")
    with suppress(sqlite3.Error):
        mark_calls(db_path)
    monkeypatch.undo()
    assert (noted(file), mark_calls(db_path)) == (1, 1)


def test_a_file_that_cannot_be_changed_is_left_alone(tmp_path: Path) -> None:
    """One that is not there, or is no file of waxlocal."""
    assert mark_calls(tmp_path / "none.db") == 0
    (tmp_path / "text.db").write_text("text")
    assert mark_calls(tmp_path / "text.db") == 0
    assert (tmp_path / "text.db").read_text() == "text"
