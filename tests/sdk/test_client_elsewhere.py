"""Records for a run that the file does not know: kept under that id, and shown as what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.cli import invoke
from tests.tools.sdk_rows import only, rows
from waxlocal import WaxellObserveClient
from waxlocal.recording.recorder import Recorder
from waxlocal.sdk import scope

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


def test_an_empty_id_is_no_run(db_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It names nothing that a record could be kept under; that is said once."""
    client.start_run_sync(agent_name="agent")
    client.record_steps_sync(run_id="", steps=["s"])
    client.record_steps_sync(run_id="", steps=["s"])
    assert [run["agent_name"] for run in rows(db_path, "runs")] == ["agent"]
    assert rows(db_path, "steps") == []
    assert sum("empty run_id" in record.getMessage() for record in caplog.records) == 1
