"""A file that is deleted, moved or replaced while a program records into it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.crash.files import assert_sound, count, rows, run_program, start_program
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.storage import connection

SECOND = 1_000_000_000


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = 1_769_851_800 * SECOND

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self.ns

    def monotonic_ns(self) -> int:
        """Return the same."""
        return self.ns


@pytest.fixture
def clock(db_path: Path) -> Iterator[MovedClock]:
    """Record into the test's file by a clock of the test's own."""
    clock = MovedClock()
    made = Recorder(Settings(db=db_path), clock=clock)
    before = use_recorder(made)
    yield clock
    use_recorder(before)
    made.close()


def _run(name: str) -> None:
    with WaxellContext(name) as run:
        run.record_step("step")


def _delete(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        os.unlink(f"{path}{end}")


def _delete_main_file(path: Path) -> None:
    path.unlink()


def _move(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        os.rename(f"{path}{end}", f"{path}.old{end}")


def _move_main_file(path: Path) -> None:
    path.rename(path.with_name("old.db"))


def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    run_program(other, "from waxlocal import WaxellContext as C\nwith C('other'): pass")
    _delete(path)
    other.rename(path)


@pytest.mark.parametrize("change", [_delete, _delete_main_file, _move, _move_main_file, _replace])
def test_later_runs_go_to_a_new_file(
    clock: MovedClock, db_path: Path, caplog: pytest.LogCaptureFixture, change: object
) -> None:
    """A second after the file went away all runs are in the new one, and one warning was given."""
    assert callable(change)
    _run("before")
    change(db_path)
    clock.ns += SECOND
    with caplog.at_level(logging.WARNING, "waxlocal"):
        for number in range(5):
            _run(f"after{number}")
            clock.ns += SECOND
    found = rows(db_path, "SELECT agent_name FROM runs ORDER BY id")
    assert [name for name in found if name != "other"] == [f"after{n}" for n in range(5)]
    assert count(db_path, "steps") == 5
    assert rows(db_path, "SELECT count(*) FROM runs JOIN processes USING (process_id)") == [
        len(found)
    ]
    (message,) = caplog.messages
    assert str(db_path) in message
    assert_sound(db_path)


@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize("change", [_delete, _delete_main_file, _move, _move_main_file, _replace])
def test_one_long_run_goes_on_in_a_new_file(
    clock: MovedClock, db_path: Path, caplog: pytest.LogCaptureFixture, change: object
) -> None:
    """Every record after a second is there, with the runs around it, and one warning was given."""
    assert callable(change)
    with (
        caplog.at_level(logging.WARNING, "waxlocal"),
        WaxellContext("outer", session_id="s", inputs={"a": 1}, metadata={"b": 2}) as outer,
        WaxellContext("inner", enforce_policy=False) as inner,
    ):
        inner.record_step("before")
        change(db_path)
        for number in range(3):
            clock.ns += 60 * SECOND
            inner.record_llm_call(model="m", tokens_in=number, tokens_out=1, full_messages=_TURN)
        outer.set_tag("c", "d")
    (message,) = caplog.messages
    assert "moved or deleted" in message
    calls = "SELECT tokens_in FROM llm_calls ORDER BY position"
    assert rows(db_path, calls) == [0, 1, 2]
    assert rows(db_path, "SELECT role FROM llm_call_messages") == ["user"] * 3
    assert rows(
        db_path,
        """SELECT agent_name, session_id, inputs, metadata, tags, status FROM runs
        WHERE agent_name <> 'other' ORDER BY agent_name""",
    ) == [
        ("inner", "s", None, None, None, "success"),
        ("outer", "s", '{"a":1}', '{"b":2}', '{"c":"d"}', "success"),
    ]
    assert rows(db_path, "SELECT run_count, llm_calls FROM sessions WHERE session_id = 's'") == [
        (2, 3)
    ]
    assert_sound(db_path)


@pytest.mark.usefixtures("looking")
def test_one_long_run_notices_a_deleted_log(clock: MovedClock, db_path: Path) -> None:
    """Nothing is lost, and nothing is there twice."""
    with WaxellContext("agent") as run:
        run.record_step("before")
        _delete_log(db_path)
        run.record_step("unnoticed")
        for number in range(2):
            clock.ns += 60 * SECOND
            run.record_step(f"after{number}")
        found = rows(db_path, "SELECT step_name FROM steps ORDER BY position")
    assert found == ["before", "unnoticed", "after0", "after1"]
    assert count(db_path, "runs") == 1


_TURN = [{"role": "user", "content": "hello"}]


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the log after each record, however fast they come."""
    monkeypatch.setattr("waxlocal.recording.store.LOOK_S", 0.0)


