"""A run that is sent while it goes on: the rest follows when it ends, by either way."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.crash.files import start_program
from tests.tools.sync import (
    PATIENT,
    ask,
    change,
    settings_for,
    upload,
)
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.web.middleware import guards
from waxlocal_daemon.verify import Difference, verify

ways = pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
pytestmark = pytest.mark.usefixtures("recorder")

# What both ways say of a run; single requests have no place for times to the microsecond.
SHOWN = """
SELECT r.run_id, r.status, r.result, r.error_type,
  (SELECT count(*) FROM llm_calls c WHERE c.run_id = r.run_id),
  (SELECT count(*) FROM steps s WHERE s.run_id = r.run_id),
  (SELECT count(*) FROM scores s WHERE s.run_id = r.run_id)
FROM runs r ORDER BY r.run_id
"""
STATES = "SELECT state FROM deliveries ORDER BY run_id"
PROGRAM = """
import sys, waxlocal
run = waxlocal.WaxellContext("chatbot", session_id="sess_killed")
run.__enter__()
run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
print("open", flush=True)
sys.stdin.readline()
run.record_step("think", {})
print("more", flush=True)
sys.stdin.readline()
"""


def _send(path: Path, client: httpx.Client, *, bulk: bool) -> None:
    upload(path, url_of(client), bulk=bulk, open_after=0.0)


@ways
def test_the_rest_of_a_run_follows_when_it_ends(db_path: Path, bulk: bool) -> None:
    """Its end, its result, what it recorded meanwhile; until then it is not delivered."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        with WaxellContext("chatbot", session_id="sess_1") as run:
            run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
            _send(db_path, client, bulk=bulk)
            assert ask(db_path, STATES) == [("open",)]
            assert ask(hub, "SELECT status FROM runs") == [("running",)]
            run.record_llm_call(model="gpt-4o", tokens_in=200, tokens_out=70, cost=0.2)
            run.record_step("think", {})
            _send(db_path, client, bulk=bulk)
            assert ask(hub, "SELECT count(*) FROM llm_calls") == [(2,)]
            run.record_score("quality", 0.5)
            run.set_result({"answer": 42})
        _send(db_path, client, bulk=bulk)
        assert ask(db_path, STATES) == [("delivered",)]
        assert ask(hub, SHOWN) == ask(db_path, SHOWN)
        found = verify(db_path, settings_for(url_of(client), **PATIENT))
    assert (found.agrees, found.checked) == (True, 1)


@ways
def test_the_end_of_a_run_whose_process_was_killed_follows(db_path: Path, bulk: bool) -> None:
    """The upload writes down that it was interrupted, and sends that."""
    hub = db_path.with_name("hub.db")
    process = start_program(db_path, PROGRAM)
    assert process.stdout is not None
    assert process.stdin is not None
    with serving(hub) as client:
        assert process.stdout.readline() == "open\n"
        _send(db_path, client, bulk=bulk)
        assert interrupt_gone(db_path) == 0
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "more\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert interrupt_gone(db_path) == 1
        _send(db_path, client, bulk=bulk)
        assert ask(hub, "SELECT status FROM runs") == [("interrupted",)]
        assert ask(hub, SHOWN) == ask(db_path, SHOWN)
        assert verify(db_path, settings_for(url_of(client), **PATIENT)).agrees


UNSEEN_S = 3_600.0


def _interrupt_unseen(path: Path, seconds_later: float) -> int:
    """Do as a daemon that cannot see the process, so many seconds from now."""
    change(path, "UPDATE processes SET host = 'another container'")
    later = time.time_ns() + int(seconds_later * 1e9)
    return interrupt_gone(path, all_runs=True, unseen_s=UNSEEN_S, now_ns=lambda: later)


