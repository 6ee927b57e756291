"""An upload that is told to stop, and goes on later."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import (
    QUICK,
    ask,
    record,
    uploading,
)

pytestmark = pytest.mark.usefixtures("recorder")

STATES = "SELECT state, count(*) FROM deliveries GROUP BY state"


@pytest.mark.parametrize("bulk", [False, True])
def test_an_answer_that_comes_after_the_stop(db_path: Path, bulk: bool) -> None:
    """It is not waited for; the same uploader goes on later, and the request goes again."""
    record(5)
    stop = threading.Event()
    sent = 0

    def at(point: str) -> None:
        nonlocal sent
        sent += point == "sending"
        if sent > bulk:  # before batches go, the server is asked whether it takes them
            stop.set()

    late = Rule("late", path="/bulk/$" if bulk else "/start/$", seconds=0.5, times=1)
    pace = QUICK._replace(stop=0.05)
    with (
        fault_server((late,), bulk=bulk) as server,
        uploading(db_path, server.url, at=at, pace=pace, bulk=bulk, concurrency=1) as uploader,
    ):
        uploader.run(stop)
        assert ask(db_path, STATES) == [("pending", 5)]
        server.wait_for(answered=1 + bulk)
        uploader.run(threading.Event())
        audit(server).assert_sound()
    assert ask(db_path, STATES) == [("delivered", 5)]
