"""Whose a refusal is: the run's, which is set aside, or the host's, which passes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import httpx
import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.examples import examples
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import ask, contents_of, record, upload, uploading
from tests.tools.web import serving, url_of
from waxlocal.delivery.progress import RequestState
from waxlocal.delivery.requests import Part
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import delivery_status
from waxlocal.storage.connection import reader, writer
from waxlocal_daemon.circuit import USUAL_PACE
from waxlocal_daemon.doubts import ENOUGH, MOST_REFUSALS, OF_CONTENT, STEADY, Doubts, Whose

pytestmark = pytest.mark.usefixtures("recorder")

# What proxies, and servers that are being replaced, answer to everybody.
OF_HOSTS = (
    *(400, 402, *range(404, 408), *range(409, 413), 414, *range(415, 425), 426, 428),
    *(421, 431, 451, 499),
)
BY_ANY_WAY = pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
SENT = ("Content-Type", "Idempotency-Key", "X-Wax-Key")
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


@pytest.mark.parametrize(
    ("status", "page", "most"),
    [(400, "", OF_CONTENT), (403, "<h1>", OF_CONTENT), (400, "<h1>", MOST_REFUSALS)],
)
def test_the_only_run_that_is_always_refused_is_set_aside_in_the_end(
    db_path: Path, status: int, page: str, most: int
) -> None:
    """After some attempts with growing waits, fewer where it was read."""
    record(1)
    refused = Rule("status", status=status, raw=page, path="/start/$", store=False)
    with fault_server((refused,)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (0, 1)
        assert audit(server).faults[f"status {status}"] == most


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


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_host_that_refuses_at_random_parks_nobody(db_path: Path, share: float) -> None:
    """As a balancer with one bad server does: what it refuses it accepts a little later."""
    record(30)
    bad_server = Rule("status", status=404, raw="<html>", path="/runs/", probability=share,
                      store=False, times=200)  # fmt: skip
    with fault_server((bad_server,)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (30, 0)
        audit(server).assert_sound()


@pytest.mark.parametrize("status", [400, 404])
def test_each_request_may_be_refused_once(db_path: Path, status: int) -> None:
    """That of a run's end says nothing more of it than that of its start did."""
    record(count := examples(20))
    with fault_server((Rule("status", status=status, attempt=(1,), path="/runs/",
                            raw="<html>", store=False),)) as server:  # fmt: skip
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (count, 0)
        audit(server).assert_sound()


def test_a_host_that_accepts_only_starts_for_a_while_parks_nobody(db_path: Path) -> None:
    """Of the other requests none is accepted meanwhile."""
    record(20)
    rest = Rule("status", status=404, raw="<html>", path="/runs/[^/]+/[a-z-]+/$", store=False,
                times=examples(60))  # fmt: skip
    with fault_server((rest,)) as server:
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (20, 0)
        audit(server).assert_sound()


@pytest.mark.parametrize("status", [403, 422, 451])
def test_a_bad_run_in_large_batches_delays_no_other(db_path: Path, status: int) -> None:
    """They are halved at once, until it goes alone."""
    for _ in range(3):
        record(40)
        record(1, text="DROP TABLE")
    firewall = Rule("status", status=status, contains="DROP TABLE", raw="<h1>", store=False)
    with (
        fault_server((firewall,), bulk=True) as server,
        uploading(db_path, server.url, bulk=True, pace=USUAL_PACE) as uploader,
    ):
        uploader.run(threading.Event())
        assert uploader.progress().delivered == 120


def test_a_page_with_404_before_a_hub_is_no_run_that_it_has_lost(db_path: Path) -> None:
    """Only the hub can say that, in JSON; all goes on where it was when the hub is back."""
    record(10)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client, proxied(url_of(client), r"/runs/[^/]+/[a-z-]+/$", 60) as url:
        done = upload(db_path, url)
        assert (done.delivered, done.parked) == (10, 0)
    assert contents_of(hub) == contents_of(db_path)


def test_a_run_that_another_server_does_not_know_is_not_begun_twice(db_path: Path) -> None:
    """It may have what it had accepted before: `retry` sends the refused requests alone."""
    record(2)
    with fault_server((Rule("status", status=404, path="/steps/$", store=False),)) as server:
        assert upload(db_path, server.url).parked == 2
        server.use_script(())
        with writer(db_path) as connection:
            assert requeue(connection) == 2
        assert upload(db_path, server.url).parked == 0
        audit(server).assert_sound(late=True)


