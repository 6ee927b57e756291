"""The end that is written for runs whose process was killed, whatever stands in the file."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import run_program
from tests.tools.cli import invoke
from tests.tools.file_versions import old_file
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import ask, change
from tests.tools.web import serving
from waxlocal import WaxellContext
from waxlocal.delivery.connection import AT_A_TIME
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.delivery.outbox import Outbox
from waxlocal.maintenance.sums import add_up
from waxlocal.wire.paths import SESSIONS

pytestmark = pytest.mark.usefixtures("recorder")

BEGAN = "2026-01-31T09:30:00.000000Z"
ENDED = "2026-01-31T09:30:02.500000Z"
ADD_PROCESS = """
INSERT INTO processes (process_id, host, boot_id, pid_namespace, pid, started, program, python,
  waxlocal, first_seen_at)
SELECT ?, host, boot_id, pid_namespace, ?, '1', program, python, waxlocal, first_seen_at
FROM processes LIMIT 1
"""
ADD_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status, started_at,
  process_id)
VALUES (?, 'chatbot', 'default', 't', 'autonomous', 'running', ?, ?)
"""
ADD_EVENT = "INSERT INTO events (run_id, position, recorded_at, event) VALUES (?, ?, ?, 'x')"
ENDS = "SELECT status, completed_at, duration FROM runs WHERE run_id LIKE 'r%' ORDER BY run_id"


def _left_open(path: Path, *runs: tuple[object, object], pid: object = 2**22 + 1) -> None:
    """Add open runs of a process that has ended; the upload has looked at them."""
    with WaxellContext("chatbot"):
        pass
    change(path, ADD_PROCESS, 77, pid)
    for run_id, started_at in runs:
        change(path, ADD_RUN, run_id, started_at, 77)
    with Outbox(path, "http://x") as outbox:
        while outbox.admit():
            pass


def test_a_record_without_a_valid_time_does_not_keep_a_run_open(db_path: Path) -> None:
    """Any program may have written it; the others say when the run was alive."""
    _left_open(db_path, ("r1", BEGAN), ("r2", BEGAN), ("r3", BEGAN))
    change(db_path, ADD_EVENT, "r1", 1, "yesterday")
    change(db_path, ADD_EVENT, "r1", 2, ENDED)
    change(db_path, ADD_EVENT, "r1", 3, b"\xff")
    change(db_path, ADD_EVENT, "r2", 1, "yesterday")
    change(db_path, ADD_EVENT, "r3", 1, ENDED)
    assert interrupt_gone(db_path) == 3
    assert ask(db_path, ENDS) == [
        ("interrupted", ENDED, 2.5),
        ("interrupted", BEGAN, 0.0),
        ("interrupted", ENDED, 2.5),
    ]


def test_a_run_without_a_valid_start_ends_without_a_duration(db_path: Path) -> None:
    """Nobody knows how long it took."""
    _left_open(db_path, ("r1", "yesterday"), ("r2", "yesterday"))
    change(db_path, ADD_EVENT, "r1", 1, ENDED)
    assert interrupt_gone(db_path) == 2
    assert ask(db_path, ENDS) == [("interrupted", ENDED, None), ("interrupted", "yesterday", 0.0)]


def test_a_run_that_cannot_be_found_again_is_passed_over(db_path: Path) -> None:
    """Its id is not UTF-8; the next one is ended all the same."""
    _left_open(db_path, ("r2", BEGAN))
    change(db_path, ADD_RUN.replace("VALUES (?", "VALUES (CAST(? AS TEXT)"), b"r1\xff", BEGAN, 77)
    with Outbox(db_path, "http://x") as outbox:
        outbox.admit()
    assert interrupt_gone(db_path) == 1
    assert ask(db_path, "SELECT count(*) FROM runs WHERE status = 'running'") == [(1,)]


@pytest.mark.parametrize("pid", ["many", b"1", 10**18, -1, 0])
def test_a_process_with_an_impossible_number_is_believed_to_run(db_path: Path, pid: object) -> None:
    """Of a number that no process can have nothing is known."""
    _left_open(db_path, ("r1", BEGAN), pid=pid)
    assert interrupt_gone(db_path, unseen_s=0) == 0


