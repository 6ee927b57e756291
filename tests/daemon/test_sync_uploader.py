"""Runs arrive at a real server once each, whatever happens on the way."""

from __future__ import annotations

import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.scripts import ABSURD, RETRYABLE
from tests.faults.server import fault_server
from tests.tools.sync import (
    ask,
    change,
    record,
    upload,
    uploading,
)
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.statements import ADD_SCORE
from waxlocal.storage.connection import writer

pytestmark = pytest.mark.usefixtures("recorder")

STATES = "SELECT state, count(*) FROM deliveries GROUP BY state"
RECEIPTS = "SELECT stage, part, state, status, attempts FROM requests ORDER BY stage, part"


@pytest.mark.parametrize("bulk", [False, True])
def test_each_run_arrives_once(db_path: Path, bulk: bool) -> None:
    """With as many requests as it takes and none more, and a receipt for each."""
    run_ids = record(30)
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        seen = audit(server)
    seen.assert_sound(at_most=1)
    assert (done.delivered, done.pending, done.parked) == (30, 0, 0)
    assert sorted(seen.records) == sorted(run_ids)
    assert seen.completed == 30
    assert ask(db_path, STATES) == [("delivered", 30)]
    assert ask(db_path, "SELECT count(*) FROM requests WHERE body IS NOT NULL") == [(0,)]
    stages = 1 if bulk else 6
    rows = ask(db_path, "SELECT state, status / 100, attempts, count(*) FROM requests GROUP BY 1")
    assert rows == [("delivered", 2, 1, 30 * stages)]


def test_a_second_upload_sends_nothing(db_path: Path) -> None:
    """What is delivered is not looked at again."""
    record(5)
    with fault_server() as server:
        upload(db_path, server.url)
        before = audit(server).requests
        upload(db_path, server.url)
        assert audit(server).requests == before


@pytest.mark.parametrize("fault", RETRYABLE)
def test_what_may_pass_is_sent_again(db_path: Path, fault: str) -> None:
    """Each fault by itself, several times: every run arrives once, with one body for each key."""
    record(8)
    rule = replace(RETRYABLE[fault], times=6)
    with fault_server((rule,), seed=1) as server:
        done = upload(db_path, server.url)
        seen = audit(server)
    seen.assert_sound()
    assert (done.delivered, done.parked, seen.completed) == (8, 0, 8)
    assert sum(seen.faults.values()) == 6


@pytest.mark.parametrize("fault", [name for name in RETRYABLE if "run-id" not in name])
def test_batches_survive_the_same_faults(db_path: Path, fault: str) -> None:
    """A batch that was stored but not acknowledged is merged with itself."""
    record(8)
    rule = replace(RETRYABLE[fault], times=3, path="/bulk/$")
    with fault_server((rule,), seed=1, bulk=True) as server:
        done = upload(db_path, server.url, bulk=True)
        seen = audit(server)
    seen.assert_sound()
    assert (done.delivered, done.parked, seen.completed) == (8, 0, 8)


@pytest.mark.parametrize("fault", ABSURD)
def test_an_absurd_retry_after_is_an_hour(db_path: Path, fault: str) -> None:
    """The server is left alone for the longest wait there is, not for centuries."""
    record(3)
    log = StringIO()
    with (
        fault_server((replace(ABSURD[fault], method="POST", times=1),)) as server,
        uploading(db_path, server.url, log=log, concurrency=1) as uploader,
    ):
        rest = uploader.run(threading.Event())
        assert 30 < rest <= 36.0  # an hour at a hundredth
        again = uploader.run(threading.Event())
        assert 0 < again <= rest
        assert audit(server).requests == 1
    assert log.getvalue().count("event=waiting") == 1