def test_a_file_replaced_while_it_is_opened_is_noticed(
    clock: MovedClock, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one now at the path is not taken for the one that was opened."""
    open_writer = connection.open_writer

    def open_and_replace(path: Path, **more: Any) -> sqlite3.Connection:
        opened = open_writer(path, **more)
        monkeypatch.undo()
        _replace(path)
        return opened

    monkeypatch.setattr(connection, "open_writer", open_and_replace)
    _run("before")
    clock.ns += SECOND
    _run("after")
    assert rows(db_path, "SELECT agent_name FROM runs ORDER BY id") == ["other", "after"]
    assert_sound(db_path)


def test_a_moved_file_keeps_what_it_had(clock: MovedClock, db_path: Path) -> None:
    """All three files moved together hold all runs up to the move."""
    for number in range(3):
        _run(f"before{number}")
    _move(db_path)
    clock.ns += SECOND
    _run("after")
    old = db_path.with_name(f"{db_path.name}.old")
    assert rows(old, "SELECT agent_name FROM runs ORDER BY id") == [f"before{n}" for n in range(3)]
    assert_sound(old)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["alone", "another has it open"])
def test_a_deleted_log_is_noticed_and_nothing_of_it_is_lost(
    clock: MovedClock, db_path: Path, caplog: pytest.LogCaptureFixture, elsewhere: bool
) -> None:
    """What is in it is copied into the file within a second; whatever comes next has a new log."""
    _run("before")
    with closing(sqlite3.connect(db_path)) as other:
        if elsewhere:  # as long as it is open, SQLite copies nothing when the recorder closes
            other.execute("SELECT count(*) FROM runs").fetchall()
        _delete_log(db_path)
        _run("unnoticed")
        clock.ns += SECOND
        with caplog.at_level(logging.WARNING, "waxlocal"):
            _run("after")
            clock.ns += SECOND
            _run("later")
    (message,) = caplog.messages
    assert "log of" in message
    assert "deleted" in message
    # Another process, as after a kill: it knows only the file and the log at their paths.
    done = run_program(db_path, _SHOW)
    assert done.stdout.split() == ["before", "unnoticed", "after", "later", "ok"], done.stderr


def test_a_deleted_log_is_not_mixed_with_a_new_one_of_others(
    clock: MovedClock, db_path: Path
) -> None:
    """The file has what others have recorded since, and stays sound."""
    _run("before")
    _delete_log(db_path)
    _run("unnoticed")
    theirs = start_program(
        db_path,
        """
        import sys
        from waxlocal import WaxellContext
        with WaxellContext("theirs"):
            pass
        print("recorded", flush=True)
        sys.stdin.readline()
        with WaxellContext("theirs, too"):
            pass
        """,
    )
    assert theirs.stdout
    assert theirs.stdout.readline() == "recorded\n"
    clock.ns += SECOND
    _run("after")
    _out, errors = theirs.communicate("\n")
    assert theirs.returncode == 0, errors
    done = run_program(db_path, _SHOW)
    names = done.stdout.split("\n")
    assert {"theirs", "after", "theirs, too", "ok"} <= set(names), (names, done.stderr)


def _delete_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        os.unlink(f"{path}{end}")


_SHOW = """
import os, sqlite3
shown = sqlite3.connect(os.environ["WAXLOCAL_DB"])
for (name,) in shown.execute("SELECT agent_name FROM runs ORDER BY id"):
    print(name)
print(*shown.execute("PRAGMA integrity_check").fetchone())
"""


def test_a_file_that_stays_is_not_opened_again(
    clock: MovedClock, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Looking around every second changes nothing while the file is where it was."""
    with caplog.at_level(logging.WARNING, "waxlocal"):
        for number in range(5):
            _run(f"{number}")
            clock.ns += 10 * SECOND
    assert caplog.messages == []
    assert count(db_path, "runs") == 5
    assert count(db_path, "processes") == 1


def test_a_deleted_directory_is_made_again(clock: MovedClock, tmp_path: Path) -> None:
    """A directory that is removed with the file in it is made anew."""
    path = tmp_path / "deep" / "er" / "waxlocal.db"
    made = Recorder(Settings(db=path), clock=clock)
    before = use_recorder(made)
    _run("before")
    _delete(path)
    path.parent.rmdir()
    clock.ns += SECOND
    _run("after")
    made.close()
    use_recorder(before)
    assert rows(path, "SELECT agent_name FROM runs") == ["after"]
