"""Records for a run that the file does not know: kept under that id, and shown as what they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.cli import invoke
from tests.tools.sdk_rows import only, rows
from tests.tools.sync import change
from waxlocal import WaxellObserveClient
from waxlocal.clock import utc_ns
from waxlocal.recording import backlog_thread
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.recording.statements import BEGIN_RUN
from waxlocal.sdk import scope
from waxlocal.settings.config import Settings

pytestmark = pytest.mark.usefixtures("recorder")

client = WaxellObserveClient()
# A name that no other run has, and one as another file of waxlocal gives it.
IDS = ["nope", "019a8e40-1111-7222-8333-444455556666"]
Record = Callable[[str], Any]
RECORDS: dict[str, tuple[str, Record]] = {
    "llm_calls": ("llm_calls", lambda i: client.record_llm_calls_sync(run_id=i, calls=[{}])),
    "llm_calls async": ("llm_calls", lambda i: asyncio.run(client.record_llm_calls(i, [{}]))),
    "steps": ("steps", lambda i: client.record_steps_sync(run_id=i, steps=["s"])),
    "spans": ("spans", lambda i: client.record_spans_sync(run_id=i, spans=[{"name": "s"}])),
    "spans async": ("spans", lambda i: asyncio.run(client.record_spans(i, [{"name": "s"}]))),
    "scores": (
        "scores",
        lambda i: client.record_scores_sync(run_id=i, scores=[{"name": "s", "value": 1}]),
    ),
    "events": (
        "events",
        lambda i: client.record_events_sync(events=[{"event": "e", "workflow_id": f"wf_{i}"}]),
    ),
    "partial": ("events", lambda i: client.publish_partial_output(run_id=i, partial="p")),
    "memory": (
        "events",
        lambda i: client.write_episodic_memory_sync(
            run_id=i, slot_name="s", scope_key="k", data={"d": 1}
        ),
    ),
    "governance": (
        "events",
        lambda i: client.record_governance_decisions_sync(
            agent_name="a", surface="s", decisions=[{}], workflow_id=f"wf_{i}"
        ),
    ),
}


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process does that has seen no run and said nothing."""
    monkeypatch.setattr(WaxellObserveClient, "_open", {})
    monkeypatch.setattr(scope, "_told", False)


@pytest.mark.parametrize("run_id", IDS)
@pytest.mark.parametrize("name", RECORDS)
def test_records_are_kept_under_a_run_of_that_id(db_path: Path, name: str, run_id: str) -> None:
    """No orphan: the run is there, says where it was started, and holds what was recorded."""
    table, record = RECORDS[name]
    record(run_id)
    record(run_id)
    run = only(db_path, "runs")
    assert (run["run_id"], run["status"]) == (run_id, "running")
    assert (run["agent_name"], run["metadata"]) == (
        "(started elsewhere)",
        {"started_elsewhere": True},
    )
    assert len(run["trace_id"]) == 32
    assert int(run["trace_id"], 16) > 0
    found = rows(db_path, table)
    assert [row["run_id"] for row in found] == [run_id, run_id]
    assert [row["position"] for row in found] == [1, 2]


def test_it_can_be_completed_and_goes_on_in_another_process(
    db_path: Path, recorder: Recorder
) -> None:
    """Its end, its result and late records are those of any run; the next process knows it."""
    client.record_steps_sync(run_id="nope", steps=["one"])
    WaxellObserveClient._open.clear()  # as a process begins that has not seen the run
    client.record_steps_sync(run_id="nope", steps=["two"])
    client.complete_run_sync(run_id="nope", result={"r": 1})
    client.record_scores_sync(run_id="nope", scores=[{"name": "late", "value": 1}])
    run = only(db_path, "runs")
    assert (run["status"], run["result"]) == ("success", {"r": 1})
    assert run["metadata"] == {"started_elsewhere": True}
    assert [step["position"] for step in rows(db_path, "steps")] == [1, 2]
    assert only(db_path, "scores")["run_id"] == "nope"


def test_completing_an_unknown_run_keeps_its_end(db_path: Path) -> None:
    """The end alone is a record, too."""
    done = client.complete_run_sync(run_id="nope", status="error", error="e")
    assert done.run_id == "nope"
    run = only(db_path, "runs")
    assert (run["status"], run["error"]) == ("error", "e")


def test_it_is_shown(db_path: Path) -> None:
    """`waxlocal show` finds it by its id and says that it was started elsewhere."""
    client.record_llm_calls_sync(run_id="nope", calls=[{"model": "gpt-4o", "tokens_in": 1}])
    shown = invoke("show", "nope", db=db_path).output
    assert "(started elsewhere)" in shown
    assert "gpt-4o" in shown


def test_known_runs_are_left_as_they_are(db_path: Path) -> None:
    """A run of this file keeps its name and its metadata, also when it is taken up again."""
    run = client.start_run_sync(agent_name="agent", metadata={"m": 1})
    WaxellObserveClient._open.clear()
    client.record_steps_sync(run_id=run.run_id, steps=["s"])
    found = only(db_path, "runs")
    assert (found["agent_name"], found["metadata"]) == ("agent", {"m": 1})


START: dict[str, Any] = {
    "agent_name": "helper",
    "session_id": "sess_1",
    "user_id": "ada",
    "user_group": "staff",
    "inputs": {"q": 1},
    "metadata": {"m": 1},
}
TOTALS = (
    "SELECT session_id, user_id, agents, run_count, open_runs, failed_runs, llm_calls,"
    " priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_cost, first_run_at"
    " FROM sessions"
)