@contextmanager
def proxied(url: str, refused: str, times: int) -> Iterator[str]:
    """Forward requests to a server, but answer some paths with a page and 404, so many times."""
    left = iter(range(times))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if re.search(refused, self.path) and next(left, None) is not None:
                self._answer(404, "text/html", b"<html>no such page</html>")
                return
            kept = {name: self.headers[name] for name in SENT if self.headers[name]}
            answer = httpx.post(url + self.path, content=body, headers=kept, timeout=PATIENCE_S)
            self._answer(answer.status_code, answer.headers["content-type"], answer.content)

        def do_GET(self) -> None:
            self._answer(404, "text/html", b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def part(stage: str, key: str = "k") -> Part:
    """Return a request, as far as doubts look at it."""
    return Part(stage, 0, key, RequestState.WAITING, [], 0, b"")


def test_a_request_that_is_refused_while_others_like_it_are_accepted_is_the_runs() -> None:
    """After a few times; those of other kinds say nothing of it."""
    doubts = Doubts()
    told = []
    for other in ("start", "start", "steps", "steps"):
        told.append(doubts.settle("a", part("steps")))
        doubts.accept("b", part(other))
    assert told == [Whose.UNKNOWN, *[Whose.UNKNOWN_STILL] * 2, Whose.RUN]


def test_a_line_that_a_batch_refused_counts_as_a_refusal() -> None:
    """The others of the batch were accepted."""
    doubts = Doubts()
    doubts.refuse_line("a")
    doubts.accept_batch()
    told = [doubts.settle("a", part("start")) for _ in range(ENOUGH - 1)]
    assert told[-1] is Whose.RUN
    assert Whose.RUN not in told[:-1]


def test_a_recovery_makes_refusals_begin_anew() -> None:
    """The server refuses what it accepts later, whatever it is."""
    doubts = Doubts()
    for _ in range(4):
        doubts.settle("b", part("steps", "another"))
        for _ in range(ENOUGH - 1):
            assert doubts.settle("a", part("steps")) is not Whose.RUN
        doubts.accept("b", part("steps", "another"))


def test_a_server_that_was_fickle_is_believed_again() -> None:
    """After it has accepted many requests in a row."""
    doubts = Doubts()
    doubts.settle("b", part("start", "another"))
    doubts.accept("b", part("start", "another"))
    for _ in range(STEADY):
        doubts.accept("c", part("start", "good"))
    told = []
    for _ in range(ENOUGH):
        told.append(doubts.settle("a", part("start")))
        doubts.accept("c", part("start", "good"))
    assert told[-1] is Whose.RUN


def test_a_run_that_is_refused_alone_is_set_aside_in_the_end() -> None:
    """But never while others are refused, too, and nothing at all is accepted."""
    doubts = Doubts()
    told = [doubts.settle("a", part("start")) for _ in range(MOST_REFUSALS)]
    assert told[-1] is Whose.RUN
    assert Whose.RUN not in told[:-1]
    doubts.settle("b", part("start", "another"))
    assert doubts.settle("a", part("start")) is Whose.UNKNOWN_STILL
    doubts.accept("c", part("score"))
    assert doubts.settle("a", part("start")) is Whose.RUN


def test_what_was_refused_of_a_run_that_has_gone_says_nothing_of_what_follows() -> None:
    """A score of the next day may meet a host that refuses everybody."""
    doubts = Doubts()
    for _ in range(ENOUGH):
        doubts.settle("a", part("scores"))
    doubts.forget("a")
    doubts.accept("b", part("scores"))
    assert doubts.settle("a", part("scores")) is Whose.UNKNOWN


def test_batches_come_back_with_the_server(db_path: Path) -> None:
    """Before it, something else knew neither them nor what is offered."""
    record(40)
    rollout = Rule("status", status=404, raw="<html>", store=False, times=12)
    with fault_server((rollout,), bulk=True) as server:
        # Few at a time: what single requests have begun goes on by them.
        assert upload(db_path, server.url, bulk=True, concurrency=4).delivered == 40
        taken = [one["path"] for one in server.log() if one["status"] == 200]
        assert any(path.endswith("/bulk/") for path in taken)
        audit(server).assert_sound()
