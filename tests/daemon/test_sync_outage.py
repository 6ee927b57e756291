"""A long outage costs a few requests and little memory, and nothing is lost by it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.crash.files import environment
from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.movable_clock import MovableClock
from tests.tools.sync import ask, uploading
from waxlocal.storage.connection import open_writer
from waxlocal_daemon.backoff import CAP_S

PENDING = 100_000
HOURS = 24
RESTARTS = 3
MOST_BYTES = 100 * 1024 * 1024
# Of the runs, as many are delivered afterwards.
SAMPLE = 300
CONCURRENCY = 48
# Spans of 1, 2, 4, ... 256 seconds come before those of the cap.
GROWING = 9

RUN_ID = "01942000-0000-7000-8000-%012x"
_RUNS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO runs (run_id, agent_name, workflow_name, session_id, trace_id, interaction_mode, status,
  started_at, completed_at, duration, inputs, result)
SELECT printf('01942000-0000-7000-8000-%012x', i), 'chatbot', 'default', printf('sess_%d', i / 10),
  printf('%032x', i), 'interactive', 'success', '2026-01-31T09:30:00.000000Z',
  '2026-01-31T09:30:01.000000Z', 1.0, printf('{"n":%d}', i), '{}'
FROM n
"""
_CALLS = """
INSERT INTO llm_calls (run_id, position, recorded_at, model, provider, task, tokens_in, tokens_out,
  cached_tokens, cache_write_tokens, cost, cost_source, is_streaming, status)
SELECT run_id, 1, started_at, 'gpt-4o', '', '', 100, 50, 0, 0, 0.001, 'call', 0, 'ok' FROM runs
"""


@pytest.fixture
def backlog(db_path: Path) -> Path:
    """Return a file with 100,000 runs that nobody has uploaded."""
    with closing(open_writer(db_path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_RUNS, (PENDING,))
        connection.execute(_CALLS)
        connection.execute("COMMIT")
    return db_path


@pytest.mark.parametrize("kind", ["single", "bulk"])
def test_a_day_without_a_server(backlog: Path, kind: str) -> None:
    """100,000 runs wait: one probe per span, little memory; then they go, the oldest first."""
    with fault_server((Rule("reset-before-answer"),), bulk=kind == "bulk") as server:
        told = _go_through(backlog, server, kind)
        arrived = server.counts()["arrivals"]
        _assert_patient(told["sent"])
        assert arrived == len(told["sent"])
        assert told["peak"] < MOST_BYTES
        assert ask(backlog, "SELECT state, count(*) FROM deliveries GROUP BY 1") == [
            ("pending", PENDING)
        ]
        server.use_script(())
        _deliver_some(backlog, server, time.time_ns() + (HOURS + 1) * 3_600 * 10**9)
        seen = audit(server)
        order = [run["local_id"] for run in server.runs()]
    assert len(order) >= SAMPLE
    # The first is the one that asked whether the server is there again.
    assert order[1:] == sorted(order[1:])
    assert set(order[1:]) <= {RUN_ID % number for number in range(1, len(order) + 1)}
    assert not seen.doubled
    assert not seen.two_bodies


def _go_through(path: Path, server: FaultServer, kind: str) -> dict[str, Any]:
    arguments = [str(path), server.url, kind, str(HOURS), str(RESTARTS)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.outage", *arguments],
        env=environment(path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _assert_patient(sent: list[float]) -> None:
    """Assert that there is one probe in each span, over the restarts, too.

    What left before the outage was known is none.
    """
    probes = [at for at in sent if at > sent[0]]
    assert len(sent) - len(probes) <= CONCURRENCY
    assert HOURS * 3600 / CAP_S * 0.9 < len(probes) <= GROWING + HOURS * 3600 / CAP_S + 1
    later = [at for at in probes if at > 2.0**GROWING]
    assert all(second - first < 2 * CAP_S for first, second in pairwise(later))
    assert all(
        third - first >= CAP_S - 1e-3 for first, third in zip(later, later[2:], strict=False)
    )


def _deliver_some(path: Path, server: FaultServer, now_ns: int) -> None:
    stop = threading.Event()

    def at(point: str) -> None:
        if point == "settled" and server.counts()["completed"] >= SAMPLE:
            stop.set()

    clock = MovableClock(now_ns)
    with uploading(path, server.url, clock=clock, at=at, concurrency=1) as uploader:
        uploader.run(stop)