def test_retry_after_holds_for_the_whole_server(db_path: Path) -> None:
    """No other run is sent meanwhile, and a new process keeps to it, too."""
    record(10)
    rule = Rule("status", method="POST", status=429, retry_after="2000", times=1)
    with fault_server((rule,)) as server:
        for _ in range(2):
            with uploading(db_path, server.url, concurrency=1) as uploader:
                assert uploader.run(threading.Event()) > 15
        assert audit(server).requests == 1


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_refused_run_is_parked_and_the_others_go(db_path: Path, status: int) -> None:
    """With its reason; and it goes when it is wanted again and the server takes it."""
    bad, *good = record(4)
    rule = Rule("poison", status=status, contains=bad)
    with fault_server((rule,)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (3, 1)
        assert ask(db_path, "SELECT run_id FROM deliveries WHERE state = 'parked'") == [(bad,)]
        ((reason,),) = ask(db_path, "SELECT reason FROM deliveries WHERE state = 'parked'")
        assert f"start: {status}" in reason
        server.use_script(())
        assert upload(db_path, server.url).delivered == 0
        with writer(db_path) as connection:
            assert requeue(connection, [bad]) == 1
        assert upload(db_path, server.url).delivered == 1
        seen = audit(server)
    assert sorted(seen.records) == sorted([bad, *good])
    assert not seen.two_bodies


def test_one_bad_record_is_found_and_parked_alone(db_path: Path) -> None:
    """The other records of the same request arrive, and the run is completed."""
    with WaxellContext("chatbot", session_id="s") as run:
        for number in range(20):
            run.record_step(f"step{number}", {"text": "poison" if number == 13 else "fine"})
    with fault_server((Rule("poison", status=422, path="/steps/$", contains="poison"),)) as server:
        done = upload(db_path, server.url)
        seen = audit(server)
    assert (done.delivered, done.parked, seen.completed) == (0, 1, 1)
    assert seen.records[run.run_id]["steps"] == 19
    assert not seen.doubled
    assert not seen.two_bodies
    parked = ask(db_path, "SELECT stage, positions, status FROM requests WHERE state = 'parked'")
    assert parked == [("steps", "[14]", 422)]


def test_413_divides_until_it_fits(db_path: Path) -> None:
    """A server that takes four records at a time gets them in fours."""
    with WaxellContext("chatbot", session_id="s") as run:
        for number in range(50):
            run.record_score(f"score{number}", number)
    with fault_server((Rule("status", status=413, path="/scores/$", over_items=4),)) as server:
        assert upload(db_path, server.url).delivered == 1
        seen = audit(server)
    seen.assert_sound()
    assert seen.records[run.run_id]["scores"] == 50


def test_413_for_one_record_parks_it(db_path: Path) -> None:
    """It cannot be divided any further."""
    record(1, text="x" * 100_000)
    with fault_server((Rule("status", status=413, over_bytes=50_000),)) as server:
        assert upload(db_path, server.url).parked == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_pauses_everything_once(db_path: Path, status: int) -> None:
    """One request, one line in the log; another key resumes, and nothing was lost."""
    record(6)
    log = StringIO()
    with fault_server((Rule("status", status=status),)) as server:
        with uploading(db_path, server.url, log=log, concurrency=1) as uploader:
            for _ in range(3):
                uploader.run(threading.Event())
            assert uploader.refused
        assert audit(server).requests == 1
        assert log.getvalue().count("event=paused") == 1
        assert "wax_sk_test" not in log.getvalue()
        server.use_script(())
        assert upload(db_path, server.url).delivered == 6
        audit(server).assert_sound()


def test_a_refused_key_is_tried_again_by_itself(db_path: Path) -> None:
    """After the pause one request asks whether it is welcome now."""
    record(6)
    with fault_server((Rule("status", status=401, times=2),)) as server:
        assert upload(db_path, server.url, concurrency=1).delivered == 6


def test_the_key_follows_no_redirect(db_path: Path) -> None:
    """Not even where the server says so; what it says is tried again."""
    record(2)
    with fault_server((Rule("redirect", status=307, times=4),)) as server:
        upload(db_path, server.url)
        assert audit(server).elsewhere == []


def test_a_child_goes_after_its_parents_start(db_path: Path) -> None:
    """Even when the parent's start fails at first; both name the server's own workflow ids."""
    with (
        WaxellContext("outer", session_id="s") as outer,
        WaxellContext("inner") as inner,
        WaxellContext("innermost") as innermost,
    ):
        pass
    with fault_server((Rule("status", status=500, path="/start/$", times=3),)) as server:
        upload(db_path, server.url)
        seen = audit(server)
        runs = {run["local_id"]: run for run in server.runs()}
    seen.assert_sound()
    first, second, third = (runs[run.run_id] for run in (outer, inner, innermost))
    assert second["start"]["parent_workflow_id"] == first["workflow_id"]
    assert third["start"]["parent_workflow_id"] == second["workflow_id"]
    assert third["start"]["root_workflow_id"] == first["workflow_id"]


def test_a_parked_parent_does_not_hold_its_children(db_path: Path) -> None:
    """They go without the lineage that the server would not know."""
    with WaxellContext("outer", session_id="s") as outer, WaxellContext("inner") as inner:
        pass
    rule = Rule("poison", status=400, path="/start/$", contains='"agent_name":"outer"')
    with fault_server((rule,)) as server:
        done = upload(db_path, server.url)
        runs = {run["local_id"]: run for run in server.runs()}
    assert (done.delivered, done.parked) == (1, 1)
    assert "parent_workflow_id" not in runs[inner.run_id]["start"]
    about = runs[inner.run_id]["start"]["metadata"]["waxlocal"]
    assert about["parent_workflow_id"] == f"wf_{outer.run_id}"


@pytest.mark.parametrize("bulk", [False, True])
def test_a_late_score_is_delivered_too(db_path: Path, recorder: Recorder, bulk: bool) -> None:
    """What is recorded after the run was delivered goes with the next upload, and only that."""
    (run_id,) = record(1)
    with fault_server(bulk=bulk) as server:
        upload(db_path, server.url, bulk=bulk)
        late = (run_id, 900, "2026-01-31T09:30:00.000000Z", "liked", "numeric", 1.0, None, "")
        recorder.store.write(ADD_SCORE, late)
        assert upload(db_path, server.url, bulk=bulk).delivered == 1
        seen = audit(server)
    seen.assert_sound(late=True)
    assert seen.records[run_id]["scores"] == 2


def test_a_record_made_while_the_run_is_sent_is_not_forgotten(
    db_path: Path, recorder: Recorder
) -> None:
    """It came too late for the requests that were made already, and gets one of its own."""
    (run_id,) = record(1)
    late = (run_id, 900, "2026-01-31T09:30:00.000000Z", "liked", "numeric", 1.0, None, "")
    points: list[str] = []

    def at(point: str) -> None:
        if point == "sending" and "sending" not in points:
            recorder.store.write(ADD_SCORE, late)
        points.append(point)

    with fault_server() as server:
        upload(db_path, server.url, at=at)
        seen = audit(server)
    seen.assert_sound(late=True)
    assert seen.records[run_id]["scores"] == 2


def test_an_open_run_waits_for_its_end(db_path: Path) -> None:
    """As long as the setting says; then it goes as far as it is, and the rest later."""
    run = WaxellContext("chatbot", session_id="s")
    run.__enter__()
    run.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, cost=0.1)
    with fault_server() as server:
        assert upload(db_path, server.url).delivered == 0
        assert audit(server).requests == 0
        upload(db_path, server.url, open_after=0.0)
        assert audit(server).records == {run.run_id: {"llm-calls": 1}}
        run.record_llm_call(model="gpt-4o", tokens_in=2, tokens_out=2, cost=0.1)
        run.record_score("quality", 1)
        run.__exit__(None, None, None)
        assert upload(db_path, server.url).delivered == 1
        seen = audit(server)
    seen.assert_sound()
    assert seen.records[run.run_id] == {"llm-calls": 2, "spans": 3, "scores": 1}


