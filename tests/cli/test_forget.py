"""`waxlocal forget`: shows what would go, asks, and deletes it."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder, moment, run_id
from tests.tools.cli import PYTHON, answer, environment, invoke
from tests.tools.sync import ask, change
from waxlocal.storage.connection import open_writer


@pytest.fixture
def db(db_path: Path) -> Path:
    """Return a file with two runs of alice, one of them open, a sub-agent's, and one of bob."""
    with closing(open_writer(db_path)) as connection:
        make = Builder(connection)
        first = make.run("s1", user="alice")
        make.llm(first, messages='[{"role":"user","content":"hi"}]')
        make.run("s2", parent=first, agent="helper")
        make.run("s1", user="alice", seconds=None, process=make.process(alive=True))
        make.run("s1", user="bob")
        killed = make.process(alive=False)
        make.run(None, user="alice", seconds=None, process=killed)
    return db_path


def runs(db: Path) -> list[str]:
    """Return the ids of the runs that are there."""
    return [str(row[0]) for row in ask(db, "SELECT run_id FROM runs ORDER BY id")]


def test_a_preview_deletes_nothing(db: Path) -> None:
    """It counts the user's runs and those below them, what waits, and what a server has."""
    change(db, "INSERT INTO targets (target_id, url, cursor) VALUES (1, 'http://hub', 99)")
    change(
        db,
        "INSERT INTO deliveries (run_id, target_id, state) SELECT run_id, 1,"
        " iif(id = 1, 'delivered', 'pending') FROM runs",
    )
    found = answer("forget", "--user", "alice", "--dry-run", db=db)
    assert found["done"] is None
    preview = found["preview"]
    names = ("runs", "open_runs", "sessions", "whole_sessions", "turns", "messages")
    assert [preview[name] for name in names] == [3, 1, 2, 1, 3, 1]
    assert preview["records"]["llm_calls"] == 1
    assert preview["uploads"] == [{"url": "http://hub", "uploaded": 1, "waiting": 2}]
    said = invoke("forget", "--user", "alice", "--dry-run", db=db).stdout
    for text in ("3 runs", "2 runs waiting for http://hub", "1 run already at http://hub"):
        assert text in said
    assert len(runs(db)) == 5


def test_open_runs_stay_and_the_status_says_so(db: Path) -> None:
    """Those of a killed program are deleted; once the others have ended, the same call does it."""
    result = invoke("forget", "--user", "alice", "--yes", db=db)
    assert result.exit_code == 3
    assert "Deleted 3 runs." in result.stdout
    assert "1 run not deleted: still open" in result.stderr
    assert runs(db) == [run_id(3), run_id(4)]
    change(db, "UPDATE runs SET status = 'success', completed_at = ?", moment(9))
    assert answer("forget", "--user", "alice", "--yes", db=db)["done"]["runs"] == 1
    assert runs(db) == [run_id(4)]
    assert invoke("forget", "--user", "alice", "--yes", db=db).exit_code == 5


def test_a_run_goes_with_those_below_it(db: Path) -> None:
    """Those of its sub-agents, also in another session."""
    assert answer("forget", "--run", run_id(1), "--yes", db=db)["done"]["runs"] == 2
    assert runs(db) == [run_id(3), run_id(4), run_id(5)]


def test_the_beginning_of_an_id_is_not_enough(db: Path) -> None:
    """What cannot be undone goes by the whole id."""
    for option, name in (("--session", "s"), ("--run", run_id(1)[:18]), ("--user", "ali")):
        result = invoke("forget", option, name, "--yes", db=db)
        assert (result.exit_code, "give the whole id" in result.stderr) == (5, True)
    assert len(runs(db)) == 5


def test_without_a_terminal_nobody_is_asked(db: Path) -> None:
    """Then --yes is needed; and exactly one thing to forget."""
    for args in (
        ["--user", "alice"],
        ["--user", "alice", "--json"],
        ["--user", "alice", "--session", "s1", "--yes"],
        ["--yes"],
        ["--user", "", "--yes"],
    ):
        assert invoke("forget", *args, db=db).exit_code == 2
    assert len(runs(db)) == 5


def test_a_large_file_is_written_anew_when_asked(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that the hint names, also where nothing else is left to delete."""
    monkeypatch.setattr("waxlocal.maintenance.forgetting.SMALL_BYTES", 0)
    with closing(open_writer(db)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("UPDATE runs SET inputs = ?", (f'"{"zarquon" * 99}"',))
        connection.execute("UPDATE runs SET inputs = NULL")
    first = invoke("forget", "--user", "bob", "--yes", db=db)
    assert (first.exit_code, "with --compact" in first.stderr) == (0, True)
    assert b"zarquon" in db.read_bytes()
    again = invoke("forget", "--user", "bob", "--yes", "--compact", db=db)
    assert (again.exit_code, again.stderr) == (0, "")
    assert b"zarquon" not in db.read_bytes()
    assert invoke("forget", "--user", "bobby", "--yes", "--compact", db=db).exit_code == 5


@pytest.mark.parametrize(("typed", "status", "left"), [("n", 1, 5), ("", 1, 5), ("y", 0, 1)])
def test_on_a_terminal_it_asks(db: Path, typed: str, status: int, left: int) -> None:
    """No is the answer of who types nothing."""
    change(db, "UPDATE runs SET status = 'success'")
    here, there = pty.openpty()
    os.write(here, f"{typed}\n".encode())
    process = subprocess.run(
        [*PYTHON, "--db", str(db), "forget", "--user", "alice"],
        env=environment(),
        stdin=there,
        stdout=there,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(there)
    os.close(here)
    assert (process.returncode, len(runs(db))) == (status, left), process.stderr
