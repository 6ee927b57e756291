"""The bodies of a run, beyond what the captures of the original show."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tests.tools.wire_programs_more  # noqa: F401 (adds its programs)
import waxlocal
from tests.tools.builders import Builder, moment, recording
from tests.tools.wire_bodies import items_of, loaded, strict_json
from tests.tools.wire_programs import PROGRAMS
from waxlocal.cli.demo_recording import record_demo
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.requests import complete_body, recorded, stage_body, start_body

File = tuple[Builder, sqlite3.Connection]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    """Return a builder and a reading connection of a fresh file."""
    with recording(tmp_path) as opened:
        yield opened


def started(run: RecordedRun) -> dict[str, Any]:
    """Return the body of a start without lineage."""
    return start_body(run, parent_workflow_id=None, root_workflow_id=None)


# -- start ----------------------------------------------------------------------------------------


def test_start_tells_what_the_api_has_no_place_for(file: File) -> None:
    """Id, times, tags and device travel beside the program's own metadata."""
    build, conn = file
    run_id = build.run(
        process=build.process(alive=True),
        parent="local",
        metadata={"m": 1},
        tags={"t": "v"},
        seconds=2.5,
    )
    run = loaded(conn, run_id)
    ids = {"parent_workflow_id": "wf_there", "root_workflow_id": "wf_root"}
    body = start_body(run, **ids, exact=False)
    assert body["parent_workflow_id"] == "wf_there"
    assert body["root_workflow_id"] == "wf_root"
    assert body["trace_id"] == run_id.replace("-", "")
    assert run.process is not None
    assert body["metadata"] == {
        "m": 1,
        "waxlocal": {
            "run_id": run_id,
            "started_at": moment(0),
            "completed_at": moment(2.5),
            "duration": 2.5,
            "parent_workflow_id": "wf_local",
            "tags": {"t": "v"},
            "device": run.process["host"],
            "program": "app.py",
            "version": "1.0",
        },
    }
    own = start_body(run, **ids)["metadata"]["waxlocal"]
    assert own["process"].keys() == run.process.keys() - {"host", "program", "waxlocal"}
    assert own["run"] == {"root_workflow_id": "wf_local"}


def test_start_of_an_open_run_says_nothing_of_its_end(file: File) -> None:
    """There is no end yet, and nothing stands in its place."""
    build, conn = file
    body = started(loaded(conn, build.run(seconds=None)))
    assert list(body["metadata"]["waxlocal"]) == ["run_id", "started_at", "run"]
    assert list(body["metadata"]["waxlocal"]["run"]) == ["root_workflow_id"]


# -- items ----------------------------------------------------------------------------------------


def test_items_know_their_records(file: File) -> None:
    """An item's position is that of its record in the file; the numbers inside count otherwise."""
    build, conn = file
    run_id = build.run()
    build.score(run_id, "x", numeric_value=1.0)
    build.llm(run_id)
    build.event(run_id, "stop_requested", data={})
    build.step(run_id, "s")
    build.span(run_id, "tool", name="t", attributes={"tool_type": "function"})
    items = items_of(conn, run_id)
    assert {stage: [item.position for item in found] for stage, found in items.items()} == {
        "llm-calls": [2],
        "steps": [4, 5],
        "spans": [0, 2, 4, 5],
        "scores": [1],
    }
    assert [item.body["position"] for item in items["spans"]] == [0, 1, 2, 3]
    assert [item.body["position"] for item in items["steps"]] == [2, 3]


def test_children_bear_the_ids_of_the_server(file: File) -> None:
    """A child's span names the run as the server does; one that it does not know, as the file."""
    build, conn = file
    outer = build.run(seconds=9.0)
    first = build.run(parent=outer, at=1.0)
    second = build.run(parent=outer, at=3.0)
    items = items_of(conn, outer, **{first: "there"})
    spans = items["spans"][1:]
    assert [span.body["attributes"]["child_run_id"] for span in spans] == ["there", second]
    assert [span.position for span in spans] == [-2, -3]
    assert [step.position for step in items["steps"]] == [-2, -3]


