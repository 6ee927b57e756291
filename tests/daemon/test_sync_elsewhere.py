"""Runs of which the file had only the id, with ids that other programs made, reach every server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server import fault_server
from tests.tools.sync import PATIENT, ask, change, settings_for, upload, uploading
from tests.tools.web import serving, url_of
from waxlocal import WaxellObserveClient
from waxlocal.clock import utc_text
from waxlocal.delivery.requeue import requeue
from waxlocal.delivery.status import list_parked
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.statements import BEGIN_RUN
from waxlocal.records import RECORD_TABLES
from waxlocal.storage.connection import writer
from waxlocal_daemon.dry_run import previews
from waxlocal_daemon.verify import verify

client = WaxellObserveClient()
# As other programs make them, and one of waxlocal itself.
IDS = ["nope", "run:7_b.c", "x" * 200, "019a8e40-1111-7222-8333-444455556666"]
# What fits into no address: another waxlocal refuses them.
ODD_IDS = ["my run/\u00e4 b", "y" * 300, "tab\tnew\nline", "nul\0x"]
WAYS = pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
RUNS = (
    "SELECT run_id, agent_name, workflow_name, session_id, user_id, process_id, status, started_at,"
    " completed_at, duration, metadata, inputs, result, revision FROM runs ORDER BY run_id"
)


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """Begin as a process does that has seen no run."""
    monkeypatch.setattr(WaxellObserveClient, "_open", {})


def record(run_id: str, *, end: bool = True) -> None:
    """Record one of each kind, and the end, for a run that was started elsewhere."""
    calls = [{"model": "gpt-4o", "tokens_in": 10, "tokens_out": 5, "cost": 0.5}]
    client.record_llm_calls_sync(run_id=run_id, calls=calls)
    client.record_steps_sync(run_id=run_id, steps=["s"])
    client.record_spans_sync(run_id=run_id, spans=[{"name": "t", "kind": "tool"}])
    client.record_scores_sync(run_id=run_id, scores=[{"name": "q", "value": 1}])
    client.publish_partial_output(run_id=run_id, partial="p")
    if end:
        client.complete_run_sync(run_id=run_id, result={"r": 1})


def begin(recorder: Recorder, run_id: str) -> None:
    """Let the start of a run come, later than its records."""
    about = ("helper", "w", "sess_1", "ada", None, None, None, "1" * 32, "interactive")
    at = utc_text(recorder.clock.time_ns() - 5_000_000_000)
    row = (run_id, *about, recorder.store.process_id, at, '{"m":1}', '{"q":1}')
    recorder.store.write(BEGIN_RUN, row)


def contents(path: Path) -> list[Any]:
    """Return all that is the same in a file that has the same runs."""
    tables = (table.name for table in RECORD_TABLES)
    sessions = "SELECT session_id, run_count, open_runs, agents, total_tokens FROM sessions"
    found = [ask(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    return [ask(path, RUNS), ask(path, sessions), *found]


@WAYS
def test_they_arrive_at_a_hub_as_they_are(db_path: Path, bulk: bool) -> None:
    """Also what is recorded later."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as server:
        for run_id in IDS:
            record(run_id)
        upload(db_path, url_of(server), bulk=bulk)
        assert contents(hub) == contents(db_path)
        for run_id in IDS:
            client.record_scores_sync(run_id=run_id, scores=[{"name": "late", "value": 0}])
        upload(db_path, url_of(server), bulk=bulk)
        assert contents(hub) == contents(db_path)


@WAYS
@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
def test_a_start_that_comes_after_the_upload_arrives(
    db_path: Path, recorder: Recorder, bulk: bool, end: bool
) -> None:
    """Agent, session and start take the place of what stood for them, two hubs further on."""
    hub, far = db_path.with_name("hub.db"), db_path.with_name("far.db")
    with serving(hub) as server, serving(far) as far_server:

        def send() -> None:
            upload(db_path, url_of(server), bulk=bulk, open_after=0.0)
            upload(hub, url_of(far_server), bulk=bulk, open_after=0.0)

        for run_id in IDS:
            record(run_id, end=end)
        send()
        assert ask(far, "SELECT DISTINCT agent_name FROM runs") == [("(started elsewhere)",)]
        for run_id in IDS:
            begin(recorder, run_id)
            if not end:
                client.complete_run_sync(run_id=run_id, result={"r": 1})
        send()
        assert contents(far) == contents(db_path)
        assert ask(far, "SELECT agents, run_count FROM sessions") == [('["helper"]', len(IDS))]
        assert verify(db_path, settings_for(url_of(server), **PATIENT)).agrees


