"""The published SDK, unmodified, against a server of ours: the rows are the recorder's own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_programs import ROOT, run_python
from tests.tools.sdk_rows import decoded, rows, run_named
from tests.tools.served_programs import INTERRUPTED, PROGRAMS, STREAMING
from tests.tools.web import serving
from waxlocal.prices.table import price_pending
from waxlocal.records import RECORD_TABLES

Row = dict[str, Any]

TABLES = tuple(table.name for table in RECORD_TABLES)
# What cannot be the same: identities, times, and what that SDK sends over OTLP only.
RUN = ("agent_name", "workflow_name", "session_id", "user_id", "user_group", "interaction_mode")
RUN += ("status", "error", "error_type", "inputs", "result")
# A record that arrives in pieces is changed on the way.
DIFFERENT = ("run_id", "recorded_at", "started_at", "position", "parent_position", "revision")


@contextmanager
def served(db: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve a file; give the environment of a program that uses the SDK with that server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAX")}
    with serving(db) as client:
        yield {
            **kept,
            "HOME": str(tmp_path),
            "WAXELL_API_URL": str(client.base_url),
            "WAXELL_API_KEY": "any",
        }


def write(tmp_path: Path, program: str, package: str) -> Path:
    """Write a program down that imports from this package."""
    path = tmp_path / "program.py"
    path.write_text(program.replace("PACKAGE", package))
    return path


def run_sdk(program: Path, environment: dict[str, str]) -> str:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(path: Path) -> list[Row]:
    """Return all that a file holds of its runs, without what cannot be the same."""
    price_pending(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        runs = [dict(row) for row in connection.execute("SELECT * FROM runs ORDER BY id")]
        names = {row["workflow_id"]: row["agent_name"] for row in runs}
        found = []
        for run in runs:
            row = decoded({name: run[name] for name in RUN})
            for name in ("parent", "root"):
                row[name] = names.get(run[f"{name}_workflow_id"])
            row["trace"] = sorted(
                other["agent_name"] for other in runs if other["trace_id"] == run["trace_id"]
            )
            records = {
                table: [dict(one) for one in connection.execute(_ALL[table], (run["run_id"],))]
                for table in TABLES
            }
            row["order"] = order(records)
            for table, rows in records.items():
                row[table] = [comparable(table, one) for one in rows]
            row["events"].sort(key=lambda event: json.dumps(event, sort_keys=True))
            found.append(row)
    return sorted(found, key=lambda row: (row["agent_name"], str(row["inputs"])))


_ALL = {table: f"SELECT * FROM {table} WHERE run_id = ? ORDER BY position" for table in TABLES}


def order(records: dict[str, list[Row]]) -> list[str]:
    """Return the story of a run: which record followed which, over the tables."""
    story = [
        (row["position"], row.get("model") or row.get("step_name") or row["name"])
        for table in ("llm_calls", "steps", "spans")
        for row in records[table]
    ]
    return [name for _, name in sorted(story)]


def comparable(table: str, row: Row) -> Row:
    """Return a record without what cannot be the same."""
    kept = decoded({name: value for name, value in row.items() if name not in DIFFERENT})
    if table == "spans":
        kept["inside"] = row["parent_position"] is not None
        if row["kind"] == "custom":
            kept.pop("duration_ms")  # as measured
    if table == "events" and isinstance(kept["data"], dict):
        for name in ("workflow_id", "ttl_seconds"):
            kept["data"].pop(name, None)
    return kept


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_rows_are_those_that_waxlocal_records(name: str, tmp_path: Path) -> None:
    """The same program gives the same rows, whether it imports the SDK or waxlocal."""
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    ours = run_python(write(tmp_path, PROGRAMS[name], "waxlocal"), db=here, path=(ROOT,))
    with served(there, tmp_path) as environment:
        theirs = run_sdk(write(tmp_path, PROGRAMS[name], "waxell_observe"), environment)
    assert theirs == ours
    assert recorded(there) == recorded(here)
    assert recorded(there) != []


def test_a_program_that_ends_with_an_open_run_interrupts_it(db_path: Path, tmp_path: Path) -> None:
    """At exit the SDK sends what it has, and the run is interrupted."""
    with served(db_path, tmp_path) as environment:
        run_sdk(write(tmp_path, INTERRUPTED, "waxell_observe"), environment)
    assert_interrupted(db_path)


def test_a_program_that_is_told_to_stop_interrupts_its_run(db_path: Path, tmp_path: Path) -> None:
    """So it does on SIGTERM."""
    with served(db_path, tmp_path) as environment:
        program = write(tmp_path, INTERRUPTED, "waxell_observe")
        with subprocess.Popen(
            [sys.executable, str(program), "wait"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert_interrupted(db_path)


def assert_interrupted(path: Path) -> None:
    """Check the one run that a program left open."""
    run = run_named(path, "left-open")
    assert (run["status"], run["error_type"]) == ("interrupted", "Interrupted")
    (row,) = recorded(path)
    assert [call["provider"] for call in row["llm_calls"]] == ["openai"]
    assert [score["name"] for score in row["scores"]] == ["x"]
    assert row["spans"] == []


def test_a_program_that_is_killed_leaves_what_it_had_said(db_path: Path, tmp_path: Path) -> None:
    """After SIGKILL no spans come: calls and scores that were posted are there, the run is open."""
    with served(db_path, tmp_path) as environment:
        program = write(tmp_path, INTERRUPTED, "waxell_observe")
        with subprocess.Popen(
            [sys.executable, str(program), "wait"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            process.kill()
    (row,) = recorded(db_path)
    assert (row["status"], [call["model"] for call in row["llm_calls"]]) == ("running", ["gpt-4o"])


def test_runs_of_the_sdk_wait_for_the_daemon(db_path: Path, tmp_path: Path) -> None:
    """What arrives is pending like any other run, and says which machine it is from."""
    with served(db_path, tmp_path) as environment:
        run_sdk(write(tmp_path, PROGRAMS["sync"], "waxell_observe"), environment)
    with closing(sqlite3.connect(db_path)) as connection:
        connection.execute("INSERT INTO targets (url) VALUES ('https://x')")
        new = "SELECT count(*) FROM runs, targets WHERE runs.id > targets.cursor"
        assert connection.execute(new).fetchone() == (1,)
        # The SDK's name of the machine, which is another where /etc/machine-id is missing.
        origin = "SELECT p.program, p.host <> '' FROM runs JOIN processes p USING (process_id)"
        assert connection.execute(origin).fetchone() == ("waxell-observe", True)


def test_a_stream_is_seen_while_it_goes_on(db_path: Path, tmp_path: Path) -> None:
    """What a stream has given so far is in the file before its run ends."""
    with served(db_path, tmp_path) as environment:
        program = write(tmp_path, STREAMING, "waxell_observe")
        with subprocess.Popen(
            [sys.executable, str(program)],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            deadline = time.monotonic() + PATIENCE_S
            while not (shown := rows(db_path, "events", event="partial_output")):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            status = run_named(db_path, "streaming")["status"]
            process.communicate("go on\n", timeout=PATIENCE_S)
    assert (shown[0]["data"]["partial"], status) == ("Hel", "running")
    assert run_named(db_path, "streaming")["status"] == "success"
