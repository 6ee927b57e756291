"""What counts as one failure of a server, and how long the upload waits after it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.cli import invoke
from tests.tools.daemon import running
from tests.tools.movable_clock import MovableClock
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import ask, record, uploading
from waxlocal_daemon.backoff import CAP_S
from waxlocal_daemon.circuit import USUAL_PACE, Pace

pytestmark = pytest.mark.usefixtures("recorder")

NOW_NS = 1_769_851_800_000_000_000
RUNS = 100
# Every span is so long that none ends during a test.
ENDLESS = Pace(unit=3_600.0)
ROUNDS = 12


@pytest.fixture
def closed() -> Iterator[str]:
    """Yield the URL of a port at which every connection is refused."""
    with socket.socket() as bound:  # nobody listens, and nobody else can
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("concurrency", [1, 8, 48])
def test_all_that_was_on_its_way_is_one_failure(db_path: Path, concurrency: int) -> None:
    """However many requests fail at once, and in how many steps that is noted."""
    record(RUNS)
    with (
        fault_server((Rule("close", method="POST"),)) as server,
        uploading(
            db_path, server.url, pace=ENDLESS, random=lambda: 0.5, concurrency=concurrency
        ) as uploader,
    ):
        uploader.run(threading.Event())
    assert ask(db_path, "SELECT failures FROM targets") == [(1,)]
    ((sent,),) = ask(db_path, "SELECT count(*) FROM requests WHERE attempts > 0")
    assert sent >= concurrency


def test_the_longest_span_is_the_longest(db_path: Path, closed: str) -> None:
    """An attempt in each span of 1, 2, 4, ... 300 seconds, from the first failure on."""
    record(RUNS)
    clock = MovableClock(NOW_NS)
    with uploading(
        db_path, closed, clock=clock, pace=USUAL_PACE, random=lambda: 0.5, concurrency=48
    ) as uploader:
        for round_ in range(1, ROUNDS):
            rest = uploader.run(threading.Event())
            assert ask(db_path, "SELECT failures FROM targets") == [(round_,)]
            # From the middle of one span to the middle of the next.
            assert rest <= min(CAP_S, 2.0 ** (round_ - 1))
            clock.sleep(rest)


def sync(path: Path, url: str, patience: float) -> Result:
    """Type `waxlocal sync`."""
    given = {"WAXELL_API_URL": url, "WAXELL_API_KEY": "k", "WAXLOCAL_SYNC_BULK": "0"}
    return invoke("sync", "--patience", patience, db=path, HOME=str(path.parent), **given)


def fail_for_long(path: Path, url: str) -> None:
    """Upload to a server that fails, and leave waits of half an hour in the file."""
    with uploading(path, url, pace=ENDLESS, random=lambda: 0.5, concurrency=8) as uploader:
        uploader.run(threading.Event())


@pytest.mark.parametrize("count", [1, 30])
def test_whoever_types_sync_does_not_wait(db_path: Path, count: int) -> None:
    """The server is well again: all goes at once, whatever waits an upload has left before."""
    record(count)
    with fault_server((Rule("status", method="POST", status=503, retry_after="1800"),)) as server:
        fail_for_long(db_path, server.url)
        server.use_script(())
        done = sync(db_path, server.url, PATIENCE_S)
        assert done.exit_code == 0, done.stderr
        assert audit(server).completed == count
        audit(server).assert_sound()


def test_the_attempt_at_once_is_one_request(db_path: Path) -> None:
    """A server that still fails gets one, however many runs wait; the next span is 2 seconds."""
    record(RUNS)
    with fault_server((Rule("status", method="POST", status=503),)) as server:
        fail_for_long(db_path, server.url)
        before = audit(server).requests
        assert sync(db_path, server.url, 0).exit_code == 7
        assert audit(server).requests == before + 1
    assert ask(db_path, "SELECT failures FROM targets") == [(2,)]


def test_a_reload_does_not_wait(db_path: Path) -> None:
    """SIGHUP has the daemon try the server at once."""
    record(3)
    with fault_server((Rule("status", method="POST", status=503, retry_after="1800"),)) as server:
        with running(db_path, server.url) as daemon:
            daemon.event("waiting")
            server.use_script(())
            daemon.send(signal.SIGHUP)
            daemon.event("up_to_date")
            assert daemon.end() == 0
        assert audit(server).completed == 3
