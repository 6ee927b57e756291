"""A run is not delivered while a request of it is refused, whatever happens to the others."""

from __future__ import annotations

import threading
from contextlib import closing
from itertools import permutations
from pathlib import Path
from sqlite3 import connect

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.sync import QUICK, ask, change, record, upload, uploading
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.storage.connection import writer
from waxlocal_daemon.uploader import LONGEST_S

pytestmark = pytest.mark.usefixtures("recorder")

STAGES = ("llm-calls", "steps", "scores", "complete")
STATE = "SELECT state, reason FROM deliveries"
LATE_SCORE = """
INSERT INTO scores (run_id, position, recorded_at, name, data_type, numeric_value, comment)
VALUES (?, 900, '2026-02-01T09:30:00.000000Z', 'liked', 'numeric', 1.0, '')
"""


def _refusing(stage: str) -> Rule:
    return Rule("status", status=400, path=f"/{stage}/$", store=False)


def _take_up(db_path: Path, server: FaultServer) -> None:
    """See that the run comes whole when it is wanted again and nothing is refused."""
    server.use_script(())
    with writer(db_path) as connection:
        assert requeue(connection) == 1
    assert upload(db_path, server.url).parked == 0
    assert ask(db_path, STATE) == [("delivered", None)]
    audit(server).assert_sound(late=True)


@pytest.mark.parametrize(("refused", "failing"), [*permutations(STAGES, 2)])
def test_a_request_refused_while_another_fails(db_path: Path, refused: str, failing: str) -> None:
    """The other goes again; the run stays parked with the reason of the one that was refused."""
    record(1)
    failing_once = Rule("status", status=503, path=f"/{failing}/$", store=False, times=1)
    with fault_server((failing_once, _refusing(refused))) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (0, 1)
        ((state, reason),) = ask(db_path, STATE)
        assert state == "parked"
        assert reason.startswith(f"{refused}: 400")
        _take_up(db_path, server)


def test_a_request_refused_before_the_upload_was_stopped(db_path: Path) -> None:
    """Its run is parked by the next upload, which sends the rest of it."""
    record(1)
    stop = threading.Event()
    hanging = Rule("late", path="/llm-calls/$", seconds=0.5, times=1)
    pace = QUICK._replace(stop=0.0)
    with fault_server((hanging, _refusing("scores"))) as server:

        def at(point: str) -> None:
            if point == "settled" and ask(db_path, "SELECT 1 FROM requests WHERE state = 'parked'"):
                stop.set()

        with uploading(db_path, server.url, at=at, pace=pace) as uploader:
            uploader.run(stop)
        assert ask(db_path, "SELECT state FROM deliveries") == [("pending",)]
        assert upload(db_path, server.url).parked == 1
        _take_up(db_path, server)


def test_what_an_older_version_called_delivered_is_looked_at_again(db_path: Path) -> None:
    """A file may hold a delivered run of which a request was refused."""
    record(1)
    with fault_server((_refusing("scores"),)) as server:
        assert upload(db_path, server.url).parked == 1
        change(db_path, "UPDATE deliveries SET state = 'delivered', reason = NULL")
        change(db_path, "UPDATE targets SET looked_again = 0")
        assert upload(db_path, server.url).parked == 1
        _take_up(db_path, server)


def test_a_run_that_cannot_begin_is_set_aside(db_path: Path) -> None:
    """Its start was refused, and somebody made it pending: nothing else of it leaves."""
    record(1)
    with fault_server((_refusing("start"),)) as server:
        assert upload(db_path, server.url).parked == 1
        change(db_path, "UPDATE deliveries SET state = 'pending'")
        before = len(server.requests())
        assert upload(db_path, server.url).parked == 1
        assert len(server.requests()) == before