def start_late(path: Path, settings: Settings, records: Callable[[str], object]) -> str:
    """Have a run's start wait for a locked file, record elsewhere meanwhile, then let it come."""
    waiting, other = (Recorder(settings._replace(db=path, wait=0.05)) for _ in range(2))
    before = use_recorder(other)
    client.record_steps_sync(run_id="another", steps=["s"])  # so that the file is there
    use_recorder(waiting)
    with closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        run_id = client.start_run_sync(**START).run_id
        assert waiting.health().in_memory == 1
        locking.execute("ROLLBACK")
    WaxellObserveClient._open.clear()  # as another process that has only been told the id
    use_recorder(other)
    records(run_id)
    waiting.close()
    assert waiting.health().lost == 0
    use_recorder(before)
    other.close()
    return run_id


@pytest.fixture
def no_drainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what waits in memory until the recorder is closed."""
    monkeypatch.setattr(backlog_thread, "BACKLOG_RETRY_S", 3_600.0)


@pytest.mark.usefixtures("no_drainer")
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
def test_a_start_that_comes_late_takes_over(
    tmp_path: Path, recorder: Recorder, ended: bool
) -> None:
    """Agent, start, session and all else become those of the start; nothing is lost."""

    def records(run_id: str) -> None:
        calls = [{"model": "gpt-4o", "tokens_in": 10, "tokens_out": 5, "cost": 0.5}]
        client.record_llm_calls_sync(run_id=run_id, calls=[*calls, *calls])
        client.record_steps_sync(run_id=run_id, steps=["s"])
        if ended:
            client.complete_run_sync(run_id=run_id, result={"r": 1}, status="error")

    path = tmp_path / "late.db"
    run_id = start_late(path, recorder.settings, records)
    (run,) = (row for row in rows(path, "runs") if row["run_id"] == run_id)
    assert {name: run[name] for name in START} == START
    assert run["process_id"] is not None
    assert (run["status"], run["result"]) == (("error", {"r": 1}) if ended else ("running", None))
    assert (run["revision"] is not None) == ended
    if ended:
        lasted = utc_ns(str(run["completed_at"])) - utc_ns(str(run["started_at"]))
        assert run["duration"] == pytest.approx(lasted / 1e9, abs=0.005)
    assert [step["position"] for step in rows(path, "steps") if step["run_id"] == run_id] == [3]
    with closing(sqlite3.connect(path)) as connection:
        started = run["started_at"]
        counts = (1, 0 if ended else 1, int(ended), 2, 2, 20, 10, 30, 30, 1.0, started)
        assert connection.execute(TOTALS).fetchall() == [("sess_1", "ada", '["helper"]', *counts)]


@pytest.mark.usefixtures("no_drainer")
def test_the_end_leaves_what_a_late_start_has_said(tmp_path: Path, recorder: Recorder) -> None:
    """Also where the one that ends the run began to record before the start came."""
    path = tmp_path / "late.db"
    run_id = start_late(
        path,
        recorder.settings,
        lambda run_id: client.record_steps_sync(run_id=run_id, steps=["s"]),
    )
    with closing(Recorder(recorder.settings._replace(db=path))) as again:
        before = use_recorder(again)
        client._open[run_id]._recorder = again
        client.complete_run_sync(run_id=run_id, result={"r": 1})
        use_recorder(before)
    (run,) = (row for row in rows(path, "runs") if row["run_id"] == run_id)
    assert (run["metadata"], run["result"], run["status"]) == ({"m": 1}, {"r": 1}, "success")


def test_a_run_of_the_same_id_is_left_alone(db_path: Path, recorder: Recorder) -> None:
    """Only a run whose start is missing is taken over."""
    run_id = client.start_run_sync(**START).run_id
    values = (run_id, "thief", "w", "s2", None, None, None, None, "0" * 32, "autonomous")
    recorder.store.write(BEGIN_RUN, (*values, None, "2026-01-31T09:30:00.000000Z", None, None))
    assert only(db_path, "runs")["agent_name"] == "helper"


@pytest.mark.parametrize("start", ["yesterday", "", b"\xff"])
def test_a_run_without_a_valid_start_goes_on(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, start: object
) -> None:
    """Any program may have written its row; it counts as begun where this process goes on."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    change(db_path, "UPDATE runs SET started_at = ?", start)
    monkeypatch.setattr(WaxellObserveClient, "_open", {})
    client.record_steps_sync(run_id=run_id, steps=["s"])
    client.complete_run_sync(run_id=run_id, result={"r": 1})
    run = only(db_path, "runs")
    assert (run["status"], run["result"], run["started_at"]) == ("success", {"r": 1}, start)
    assert 0 <= run["duration"] < 60
    assert [step["step_name"] for step in rows(db_path, "steps")] == ["s"]


def test_an_empty_id_is_no_run(db_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It names nothing that a record could be kept under; that is said once."""
    client.start_run_sync(agent_name="agent")
    client.record_steps_sync(run_id="", steps=["s"])
    client.record_steps_sync(run_id="", steps=["s"])
    assert [run["agent_name"] for run in rows(db_path, "runs")] == ["agent"]
    assert rows(db_path, "steps") == []
    assert sum("empty run_id" in record.getMessage() for record in caplog.records) == 1
