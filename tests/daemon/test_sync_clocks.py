"""Clocks that jump, processes that stand still, two at once: nothing is sent twice or forgotten."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.uploading import start
from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.cli import PYTHON, environment, spawn
from tests.tools.movable_clock import DAY_S, YEAR_S, MovableClock
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import (
    ask,
    record,
    settings_for,
    uploading,
)
from waxlocal_daemon.backoff import CAP_S
from waxlocal_daemon.circuit import LONGEST_WAIT_S, USUAL_PACE
from waxlocal_daemon.uploader import LONGEST_S, Uploader

pytestmark = pytest.mark.usefixtures("recorder")

NOW_NS = 1_769_851_800_000_000_000
JUMPS = {
    "ten years ahead": 10 * YEAR_S,
    "a day back": -DAY_S,
    "an hour back": -3_600.0,
    "to 1970": -NOW_NS / 1e9 + 60,
}
jumps = pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
KEY = "wax_sk_test"
ENDING = "Stopping after the current requests; once more to stop at once.\n"


def _until_delivered(uploader: Uploader, clock: MovableClock) -> float:
    """Upload until nothing is pending; return the seconds that it took by the steady clock."""
    began = clock.monotonic_ns()
    for _ in range(1_000):
        rest = uploader.run(threading.Event())
        if not uploader.progress().pending:
            return (clock.monotonic_ns() - began) / 1e9
        clock.sleep(rest)
    raise AssertionError("it goes on for ever")


@jumps
@pytest.mark.parametrize("status", [503, 500, 429])
def test_a_jump_between_two_uploads(db_path: Path, jump: float, status: int) -> None:
    """One request, at once where the wait in the file makes no sense; none waits for ever."""
    record(5)
    clock = MovableClock(NOW_NS)
    with fault_server((Rule("status", method="POST", status=status),)) as server:
        with uploading(db_path, server.url, clock=clock, pace=USUAL_PACE) as uploader:
            for _ in range(12):
                clock.sleep(uploader.run(threading.Event()))
        before = audit(server).requests
        clock.jump(jump)
        with uploading(db_path, server.url, clock=clock, pace=USUAL_PACE) as uploader:
            clock.sleep(uploader.run(threading.Event()))
            assert audit(server).requests - before == (abs(jump) > LONGEST_WAIT_S)
            server.use_script(())
            assert _until_delivered(uploader, clock) <= LONGEST_WAIT_S
        audit(server).assert_sound()


@jumps
def test_a_jump_during_an_upload(db_path: Path, jump: float) -> None:
    """The steady clock goes on: no more requests than without the jump, and all runs arrive."""
    record(5)
    requests = [_requests_with_a_jump(db_path, seconds) for seconds in (0.0, jump)]
    assert requests[1] <= requests[0]


def _requests_with_a_jump(path: Path, jump: float) -> int:
    """Return how many requests a server got that fails at first, with a jump half-way."""
    clock = MovableClock(NOW_NS)
    with (
        fault_server((Rule("status", method="POST", status=503),)) as server,
        uploading(path, server.url, clock=clock, pace=USUAL_PACE, random=lambda: 0.5) as uploader,
    ):
        end = clock.monotonic_ns() + 7_200 * 10**9
        clock.sleep(uploader.run(threading.Event()))
        for _ in range(2):
            while clock.monotonic_ns() < end - 3_600 * 10**9:
                clock.sleep(uploader.run(threading.Event()))
            clock.jump(jump)
            jump, end = 0.0, end + 3_600 * 10**9
        requests = audit(server).requests
        server.use_script(())
        assert _until_delivered(uploader, clock) <= LONGEST_WAIT_S
        audit(server).assert_sound()
    return requests


def test_a_run_that_becomes_due_while_it_looks_at_others_is_not_slept_over(db_path: Path) -> None:
    """Its wait ends after the last look for runs that are due, and before the upload rests."""
    record(1)
    clock = MovableClock(NOW_NS)
    with (
        fault_server((Rule("status", status=400, path="/start/"),)) as server,
        uploading(
            db_path, server.url, clock=clock, on_progress=lambda _: clock.sleep(60.0)
        ) as uploader,
    ):
        assert uploader.run(threading.Event()) == 0.0
        assert uploader.progress().pending == 1


def test_a_restart_does_not_shorten_the_wait(db_path: Path) -> None:
    """What is left of it holds for the next process, too."""
    record(3)
    clock = MovableClock(NOW_NS)
    with fault_server((Rule("status", method="POST", status=503, retry_after="1800"),)) as server:
        for _ in range(3):
            with uploading(
                db_path, server.url, clock=clock, pace=USUAL_PACE, concurrency=1
            ) as uploader:
                assert uploader.run(threading.Event()) == LONGEST_S
            assert audit(server).requests == 1
            clock.sleep(600)
        server.use_script(())
        with uploading(db_path, server.url, clock=clock, pace=USUAL_PACE) as uploader:
            assert _until_delivered(uploader, clock) <= CAP_S
        audit(server).assert_sound()


def test_a_process_that_stands_still(db_path: Path) -> None:
    """Stopped in the middle it keeps the lock; going on, it doubles nothing."""
    record(300)
    with fault_server(latency_ms=20) as server:
        process = start(db_path, server.url, "single")
        server.wait_for(completed=20)
        process.send_signal(signal.SIGSTOP)
        refused = _sync(db_path, server.url)
        assert refused.returncode == 3
        assert f"pid {process.pid} " in refused.stderr
        time.sleep(settings_for(server.url).request_timeout)  # every request in flight is late now
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        audit(server).assert_sound(at_most=1.5)
        assert audit(server).completed == 300
    assert ask(db_path, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]


def test_two_at_once(db_path: Path) -> None:
    """The second names the first and leaves everything to it."""
    record(5)
    with (
        fault_server((Rule("hang", method="POST", times=1),)) as server,
        _syncing(db_path, server.url) as first,
    ):
        server.wait_for(hanging=1)
        second = _sync(db_path, server.url)
        assert (second.returncode, second.stdout) == (3, "")
        assert f"waxlocal sync (pid {first.pid} on " in second.stderr
        assert "Try: " in second.stderr
        server.release()
        said, _ = first.communicate(timeout=PATIENCE_S)
        assert first.returncode == 0
        assert said.startswith("5 runs delivered to ")
        audit(server).assert_sound()


@pytest.mark.parametrize("bulk", [False, True])
def test_ctrl_c_half_way(db_path: Path, bulk: bool) -> None:
    """It ends with 130 in good order, and the next one brings the rest."""
    record(100)
    # Batches of one run: a server that refuses larger ones.
    small = (Rule("status", status=413, over_items=1, path="/bulk/$"),) if bulk else ()
    with (
        fault_server(small, bulk=bulk, latency_ms=20) as server,
        _syncing(db_path, server.url) as first,
    ):
        server.wait_for(completed=20)
        first.send_signal(signal.SIGINT)
        said, complained = first.communicate(timeout=PATIENCE_S)
        assert first.returncode == 130, complained
        assert " pending, 0 parked." in said
        assert complained == ENDING
        assert ask(db_path, "SELECT count(*) FROM deliveries WHERE state = 'sending'") == [(0,)]
        second = _sync(db_path, server.url)
        assert second.returncode == 0, second.stderr
        audit(server).assert_sound(at_most=2)
        assert audit(server).completed == 100


def test_ctrl_c_twice(db_path: Path) -> None:
    """The second time nothing is waited for; a request without an answer goes again."""
    record(3)
    with (
        fault_server((Rule("hang", path="/start/$", store=True, times=3),)) as server,
        _syncing(db_path, server.url) as first,
    ):
        server.wait_for(hanging=3)
        first.send_signal(signal.SIGINT)
        assert first.stderr is not None
        assert first.stderr.readline() == ENDING
        first.send_signal(signal.SIGINT)
        said, complained = first.communicate(timeout=PATIENCE_S)
        assert (first.returncode, said) == (130, "")  # no summary: it was not waited for
        assert "Traceback" not in complained
        assert _sync(db_path, server.url).returncode == 0
        audit(server).assert_sound()


def _environment(url: str) -> dict[str, str]:
    return {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY}


def _sync(path: Path, url: str) -> subprocess.CompletedProcess[str]:
    return spawn("sync", "--db", path, **_environment(url))


@contextmanager
def _syncing(path: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """Start `waxlocal sync`; killed at the end of the block if it still runs."""
    with subprocess.Popen(
        [*PYTHON, "sync", "--db", str(path)],
        env=environment(**_environment(url)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
