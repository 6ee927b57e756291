"""Whose a refusal is: the run's, which is set aside, or the host's, which passes."""

from __future__ import annotations

import threading
from io import StringIO
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import ask, record, upload, uploading
from waxlocal.delivery.status import delivery_status
from waxlocal.storage.connection import reader
from waxlocal_daemon.doubts import MOST_OF_BEGUN, MOST_REFUSALS, Doubts

pytestmark = pytest.mark.usefixtures("recorder")

# What proxies, and servers that are being replaced, answer to everybody.
OF_HOSTS = (
    *(400, 402, *range(404, 408), *range(409, 413), 414, *range(415, 425), 426, 428),
    *(421, 431, 451, 499),
)
BY_ANY_WAY = pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
STATES = "SELECT state, count(*) FROM deliveries GROUP BY state"


@pytest.mark.parametrize(
    ("count", "times", "page", "status"),
    [
        *((6, 9, "", status) for status in OF_HOSTS),
        # Nothing else tells then whose the refusal is.
        *((1, 3, "<html>", status) for status in (400, 403, 404, 421, 422)),
    ],
)
def test_what_a_host_refuses_everybody_parks_nobody(
    db_path: Path, count: int, times: int, page: str, status: int
) -> None:
    """For a while, all runs or the only one; afterwards each arrives by itself, once."""
    record(count)
    rollout = Rule(
        "status", status=status, raw=page, path="" if page else "/runs/", store=False, times=times
    )
    with fault_server((rollout,)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (count, 0)
        audit(server).assert_sound()
    assert ask(db_path, STATES) == [("delivered", count)]


@pytest.mark.parametrize("count", [2, 8])
def test_while_a_host_refuses_everybody_the_status_says_so(db_path: Path, count: int) -> None:
    """Nothing is up to date, and there was no success."""
    record(count)
    log = StringIO()
    with fault_server((Rule("status", status=404, raw="<html>", store=False),)) as server:
        with uploading(db_path, server.url, log=log) as uploader:
            uploader.run(threading.Event())
        with reader(db_path) as connection:
            (told,) = delivery_status(connection)
    assert (told.pending, told.parked, told.delivered) == (count, 0, 0)
    assert told.last_success_at is None
    assert (told.reason or told.pending_reason or "").startswith("404, not JSON")
    assert "event=resumed" not in log.getvalue()


def test_the_only_run_that_is_always_refused_is_set_aside_in_the_end(db_path: Path) -> None:
    """After a few attempts with growing waits."""
    record(1)
    with fault_server((Rule("status", status=400, path="/start/$", store=False),)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (0, 1)
        assert audit(server).faults["status 400"] == MOST_REFUSALS


@BY_ANY_WAY
@pytest.mark.parametrize("status", [400, 403, 404, 418, 451])
def test_one_bad_run_holds_up_no_other(db_path: Path, status: int, bulk: bool) -> None:
    """A firewall refuses the one whose prompt looks like an attack: that is set aside, soon."""
    record(3)
    (bad,) = record(1, text="'; DROP TABLE users; --")
    record(16)
    log = StringIO()
    firewall = Rule(
        "status", status=status, contains="DROP TABLE", raw="<h1>Blocked</h1>", store=False
    )
    with fault_server((firewall,), bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk, log=log)
        assert (done.delivered, done.parked) == (19, 1)
        assert sum(audit(server).faults.values()) <= 3 * MOST_REFUSALS
    assert ask(db_path, "SELECT run_id FROM deliveries WHERE state = 'parked'") == [(bad,)]
    assert "event=paused" not in log.getvalue()


def test_a_key_that_an_api_refuses_pauses_the_upload(db_path: Path) -> None:
    """It says so in JSON, or with nothing at all; no run is blamed."""
    record(3)
    for body in ({"detail": "this key may not record"}, None):
        refused = Rule("status", status=403, body=body, store=False, times=2)
        log = StringIO()
        with fault_server((refused,)) as server:
            assert upload(db_path, server.url, log=log).parked == 0
        assert "event=paused" in log.getvalue()
        record(1)


def test_a_second_refusal_after_an_acceptance_is_the_runs_own() -> None:
    """One that left after it; what was under way with the first one says nothing new."""
    doubts = Doubts()
    assert not doubts.settle("a", accepted=0, begun=False)
    doubts.accept()
    assert not doubts.settle("a", accepted=0, begun=False)
    assert doubts.settle("a", accepted=1, begun=False)
    assert not doubts.settle("b", accepted=1, begun=False)


def test_a_run_that_was_refused_in_a_batch_with_others_that_were_taken_is_at_its_second() -> None:
    """Its line was the first."""
    doubts = Doubts()
    doubts.refuse("a")
    doubts.accept()
    assert doubts.settle("a", accepted=doubts.accepted, begun=False)


@pytest.mark.parametrize(("begun", "most"), [(False, MOST_REFUSALS), (True, MOST_OF_BEGUN)])
def test_a_run_that_is_refused_alone_is_set_aside_in_the_end(begun: bool, most: int) -> None:
    """But never while others are refused, too."""
    doubts = Doubts()
    told = [doubts.settle("a", accepted=0, begun=begun) for _ in range(most)]
    assert told == [False] * (most - 1) + [True]
    doubts.refuse("b")
    assert not doubts.settle("a", accepted=0, begun=begun)


def test_what_was_refused_of_a_run_that_has_gone_says_nothing_of_what_follows() -> None:
    """A score of the next day may meet a host that refuses everybody."""
    doubts = Doubts()
    doubts.refuse("a")
    doubts.accept()
    doubts.forget("a")
    assert not doubts.settle("a", accepted=doubts.accepted, begun=True)