def test_others_write_while_many_runs_are_ended(db_path: Path) -> None:
    """A program that records waits for a few of them at most, however many there are."""
    many = 2 * AT_A_TIME + 1
    _left_open(db_path, *((f"r{number:02}", BEGAN) for number in range(many)))
    left = []

    def sleep(_seconds: float) -> None:
        with closing(sqlite3.connect(db_path, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        left.append(ask(db_path, "SELECT count(*) FROM runs WHERE status = 'running'")[0][0])

    class Stop(threading.Event):
        """Another program commits before each piece."""

        def is_set(self) -> bool:
            change(db_path, "UPDATE processes SET program = program || '.'")
            return super().is_set()

    assert interrupt_gone(db_path, Stop(), sleep=sleep) == many
    assert left == [many - AT_A_TIME, many - 2 * AT_A_TIME]


def test_an_end_to_the_upload_ends_it_between_two_runs(db_path: Path) -> None:
    """The rest is ended by the next upload."""
    _left_open(db_path, ("r1", BEGAN))
    stop = threading.Event()
    stop.set()
    assert interrupt_gone(db_path, stop) == 0
    stop.clear()
    assert interrupt_gone(db_path, stop) == 1


# A program that is killed in a run without a session, and in one of a session inside it.
KILLED = """
import os, signal
from waxlocal import WaxellContext
WaxellContext("outside").__enter__()
WaxellContext("in-session", session_id="s").__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""
STATUSES = "SELECT status, count(*) FROM runs GROUP BY 1 ORDER BY 1"


def test_runs_that_no_upload_has_looked_at_are_ended_where_all_are_asked_for(
    db_path: Path,
) -> None:
    """Whether their totals were added up or not; those of programs that live stay open."""
    with WaxellContext("alive", session_id="s"):
        run_program(db_path, KILLED)
        add_up(db_path)
        run_program(db_path, KILLED)
        assert interrupt_gone(db_path) == 0
        assert ask(db_path, STATUSES) == [("running", 5)]
        assert interrupt_gone(db_path, all_runs=True) == 4
        assert ask(db_path, STATUSES) == [("interrupted", 4), ("running", 1)]
    assert ask(db_path, "SELECT open_runs, failed_runs FROM sessions") == [(0, 2)]


def test_doctor_and_the_server_write_down_what_was_interrupted(db_path: Path) -> None:
    """Nobody has to upload for it."""
    run_program(db_path, KILLED)
    said = invoke("doctor", db=db_path).stdout
    assert "2 runs left open by a program that has ended or is silent: interrupted" in said
    assert ask(db_path, STATUSES) == [("interrupted", 2)]
    run_program(db_path, KILLED)
    with serving(db_path) as client:
        client.get(SESSIONS)
        deadline = time.monotonic() + PATIENCE_S
        while ask(db_path, STATUSES) != [("interrupted", 4)]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("version", [1, 2])
def test_doctor_looks_through_a_file_of_an_earlier_version(db_path: Path, version: int) -> None:
    """It has no totals that list the runs outside of sessions."""
    old_file(db_path, version)
    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute("UPDATE runs SET status = 'running' WHERE id = 1")
    assert "no such table" not in invoke("doctor", db=db_path).stderr


# One that is killed in a run inside another one, which had waited for it. Both have a record.
WAITING = """
import os, signal
from waxlocal import WaxellContext
with WaxellContext("finished-inside", session_id="t"):
    pass
outer = WaxellContext("outer", session_id="s")
outer.__enter__()
outer.record_step("first")
inner = WaxellContext("inner", session_id="s")
inner.__enter__()
innermost = WaxellContext("innermost", session_id="s")
innermost.__enter__()
innermost.record_step("last")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_ends_no_earlier_than_what_is_known_of_the_runs_inside_it(db_path: Path) -> None:
    """It waited for them: else its sub-agents would have begun after its end."""
    run_program(db_path, WAITING)
    (last,) = ask(db_path, "SELECT max(recorded_at) FROM steps")[0]
    assert interrupt_gone(db_path, all_runs=True) == 3
    ends = "SELECT agent_name, completed_at FROM runs WHERE session_id = 's' ORDER BY id"
    assert ask(db_path, ends) == [("outer", last), ("inner", last), ("innermost", last)]


def test_a_run_whose_sub_agent_had_ended_ends_with_it(db_path: Path) -> None:
    """The time of a sub-agent that ended by itself is that of its caller, too."""
    program = WAITING.replace("os.kill", "innermost.__exit__(None, None, None)\nos.kill")
    run_program(db_path, program)
    interrupt_gone(db_path, all_runs=True)
    found = dict(ask(db_path, "SELECT agent_name, completed_at FROM runs WHERE session_id = 's'"))
    assert found["outer"] == found["inner"] == found["innermost"]