@WAYS
@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
def test_a_start_that_is_sent_anew_takes_over_at_the_hub(
    db_path: Path, recorder: Recorder, bulk: bool, end: bool
) -> None:
    """Where the device has lost what it knew of its upload, too."""
    hub = db_path.with_name("hub.db")
    with serving(hub) as server:
        record(IDS[0], end=end)
        upload(db_path, url_of(server), bulk=bulk, open_after=0.0)
        change(db_path, "DELETE FROM requests")
        change(db_path, "UPDATE deliveries SET state = 'pending', remote_run_id = NULL")
        begin(recorder, IDS[0])
        if not end:
            client.complete_run_sync(run_id=IDS[0], result={"r": 1})
        upload(db_path, url_of(server), bulk=bulk)
    assert ask(hub, "SELECT agent_name FROM runs") == [("helper",)]
    assert contents(hub) == contents(db_path)


@WAYS
def test_a_server_of_another_kind_takes_any_id(db_path: Path, bulk: bool) -> None:
    """It gives ids of its own; the keys are fit for a header whatever the ids are."""
    for run_id in [*IDS, *ODD_IDS]:
        record(run_id)
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        assert (done.delivered, done.parked) == (len(IDS) + len(ODD_IDS), 0)
        assert len(server.runs()) == len(IDS) + len(ODD_IDS)
        assert server.state()["refused"] == []
        keys = [one["key"] for one in server.log() if one["key"]]
    assert all(len(key) <= 255 and key.isascii() and key.isprintable() for key in keys)


@WAYS
def test_an_id_that_is_not_utf_8_holds_up_no_other_run(db_path: Path, bulk: bool) -> None:
    """Its run is parked and listed; wanted again it stays so, as nothing finds it by its id."""
    record(IDS[0])
    for raw in ("x'61ff'", "x'ff'", "x'610062'"):
        change(
            db_path,
            "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode,"
            f" status, started_at) VALUES (CAST({raw} AS TEXT), 'a', 'w', '', '', 'success',"
            " '2026-01-31T09:30:00.000000Z')",
        )
    assert {one.run_id for one in previews(db_path, settings_for("http://x"))} == {IDS[0]}
    with fault_server(bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk)
        assert (done.pending, done.delivered, done.parked) == (0, 1, 3)
        with writer(db_path) as connection:
            listed = {one.run_id: one.reason for one in list_parked(connection)}
            requeue(connection, [one for one in listed if "\ufffd" in one])
            assert requeue(connection) == 0
        assert listed == {
            "a\ufffd": "its id is not valid UTF-8",
            "\ufffd": "its id is not valid UTF-8",
            "a\0b": "its id has a NUL character",
        }
        assert upload(db_path, server.url, bulk=bulk).parked == 3


@WAYS
def test_a_run_that_is_not_found_by_its_id_is_parked(db_path: Path, bulk: bool) -> None:
    """Whoever made it pending, as an older waxlocal does: an upload does not take it for ever."""
    record(IDS[0])
    record(IDS[1])
    change(
        db_path,
        "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id,"
        " interaction_mode, status, started_at) VALUES (?, 'a', 'w', '', '', 'success',"
        " '2026-01-31T09:30:00.000000Z')",
        f"{IDS[0]}\0b",
    )
    with fault_server(bulk=bulk) as server:
        with uploading(db_path, server.url, bulk=bulk):
            pass
        change(
            db_path,
            "INSERT INTO deliveries (run_id, target_id, state)"
            " SELECT run_id, 1, 'pending' FROM runs",
        )
        change(db_path, "UPDATE targets SET cursor = 3")
        done = upload(db_path, server.url, bulk=bulk)
        assert (done.pending, done.delivered, done.parked) == (0, 2, 1)
        with writer(db_path) as connection:
            assert [one.run_id for one in list_parked(connection)] == [f"{IDS[0]}\0b"]
            assert requeue(connection, [f"{IDS[0]}\0b"]) == 0
        assert len(server.runs()) == 2


@WAYS
def test_an_id_that_a_hub_refuses_holds_up_no_other_run(db_path: Path, bulk: bool) -> None:
    """Its run is parked with the reason, and so is one that is in the file with a NUL."""
    for run_id in [*ODD_IDS, *IDS]:
        record(run_id)
    change(
        db_path,
        "INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status,"
        " started_at) VALUES ('a' || char(0) || 'b', 'a', 'w', '', '', 'success',"
        " '2026-01-31T09:30:00.000000Z')",
    )
    with serving(db_path.with_name("hub.db")) as server:
        done = upload(db_path, url_of(server), bulk=bulk)
    assert (done.pending, done.delivered, done.parked) == (0, len(IDS), len(ODD_IDS) + 1)
    ((reasons,),) = ask(
        db_path, "SELECT json_group_array(reason) FROM deliveries WHERE state = 'parked'"
    )
    found = sorted(json.loads(reasons))
    assert found[0] == "its id has a NUL character"
    assert all("not 1 to 200 letters" in reason for reason in found[1:])
