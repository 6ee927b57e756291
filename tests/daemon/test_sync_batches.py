"""Batches and single requests do not get in each other's way, nor one run in that of others."""

from __future__ import annotations

import threading
from io import StringIO
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.sync import (
    PATIENT,
    ask,
    change,
    record,
    upload,
    uploading,
)
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import list_parked
from waxlocal.storage.connection import reader, writer
from waxlocal.wire import bulk

pytestmark = pytest.mark.usefixtures("recorder")


def test_an_empty_answer_is_no_offer_and_no_refusal(db_path: Path) -> None:
    """Runs that a batch has brought, unacknowledged, do not go one by one because of it."""
    record(5)
    with fault_server((Rule("close", path="/bulk/$", store=True),), bulk=True) as server:
        with uploading(db_path, server.url, bulk=True) as uploader:
            uploader.run(threading.Event())
        server.use_script((Rule("status", status=204, path="/config/$", times=2),))
        assert upload(db_path, server.url, bulk=True).delivered == 5
        audit(server).assert_sound()


def test_a_server_that_never_says_what_it_offers(db_path: Path) -> None:
    """It gets the usual requests after a few questions."""
    record(5)
    with fault_server((Rule("status", status=204, path="/config/$"),), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 5
        audit(server).assert_sound()


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_costs_one_run_its_batch(db_path: Path, status: int) -> None:
    """With the right key all the others go in batches, in the same process or in the next one."""
    record(20)
    with fault_server((Rule("status", status=status),), bulk=True) as server:
        with uploading(db_path, server.url, bulk=True) as uploader:
            uploader.run(threading.Event())
            assert uploader.refused
            server.use_script(())
            while uploader.refused:
                uploader.run(threading.Event())
        assert upload(db_path, server.url, bulk=True).pending == 0
        assert sorted(run["bulk"] for run in server.state()["runs"]) == [False] + [True] * 19
        audit(server).assert_sound()


def test_a_key_that_may_record_but_not_ask(db_path: Path) -> None:
    """The usual requests go, after one has been accepted many at a time."""
    record(20)
    with fault_server((Rule("status", status=403, path="/config/$"),), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 20
        audit(server).assert_sound()


def test_a_batch_in_flight_when_batches_end(db_path: Path) -> None:
    """Its runs go one by one only if it did not bring them."""
    record(20)
    change(db_path, "UPDATE runs SET inputs = json_object('text', printf('%.*c', 300000, 'x'))")
    script = (
        Rule("status", status=404, path="/bulk/$", nth=(1,)),
        Rule("late", path="/bulk/$", seconds=0.5),
    )
    with fault_server(script, bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 20
        seen = audit(server)
        assert {run["bulk"] for run in server.state()["runs"]} == {True, False}
    seen.assert_sound()


@pytest.mark.parametrize("most", [1, 3, 50])
def test_a_limit_that_stays_is_not_tried_all_the_time(db_path: Path, most: int) -> None:
    """A server that takes fewer runs than it offered refuses few batches."""
    record(200)
    rule = Rule("status", status=413, path="/bulk/$", over_items=most)
    with fault_server((rule,), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 200
        seen = audit(server)
    seen.assert_sound()
    assert seen.faults["status 413"] <= 20 + seen.minimum / 4


def test_batches_grow_again(db_path: Path) -> None:
    """After a trouble that has passed they are as large as before."""
    record(500)
    rule = Rule("status", status=413, path="/bulk/$", over_items=4, times=14)
    with fault_server((rule,), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 500
        seen = audit(server)
    seen.assert_sound()
    assert seen.minimum < 60


def test_many_runs_that_no_batch_can_carry(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go by single requests, more than are looked at together, and the rest past them."""
    monkeypatch.setattr(bulk, "MAX_RUNS", 20)
    bad = record(50)
    change(db_path, "UPDATE scores SET numeric_value = x'ff00ff'")
    good = record(3)
    with fault_server(bulk=True) as server:
        done = upload(db_path, server.url, bulk=True)
        audit(server).assert_sound()
        assert _by_batch(server) == {**dict.fromkeys(bad, False), **dict.fromkeys(good, True)}
    assert (done.delivered, done.parked) == (53, 0)


@pytest.mark.parametrize("kind", ["poison", "status"])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_run_that_is_refused_in_a_batch_goes_by_single_requests(
    db_path: Path, kind: str, status: int
) -> None:
    """Its line, or a batch of its own; it costs few requests, and what comes later follows it."""
    run_ids = record(20)
    bad = run_ids[7]
    rule = Rule(kind, status=status, path="/bulk/$", contains=bad)
    log = StringIO()
    with fault_server((rule,), bulk=True) as server:
        done = upload(db_path, server.url, bulk=True, log=log)
        assert (done.delivered, done.pending, done.parked) == (20, 0, 0)
        assert _by_batch(server) == {run_id: run_id != bad for run_id in run_ids}
        assert audit(server).faults[f"{kind} {status}"] <= 6
        late = "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
        at = "2026-01-31T09:30:00.000000Z"
        change(db_path, f"{late} VALUES (?, 900, '{at}', 'liked', 'numeric', '')", bad)
        assert upload(db_path, server.url, bulk=True).pending == 0
        seen = audit(server)
        seen.assert_sound(late=True)
    assert seen.records[bad]["scores"] == 2
    assert log.getvalue().count("event=single_requests") == 1
    assert "event=parked" not in log.getvalue()
    assert ask(db_path, "SELECT state FROM requests WHERE state = 'parked'") == []


def test_what_was_on_its_way_at_a_refusal_does_not_make_the_next_batch_larger(
    db_path: Path,
) -> None:
    """Two are in flight, and the good one may be answered last."""
    bad = record(60)[7]
    rules = (
        Rule("status", status=422, path="/bulk/$", contains=bad),
        Rule("late", path="/bulk/$", contains="run_id", seconds=0.3),
    )
    with fault_server(rules, bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 60
        seen = audit(server)
    seen.assert_sound()
    # Of 60, 30, 15, 7, 3 and 1; one more where the good one was answered first, on a busy machine.
    assert seen.faults["status 422"] in (6, 7)


def test_one_bad_record_never_holds_up_its_run(db_path: Path) -> None:
    """All else of it arrives, in its place and with its parent; then the run is parked with it."""
    with WaxellContext("parent", session_id="s", inputs={"q": 1}) as parent:
        with WaxellContext("child") as child:
            child.record_step("large", {"text": "x" * 17_000_000})
            child.record_step("small", {"n": 1})
            child.record_score("quality", 0.5)
            child.set_result({"n": 1})
        parent.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, cost=0.1)
    record(3)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        done = upload(db_path, url, bulk=True, **PATIENT)
    assert (done.delivered, done.pending, done.parked) == (4, 0, 1)
    with reader(db_path) as connection:
        parked = list_parked(connection)
    # Its span is made of the step: the hub does not store it.
    assert [(one.run_id, one.stage, one.status) for one in parked] == [(child.run_id, "steps", 413)]
    few = "SELECT * FROM {0} WHERE coalesce(length(output), 0) < 1000 ORDER BY run_id, position"
    assert ask(hub, few.format("steps")) == ask(db_path, few.format("steps"))
    whole = "SELECT * FROM {0} ORDER BY run_id, position"
    for table in ("llm_calls", "spans", "scores", "events"):
        assert ask(hub, whole.format(table)) == ask(db_path, whole.format(table)), table
    runs = (
        "SELECT run_id, agent_name, status, started_at, completed_at, duration, inputs, result,"
        " session_id, parent_workflow_id, root_workflow_id FROM runs ORDER BY run_id"
    )
    assert ask(hub, runs) == ask(db_path, runs)


def test_an_upload_that_ends_before_the_single_requests(db_path: Path) -> None:
    """The run is pending, not parked, and the next upload sends it."""
    (bad,) = record(1)

    def at(point: str) -> None:
        if point == "settled" and ask(db_path, "SELECT 1 FROM requests"):
            raise KeyboardInterrupt

    with fault_server((Rule("status", status=400, path="/bulk/$"),), bulk=True) as server:
        with (
            uploading(db_path, server.url, bulk=True, at=at) as uploader,
            pytest.raises(KeyboardInterrupt),
        ):
            uploader.run(threading.Event())
        with writer(db_path) as connection:
            assert (list_parked(connection), requeue(connection)) == ([], 0)
        assert upload(db_path, server.url, bulk=True).delivered == 1
        assert _by_batch(server) == {bad: False}


def test_a_run_that_an_older_version_has_parked_goes_by_a_batch_again(db_path: Path) -> None:
    """Its refused line is listed, and replaced when the run is wanted again."""
    (run_id,) = record(1)
    with fault_server(bulk=True) as server:
        with uploading(db_path, server.url, bulk=True):
            pass
        change(
            db_path,
            "INSERT INTO deliveries (run_id, target_id, state) VALUES (?, 1, 'parked')",
            run_id,
        )
        change(
            db_path,
            "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state,"
            " positions, bytes, attempts, status, reason)"
            " VALUES (?, 1, 'bulk', 0, 'k', 'parked', '[]', 7, 1, 400, '400')",
            run_id,
        )
        with writer(db_path) as connection:
            assert [one.stage for one in list_parked(connection)] == ["bulk"]
            assert requeue(connection) == 1
        assert upload(db_path, server.url, bulk=True).delivered == 1
        assert _by_batch(server) == {run_id: True}


def _by_batch(server: FaultServer) -> dict[str, bool]:
    """Return for each run that arrived whether a batch has brought it, by its id here."""
    return {run["local_id"] or run["run_id"]: run["bulk"] for run in server.state()["runs"]}


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("kind", ["reset-before-answer", "close", "status", "html"])
def test_a_run_that_the_server_stumbles_over(db_path: Path, kind: str, bulk: bool) -> None:
    """One that makes it fail as if it were away holds up nobody, before it or after it."""
    record(20)
    (bad,) = record(1)
    rule = Rule(kind, contains=bad, store=False)
    with fault_server((rule,), bulk=bulk) as server:
        for delivered in (40, 5, 5):
            record(20 if delivered == 40 else 5)
            done = upload(db_path, server.url, bulk=bulk, until=lambda: _is_left(db_path, bad))
            assert (done.delivered, done.pending, done.parked) == (delivered, 1, 0)
        server.use_script(())
        assert upload(db_path, server.url, bulk=bulk).delivered == 1
        audit(server).assert_sound()


def _is_left(path: Path, run_id: str) -> bool:
    return ask(path, "SELECT run_id FROM deliveries WHERE state <> 'delivered'") == [(run_id,)]


def test_a_batch_that_takes_too_long(db_path: Path) -> None:
    """A slow line, or a slow server, gets smaller ones."""
    record(50, text="x" * 1_000)
    rule = Rule("hang", path="/bulk/$", over_bytes=20_000, seconds=5)
    with fault_server((rule,), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True, read_timeout=0.2).delivered == 50
        audit(server).assert_sound()