def test_events_bear_the_workflow_of_the_server(file: File) -> None:
    """Events name the run by the workflow id that the server gave it, where that is known."""
    build, conn = file
    run_id = build.run()
    local = f"wf_{run_id}"
    build.event(run_id, "approval_requested", data={"action_type": "a", "approvers": []})
    build.event(run_id, "mine", data={"event": "mine", "workflow_id": local, "k": 1})
    build.event(run_id, "mine", data={"event": "mine", "workflow_id": "wf_other"})
    sent = [item.body for item in items_of(conn, run_id, **{local: "wf_there"})["events"]]
    assert [event["workflow_id"] for event in sent] == ["wf_there", "wf_there", "wf_other"]
    assert sent[1] == {"event": "mine", "workflow_id": "wf_there", "k": 1}
    (first, *_) = items_of(conn, run_id)["events"]
    assert first.body["workflow_id"] == local


def test_a_child_stands_where_it_ran(file: File) -> None:
    """Opened inside a tool's span and before a step: numbered between the two."""
    build, conn = file
    outer = build.run(seconds=9.0)
    told = {"tool_type": "function"}
    build.span(outer, "tool", at=1.0, seconds=3.0005, name="around", attributes=told)
    build.run(agent="inner", parent=outer, at=2.0, seconds=1.0)
    build.span(outer, "tool", at=3.0, seconds=2.0, name="after", attributes=told)
    build.step(outer, "last", at=6.0)
    names = [(item.body["position"], item.body["name"]) for item in items_of(conn, outer)["spans"]]
    assert names[1:] == [(1, "around"), (3, "inner.default"), (4, "after"), (5, "last")]


def test_a_child_that_outlives_the_run_is_not_among_its_spans(file: File) -> None:
    """Of a child that ended later, or not at all, only the step of opening it goes."""
    build, conn = file
    outer = build.run(seconds=2.0)
    build.run(agent="later", parent=outer, at=1.0, seconds=5.0)
    build.run(agent="open", parent=outer, at=1.5, seconds=None)
    items = items_of(conn, outer)
    assert [item.body["step_name"] for item in items["steps"]] == [
        "delegate:later",
        "delegate:open",
    ]
    assert len(items["spans"]) == 1
    state = complete_body(loaded(conn, outer))["conversation_state"]["delegation_data"]
    assert state["concurrent_delegates"] == 2


def test_a_span_lies_inside_another_by_its_number(file: File) -> None:
    """What a span lies inside of is named by the number sent, not by the position in the file."""
    build, conn = file
    run_id = build.run()
    build.score(run_id, "x", numeric_value=1.0)
    outer = build.span(run_id, "custom", name="outer")
    build.span(run_id, "custom", name="inner", inside=outer)
    build.span(run_id, "custom", name="lost", inside=99)
    spans = [item.body for item in items_of(conn, run_id)["spans"]]
    assert [span["parent_position"] for span in spans] == [None, None, 1, None]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"status": "success"}, ["chatbot.default", "s"]),
        ({"status": "blocked", "error_type": "PolicyViolationError"}, ["chatbot.default", "s"]),
        ({"status": "blocked"}, ["s"]),
        ({"status": "interrupted"}, ["s"]),
        ({"seconds": None}, ["s"]),
    ],
)
def test_which_runs_send_a_span_of_their_own(
    columns: dict[str, Any], names: list[str], file: File
) -> None:
    """A run that ended by itself does: not one that was interrupted, refused, or is still open."""
    build, conn = file
    run_id = build.run(**columns)
    build.step(run_id, "s")
    assert [item.body["name"] for item in items_of(conn, run_id)["spans"]] == names


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"error_type": "CancelledError"}, "error"),
        ({"error": "the user pressed stop"}, "error"),
        ({}, "success"),
    ],
)
def test_a_cancelled_run_is_sent_as_the_sdk_sends_it(
    said: dict[str, str], status: str, file: File
) -> None:
    """What was raised is an error; a generator of which nobody wanted the rest is a success."""
    build, conn = file
    run_id = build.run(status="cancelled", **said)
    body = complete_body(loaded(conn, run_id))
    assert (body["status"], body["waxlocal"]["run"]["status"]) == (status, "cancelled")
    (span,) = items_of(conn, run_id)["spans"]
    assert span.body["status"] == {"error": "error", "success": "ok"}[status]