@pytest.mark.parametrize("bulk", [False, True])
def test_a_strange_row_holds_up_nobody(db_path: Path, bulk: bool) -> None:
    """A blob where a number should be goes as text, by single requests: no batch has a form."""
    bad, *good = record(5)
    change(db_path, "UPDATE scores SET numeric_value = x'ff00ff' WHERE run_id = ?", bad)
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        assert audit(server).completed == 5
        singly = [run["local_id"] for run in server.state()["runs"] if not run["bulk"]]
        assert sorted(singly) == sorted([bad] if bulk else [bad, *good])
    assert (done.delivered, done.parked) == (5, 0)


def test_a_bad_run_in_a_batch_is_refused_alone(db_path: Path) -> None:
    """The server answers for each run; when it refuses the start, too, the run is parked."""
    bad, *_good = record(9)
    with fault_server((Rule("poison", status=400, contains=bad),), bulk=True) as server:
        done = upload(db_path, server.url, bulk=True)
        assert audit(server).requests <= 4
    assert (done.delivered, done.parked) == (8, 1)
    parked = "SELECT run_id, substr(reason, 1, 10) FROM deliveries WHERE state = 'parked'"
    assert ask(db_path, parked) == [(bad, "start: 400")]


def test_a_batch_that_is_too_large_is_halved(db_path: Path) -> None:
    """Until the server takes it."""
    record(20)
    with fault_server((Rule("status", status=413, over_items=3),), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 20
        audit(server).assert_sound()


@pytest.mark.parametrize("status", [404, 405, 415, 501])
def test_without_batches_runs_go_one_by_one(db_path: Path, status: int) -> None:
    """A server that offers batches and then does not know them gets the usual requests."""
    record(5)
    with fault_server((Rule("status", status=status, path="/bulk/$"),), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 5
        audit(server).assert_sound()


def test_two_servers_get_all_runs_each(db_path: Path) -> None:
    """How far one has come says nothing about the other."""
    record(3)
    with fault_server() as first, fault_server() as second:
        upload(db_path, first.url)
        record(2)
        upload(db_path, second.url)
        upload(db_path, first.url)
        assert (audit(first).completed, audit(second).completed) == (5, 5)


def test_stopping_releases_what_is_in_flight(db_path: Path) -> None:
    """The next upload sends it again under the same key; the server has it once."""
    record(6)
    stop = threading.Event()
    with fault_server((Rule("hang", store=True, times=3, seconds=0.5),)) as server:
        with uploading(
            db_path, server.url, at=lambda point: stop.set() if point == "settled" else None
        ) as uploader:
            uploader.run(stop)
        assert ask(db_path, "SELECT count(*) FROM deliveries WHERE state = 'sending'") == [(0,)]
        upload(db_path, server.url)
        audit(server).assert_sound()
