"""What counts as one failure of a server, and how long the upload waits after it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.movable_clock import MovableClock
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
def test_all_that_was_on_its_way_is_one_failure(
    db_path: Path, closed: str, concurrency: int
) -> None:
    """However many connections are refused at once, and in how many steps that is noted."""
    record(RUNS)
    with uploading(
        db_path, closed, pace=ENDLESS, random=lambda: 0.5, concurrency=concurrency
    ) as uploader:
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