@ways
def test_the_end_of_a_run_that_was_given_up_takes_the_place_of_its_interruption(
    db_path: Path, bulk: bool
) -> None:
    """A process that cannot be seen was silent for long, and goes on all the same."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        with WaxellContext("chatbot", session_id="sess_1") as run:
            run.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50, cost=0.1)
            assert _interrupt_unseen(db_path, UNSEEN_S - 60) == 0
            assert _interrupt_unseen(db_path, UNSEEN_S + 60) == 1
            _send(db_path, client, bulk=bulk)
            assert ask(hub, "SELECT status FROM runs") == [("interrupted",)]
            run.record_llm_call(model="gpt-4o", tokens_in=200, tokens_out=70, cost=0.2)
            run.set_result({"answer": 42})
        assert ask(db_path, "SELECT status, error_type FROM runs") == [("success", None)]
        _send(db_path, client, bulk=bulk)
        assert ask(db_path, STATES) == [("delivered",)]
        assert ask(hub, SHOWN) == ask(db_path, SHOWN)
        assert verify(db_path, settings_for(url_of(client), **PATIENT)).agrees
    totals = "SELECT run_count, failed_runs, open_runs, llm_calls, total_tokens FROM sessions"
    assert ask(hub, totals) == ask(db_path, totals) == [(1, 0, 0, 2, 420)]


def test_a_process_of_which_one_run_goes_on_is_not_given_up(db_path: Path) -> None:
    """The others of its open runs may wait for as long as they like."""
    with WaxellContext("waits", session_id="s"):
        change(db_path, "UPDATE runs SET started_at = '2026-01-31T09:30:00.000000Z'")
        with WaxellContext("goes on", session_id="s"):
            assert _interrupt_unseen(db_path, 0) == 0
            assert _interrupt_unseen(db_path, UNSEEN_S + 60) == 2
    assert ask(db_path, "SELECT DISTINCT status FROM runs") == [("success",)]


def test_nobody_is_given_up_where_it_is_switched_off(db_path: Path) -> None:
    """With 0 an unseen process is believed for ever."""
    with WaxellContext("waits", session_id="s"):
        change(db_path, "UPDATE processes SET host = 'another container'")
        later = time.time_ns() + 10**18
        assert interrupt_gone(db_path, all_runs=True, unseen_s=0, now_ns=lambda: later) == 0


@ways
def test_a_run_that_ends_while_it_is_on_its_way(db_path: Path, bulk: bool) -> None:
    """Its end is not taken for sent."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        run = WaxellContext("chatbot", session_id="sess_1")
        run.__enter__()

        def end(point: str) -> None:
            if point == "sending" and ask(db_path, "SELECT status FROM runs") == [("running",)]:
                run.set_result({"answer": 42})
                run.__exit__(None, None, None)

        upload(db_path, url_of(client), bulk=bulk, open_after=0.0, at=end)
        _send(db_path, client, bulk=bulk)
        assert ask(db_path, STATES) == [("delivered",)]
        assert ask(hub, SHOWN) == ask(db_path, SHOWN)


@ways
def test_verify_finds_a_run_that_has_not_ended_there(db_path: Path, bulk: bool) -> None:
    """And one that ended otherwise: the number of runs and their totals are not all."""
    hub = db_path.with_name("hub.db")
    for _ in range(2):
        with WaxellContext("chatbot", session_id="sess_1"):
            pass
    with serving(hub) as client:
        _send(db_path, client, bulk=bulk)
        change(hub, "UPDATE runs SET status = 'running' WHERE rowid = 1")
        change(hub, "UPDATE runs SET status = 'error' WHERE rowid = 2")
        found = verify(db_path, settings_for(url_of(client), **PATIENT))
    assert found.different == [
        Difference("sess_1", "open_runs", 0, 1),
        Difference("sess_1", "failed_runs", 0, 1),
    ]