def test_a_late_record_changes_nothing_that_was_made_before(file: File) -> None:
    """What comes later comes behind, with the next number: bodies can be made piece by piece."""
    build, conn = file
    run_id = build.run(seconds=9.0)
    build.llm(run_id, at=1.0)
    build.run(agent="inner", parent=run_id, at=2.0, seconds=1.0)
    build.event(run_id, "grounding", data={"grounding_scores": [0.5]})
    build.step(run_id, "s", at=5.0)
    before = items_of(conn, run_id)
    build.score(run_id, "late", numeric_value=1.0)
    build.llm(run_id, at=6.0)
    build.step(run_id, "t", at=7.0)
    after = items_of(conn, run_id)
    for stage, items in before.items():
        assert after[stage][: len(items)] == items
    assert [len(after[stage]) - len(before[stage]) for stage in before] == [1, 1, 2, 1]


def test_the_machine_is_named_only_if_told_to(file: File) -> None:
    """Its id goes with LLM calls and steps, as in the original, and only when it is given."""
    build, conn = file
    run_id = build.run()
    build.llm(run_id)
    build.step(run_id, "s")
    build.score(run_id, "x", numeric_value=1.0)
    run, items = loaded(conn, run_id), items_of(conn, run_id)
    for stage, named in (("llm-calls", True), ("steps", True), ("spans", False), ("scores", False)):
        body = stage_body(stage, items[stage], run=run, hardware_uuid="id")
        assert ("hardware_uuid" in body) is named
        assert "hardware_uuid" not in stage_body(stage, items[stage], run=run)


# -- large, and whole files ------------------------------------------------------------------------


def calls_for(run: RecordedRun) -> int:
    """Return how many calls of functions it takes to make the items of a run and its end."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        recorded(run, [], {})
        complete_body(run)
    finally:
        sys.setprofile(None)
    return count


def large_run(build: Builder, conn: sqlite3.Connection, size: int) -> RecordedRun:
    """Return a run with that many records of each kind."""
    run_id = build.run()
    build.conn.execute("BEGIN")
    for number in range(size):
        build.llm(run_id)
        build.step(run_id, "s")
        build.span(run_id, "tool", name=f"t{number}", attributes={"tool_type": "function"})
        build.span(run_id, "io", name="user_message", attributes={"io.direction": "inbound"})
        build.event(run_id, "grounding", data={"citations": ["c"]})
        build.event(run_id, "retrieval_result", data={"relevance_score": 1.0})
        build.score(run_id, "x", numeric_value=1.0)
    build.conn.execute("COMMIT")
    return loaded(conn, run_id)


def test_the_work_grows_with_the_records_and_no_faster(file: File) -> None:
    """Twice the records take twice the calls, within a tenth."""
    small, large = (calls_for(large_run(*file, size)) for size in (400, 800))
    assert large < 2.1 * small


def test_a_large_run_tells_its_state_once(file: File) -> None:
    """Where it would be repeated in many requests, the state goes with the end alone."""
    small, large = (large_run(*file, size) for size in (10, 1_500))
    for run, is_repeated in ((small, True), (large, False)):
        steps = recorded(run, [], {}).items["steps"][:10]
        assert ("conversation_state" in stage_body("steps", steps, run=run)) is is_repeated
        assert complete_body(run)["conversation_state"]["user_turns"] in (10, 1_500)


def test_without_content_nothing_said_leaves(tmp_path: Path) -> None:
    """A file that was recorded without content makes bodies without it, of all kinds of records."""
    path = tmp_path / "waxlocal.db"
    recorder = Recorder(Settings(db=path, capture_content=False))
    before = use_recorder(recorder)
    for name in ("s10_records", "x01_spans", "x02_memory", "x03_state", "x05_llm"):
        PROGRAMS[name](waxlocal)
    use_recorder(before)
    recorder.close()
    text = strict_json(path)
    assert '"name": "search"' in text
    for secret in ("hits", "abcdefghij", "because", "hmm", "txt", "http://x"):
        assert secret not in text


def test_the_demonstration_can_be_sent(tmp_path: Path) -> None:
    """Every run of the demonstration makes bodies; its runs inside runs are told of."""
    path = tmp_path / "demo.db"
    record_demo(path)
    text = strict_json(path)
    assert '"step_name": "delegate:fact-finder"' in text
    assert '"name": "fact-finder.waxlocal-demo"' in text
