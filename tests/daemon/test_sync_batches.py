"""Batches and single requests do not get in each other's way, nor one run in that of others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import (
    ask,
    change,
    record,
    upload,
    uploading,
)

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


def test_many_runs_that_no_batch_can_carry(db_path: Path) -> None:
    """Each is set aside with its reason, and those behind them go."""
    record(1_200)
    change(db_path, "UPDATE scores SET numeric_value = x'ff00ff'")
    good = record(3)
    with fault_server(bulk=True) as server:
        done = upload(db_path, server.url, bulk=True)
        assert sorted(audit(server).records) == sorted(good)
    assert (done.delivered, done.parked) == (3, 1_200)


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