def test_what_a_run_records_that_could_not_begin_waits_with_it(db_path: Path) -> None:
    """The server does not know the run, so that nothing of it can leave: it stays parked."""
    (run_id,) = record(1)
    with fault_server((_refusing("start"),)) as server:
        upload(db_path, server.url)
        parked = ask(db_path, STATE)
        assert [state for state, _ in parked] == ["parked"]
        before = len(server.requests())
        change(db_path, LATE_SCORE, run_id)
        change(db_path, "UPDATE scores SET comment = 'on second thoughts'")
        assert ask(db_path, STATE) == parked
        assert upload(db_path, server.url).parked == 1
        assert len(server.requests()) == before
        _take_up(db_path, server)


def test_what_a_run_recorded_that_an_older_version_had_parked_goes(db_path: Path) -> None:
    """Before the upgrade nothing told of it; one look finds it, and the run is parked as before."""
    (run_id,) = record(1)
    with fault_server((_refusing("steps"),)) as server:
        upload(db_path, server.url)
        parked = ask(db_path, STATE)
        change(db_path, LATE_SCORE, run_id)
        change(db_path, "UPDATE deliveries SET state = 'parked', reason = ?", parked[0][1])
        change(db_path, "UPDATE targets SET looked_again = 0")
        assert upload(db_path, server.url).parked == 1
        assert ask(db_path, STATE) == parked
        (run,) = server.runs()
        assert len(run["records"]["scores"]) == 2
        _take_up(db_path, server)


@pytest.mark.parametrize("version", ["0.2", "this one"])
def test_a_parked_run_with_an_event_that_no_request_carries_is_left_alone(
    db_path: Path, version: str
) -> None:
    """Only the state of the conversation tells it; a cycle without news writes nothing at all."""
    with WaxellContext("asks") as run:
        run.record_step("think", {})
        run.record_policy_check(policy_name="limits", action="allow")
    with fault_server((_refusing("steps"),)) as server, closing(connect(db_path)) as other:
        assert upload(db_path, server.url).parked == 1
        if version == "0.2":  # which kept no positions of these, nor states
            change(
                db_path,
                "UPDATE requests SET positions = '[]', states = NULL"
                " WHERE stage IN ('start', 'complete')",
            )
            change(db_path, "UPDATE targets SET looked_again = 0")
        with uploading(db_path, server.url) as uploader:
            uploader.run(threading.Event())
            (written,) = other.execute("PRAGMA data_version").fetchone()
            sent = len(server.log())
            for _ in range(3):
                assert uploader.run(threading.Event()) == LONGEST_S
            assert other.execute("PRAGMA data_version").fetchone() == (written,)
            assert len(server.log()) == sent
            # The same for one that makes it pending, though nothing of it is to be sent.
            change(db_path, "UPDATE steps SET output = '{}'")
            assert ask(db_path, "SELECT state FROM deliveries") == [("pending",)]
            uploader.run(threading.Event())
            assert ask(db_path, "SELECT state FROM deliveries") == [("parked",)]
            (written,) = other.execute("PRAGMA data_version").fetchone()
            uploader.run(threading.Event())
            assert other.execute("PRAGMA data_version").fetchone() == (written,)
            assert len(server.log()) == sent


def test_a_run_that_waits_for_ever_does_not_keep_the_upload_busy(db_path: Path) -> None:
    """Nothing of it can leave, so the upload rests."""
    with WaxellContext("asks") as run:
        run.record_policy_check(policy_name="limits", action="allow")
    with fault_server() as server:
        upload(db_path, server.url)
        # No way is known into this state; the upload must rest all the same.
        change(db_path, "UPDATE deliveries SET state = 'pending', remote_run_id = NULL")
        with uploading(db_path, server.url) as uploader:
            assert uploader.run(threading.Event()) > 0


@pytest.mark.parametrize("bulk", [False, True])
def test_absurd_counts_of_a_child_hold_up_nobody(db_path: Path, bulk: bool) -> None:
    """The sum of a child's tokens goes into a request of its parent, and may be beyond SQLite."""
    with WaxellContext("boss"), WaxellContext("helper") as run:
        for _ in range(2):
            run.record_llm_call(model="gpt-4o", tokens_in=2**63 - 1, tokens_out=1)
    record(3)
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        assert (done.delivered, done.parked) == (5, 0)