def test_what_0_2_sent_unfinished_is_found_again(db_path: Path) -> None:
    """Runs that it called delivered while they were running, and events that came later."""
    hub = db_path.with_name("hub.db")
    for _ in range(4):
        with WaxellContext("chatbot", session_id="sess_1") as run:
            run.record_data_access(source="db", operation="read", records=1)
    ids = [run_id for (run_id,) in ask(db_path, "SELECT run_id FROM runs ORDER BY run_id")]
    with serving(hub) as client:
        _send(db_path, client, bulk=True)
        change(db_path, "UPDATE targets SET looked_again = 0")
        # As it was left: ended since, killed since, with a later event, with nothing more to come.
        later = "2999-01-31T09:30:00.000000Z"
        change(
            hub,
            "UPDATE runs SET status = 'running', revision = NULL WHERE run_id IN (?, ?)",
            *ids[:2],
        )
        change(hub, "DELETE FROM events WHERE run_id = ?", ids[2])
        change(
            db_path,
            "UPDATE runs SET completed_at = ?, revision = NULL WHERE run_id = ?",
            later,
            ids[0],
        )
        change(
            db_path,
            "UPDATE runs SET status = 'interrupted', revision = NULL WHERE run_id = ?",
            ids[1],
        )
        change(
            db_path,
            "UPDATE events SET recorded_at = ?, revision = NULL WHERE run_id = ?",
            later,
            ids[2],
        )
        change(db_path, "UPDATE deliveries SET state = 'delivered'")
        _send(db_path, client, bulk=True)
        states = "SELECT run_id, status FROM runs ORDER BY run_id"
        assert ask(hub, states) == ask(db_path, states)
        assert ask(hub, "SELECT count(*) FROM events") == [(4,)]
        assert ask(db_path, "SELECT looked_again FROM targets") == [(1,)]
        sent = "SELECT count(*) FROM requests WHERE run_id = ?"
        assert [ask(db_path, sent, run_id)[0][0] for run_id in ids] == [2, 2, 2, 1]


def _refuse_steps(hub: Path) -> None:
    change(
        hub,
        "CREATE TRIGGER refuse BEFORE INSERT ON steps WHEN NEW.step_name = 'poison'"
        " BEGIN SELECT raise(ABORT, 'not this one'); END",
    )


@pytest.mark.parametrize("refused", ["step", "inputs"])
def test_a_run_of_which_the_server_refuses_something_while_it_goes_on(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """What it records later follows, and so does its end: nobody has to ask for it."""
    monkeypatch.setattr(guards, "MAX_BODY", 200_000)
    hub = db_path.with_name("hub.db")
    inputs = {"text": "x" * 300_000} if refused == "inputs" else {}
    with serving(hub) as client:
        _refuse_steps(hub)
        with WaxellContext("chatbot", inputs=inputs) as run:
            run.record_step("one", {})
            run.record_step("poison" if refused == "step" else "two", {})
            _send(db_path, client, bulk=False)
            assert ask(db_path, STATES) == [("open",)]
            run.record_step("three", {})
            _send(db_path, client, bulk=False)
            assert ("three",) in ask(hub, "SELECT step_name FROM steps")
            run.record_score("quality", 0.5)
        _send(db_path, client, bulk=False)
        # And a score of the next day, though the run is parked by now.
        assert ask(db_path, STATES) == [("parked",)]
        run.record_score("next day", 1.0)
        _send(db_path, client, bulk=False)
    assert ask(db_path, STATES) == [("parked",)]
    assert ask(hub, "SELECT status FROM runs") == [("success",)]
    names = "SELECT name FROM scores UNION SELECT step_name FROM steps ORDER BY 1"
    assert ask(hub, names) == [one for one in ask(db_path, names) if one != ("poison",)]


def test_an_interrupted_run_of_which_the_server_refuses_something(db_path: Path) -> None:
    """It ends at the server as interrupted."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        _refuse_steps(hub)
        program = PROGRAM.replace('record_step("think"', 'record_step("poison"')
        with start_program(db_path, program) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "more\n"
            _send(db_path, client, bulk=False)
            process.kill()
        assert interrupt_gone(db_path) == 1
        _send(db_path, client, bulk=False)
    assert ask(hub, "SELECT status, error_type FROM runs") == [("interrupted", "Interrupted")]
    assert ask(db_path, STATES) == [("parked",)]
