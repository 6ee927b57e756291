"""Recorded offline, delivered by the daemon to a hub and from there to another: all the same."""

from __future__ import annotations

import time
from asyncio import CancelledError
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tools.cli import spawn
from tests.tools.daemon import KEY, running
from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_rows import rows
from tests.tools.sync import ask
from tests.tools.web import spawned
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder

RUNS = 16
# What is the same wherever a run has got to.
SAME = (
    "run_id",
    "workflow_id",
    "agent_name",
    "session_id",
    "user_id",
    "parent_workflow_id",
    "root_workflow_id",
    "trace_id",
    "status",
    "started_at",
    "completed_at",
    "duration",
    "error",
    "error_type",
    "metadata",
    "tags",
    "inputs",
    "result",
)


def converse() -> None:
    """Record two sessions: nested runs, tags, metadata, each kind of record, each end."""
    for number in range(RUNS // 4):
        with WaxellContext(
            "desk", session_id=f"s{number % 2}", user_id="ada", inputs={"message": "Grüße 👋"}
        ) as outer:
            outer.set_tag("channel", "web")
            outer.set_metadata("turn_number", number)
            outer.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=20, cost=0.001)
            outer.record_tool_call(name="search", input={"q": "tide"}, output={"hits": 3})
            with WaxellContext("helper") as inner:
                inner.record_llm_call(model="gpt-4o-mini", tokens_in=10, tokens_out=5, cost=0.0001)
                inner.record_score("helpful", True, "boolean")
            outer.set_result({"response": "At 14:20."})
        with suppress(TimeoutError), WaxellContext("desk", session_id="s1") as failing:
            failing.record_step("plan", {"n": number})
            raise TimeoutError("no tide table")
        with suppress(CancelledError), WaxellContext("desk", session_id="s1"):
            raise CancelledError


def wait_for_runs(path: Path) -> None:
    """Wait until all runs have ended in a file."""
    ended = "SELECT count(*) FROM runs WHERE status <> 'running'"
    end = time.monotonic() + PATIENCE_S
    while not path.exists() or ask(path, ended) != [(RUNS,)]:
        assert time.monotonic() < end, "the runs have not arrived"
        time.sleep(0.05)


def wait_for_delivery(path: Path) -> None:
    """Wait until all runs of a file are acknowledged."""
    delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered'"
    end = time.monotonic() + PATIENCE_S
    while ask(path, delivered) != [(RUNS,)]:
        assert time.monotonic() < end, "the runs are not delivered"
        time.sleep(0.05)


@pytest.mark.parametrize("bulk", ["1", "0"])
def test_a_device_a_hub_and_another_hub_hold_the_same(
    tmp_path: Path, db_path: Path, recorder: Recorder, bulk: str
) -> None:
    """Ids, times, tags and totals survive both ways of delivery; `sync verify` finds nothing."""
    converse()
    recorder.close()
    hub, far = tmp_path / "hub.db", tmp_path / "far.db"
    with spawned(db=hub) as (_, near_url), spawned(db=far) as (_, far_url):
        with running(db_path, near_url, WAXLOCAL_SYNC_BULK=bulk):
            wait_for_runs(hub)
            wait_for_delivery(db_path)
        with running(hub, far_url, WAXLOCAL_SYNC_BULK=bulk):
            wait_for_runs(far)
            wait_for_delivery(hub)
        for path, url in ((db_path, near_url), (hub, far_url)):
            server = {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY}
            done = spawn("--db", path, "sync", "verify", HOME=str(tmp_path), **server)
            assert (done.returncode, done.stderr) == (0, "")
            assert "2 sessions compared; 0 missing, 0 doubled, 0 different" in done.stdout
    here, there = rows(db_path, "runs"), rows(far, "runs")
    for table in (here, there):
        table.sort(key=lambda run: str(run["run_id"]))
    assert [[run[name] for name in SAME] for run in there] == [
        [run[name] for name in SAME] for run in here
    ]
    totals = "SELECT session_id, run_count, total_tokens, round(total_cost, 9) FROM sessions"
    assert ask(far, totals) == ask(db_path, totals)


def test_the_origin_of_a_run_is_kept(tmp_path: Path, db_path: Path, recorder: Recorder) -> None:
    """The process that recorded it is known two servers further on."""
    converse()
    recorder.close()
    hub = tmp_path / "hub.db"
    with spawned(db=hub) as (_, url), running(db_path, url):
        wait_for_runs(hub)
    assert rows(hub, "runs")[0]["process_id"] == rows(db_path, "runs")[0]["process_id"]
    (kept,) = ask(hub, "SELECT host, pid, program FROM processes")
    assert [kept] == ask(db_path, "SELECT host, pid, program FROM processes")
