"""Runs that begin and end over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.builders import moment
from tests.tools.ingest import Hub, agent_span, span
from tests.tools.sdk_rows import rows
from waxlocal.errors import NotFound
from waxlocal.ingest.runs import _fill
from waxlocal.recording.recorder import Recorder
from waxlocal.sdk.client import WaxellObserveClient
from waxlocal.storage.connection import writer
from waxlocal.wire.cut_values import CAN_BE_CUT

OWN_ID = "01942000-0000-7000-8000-00000000abcd"


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def test_a_run_has_the_times_at_which_its_requests_came(hub: Hub) -> None:
    """Start, end and duration of a run are those that the server saw."""
    run = hub.start(at=1.0, inputs={"q": 1}, session_id="s", user_id="u", user_group="g")
    answer = hub.complete(run, at=3.5, result={"a": 1})
    row = hub.run(run)
    assert answer == {"run_id": run, "duration": 2.5, "governance": {"action": "allow"}}
    assert (row["started_at"], row["completed_at"], row["duration"]) == (
        moment(1.0),
        moment(3.5),
        2.5,
    )
    assert (row["status"], row["inputs"], row["result"]) == ("success", {"q": 1}, {"a": 1})
    assert (row["session_id"], row["user_id"], row["user_group"]) == ("s", "u", "g")
    assert (row["interaction_mode"], row["workflow_name"]) == ("interactive", "default")


@pytest.mark.parametrize("start", ["'yesterday'", "''", "x'ff'", "'2026-13-01T00:00:00.000000Z'"])
def test_a_run_without_a_valid_start_takes_records_and_its_end(hub: Hub, start: str) -> None:
    """Any program may have written its row: how long it lasted stays unknown."""
    run = hub.start()
    hub.select(f"UPDATE runs SET started_at = {start}")
    again = {"agent_name": "a", "metadata": {"waxlocal": {"run_id": run}}}
    assert hub.ask("start", again)["run_id"] == run
    hub.calls(run, {"model": "gpt-4o"})
    hub.steps(run, {"step_name": "s"})
    hub.spans(run, span("tool:x", "tool", 1, start_offset_ms=5), at=1.5)
    assert hub.complete(run, at=3.5, result={"a": 1})["duration"] is None
    row = hub.run(run)
    assert (row["status"], row["completed_at"], row["duration"]) == ("success", moment(3.5), None)
    assert [one["recorded_at"] for one in hub.rows("steps", run)] == [moment(1.0)]
    assert len(hub.rows("llm_calls", run)) == len(hub.rows("spans", run)) == 1


def test_the_answer_to_a_start_names_run_and_workflow(hub: Hub) -> None:
    """The ids are text, and the workflow's is the run's behind `wf_`."""
    answer = hub.ask("start", {"agent_name": "a"}, at=1.0)
    assert answer == {
        "run_id": hub.run(answer["run_id"])["run_id"],
        "workflow_id": f"wf_{answer['run_id']}",
        "started_at": moment(1.0),
    }


def test_what_is_empty_is_not_there(hub: Hub) -> None:
    """Empty objects and empty text, which the SDK sends for nothing, become NULL."""
    run = hub.start(inputs={}, metadata={}, session_id="", user_id="", trace_id="")
    hub.complete(run, result={}, error="")
    row = hub.run(run)
    empty = ("inputs", "metadata", "result", "session_id", "user_id", "error", "traceback")
    assert [row[name] for name in empty] == [None] * len(empty)
    assert (row["interaction_mode"], row["trace_id"]) == ("autonomous", run.replace("-", ""))


def test_an_exception_is_kept_whole(hub: Hub) -> None:
    """Error, type and traceback of the end are stored."""
    run = hub.start()
    hub.complete(run, status="error", error="kaput", error_type="ValueError", traceback="Tr")
    row = hub.run(run)
    assert [row[name] for name in ("status", "error", "error_type", "traceback")] == [
        "error",
        "kaput",
        "ValueError",
        "Tr",
    ]


def test_an_unknown_status_is_an_error(hub: Hub) -> None:
    """A status that the file does not have is stored as `error`, as the recorder does."""
    run = hub.start()
    hub.complete(run, status="weird")
    assert hub.run(run)["status"] == "error"


def test_a_run_ends_once(hub: Hub) -> None:
    """What comes after the end changes neither status nor times."""
    run = hub.start()
    hub.complete(run, at=2.0)
    again = hub.complete(run, at=9.0, status="error")
    row = hub.run(run)
    assert (row["status"], row["duration"], again["duration"]) == ("success", 2.0, 2.0)


def test_a_run_believed_to_be_interrupted_may_still_end(hub: Hub) -> None:
    """An end that comes after an interruption is the truth."""
    run = hub.start()
    hub.complete(run, at=1.0, status="interrupted")
    hub.complete(run, at=2.0, status="success", result={"late": True})
    row = hub.run(run)
    assert (row["status"], row["duration"], row["result"]) == ("success", 2.0, {"late": True})


def test_the_trace_of_the_sdk_is_taken_over(hub: Hub) -> None:
    """A trace id that comes with the end replaces the one made here; anything else does not."""
    run, other = hub.start(), hub.start()
    hub.complete(run, trace_id="1e39436e41ea2b131ca6d88b86107732")
    hub.complete(other, trace_id="no trace")
    assert hub.run(run)["trace_id"] == "1e39436e41ea2b131ca6d88b86107732"
    assert hub.run(other)["trace_id"] == other.replace("-", "")


def test_a_clock_that_was_set_back_gives_no_negative_duration(hub: Hub) -> None:
    """A run never ends before it began."""
    run = hub.start(at=5.0)
    hub.complete(run, at=1.0)
    row = hub.run(run)
    assert (row["duration"], row["completed_at"]) == (0.0, row["started_at"])


@pytest.mark.parametrize("name", ["steps", "spans", "complete", "partial", "episodic"])
def test_nothing_is_added_to_a_run_that_is_not_here(hub: Hub, name: str) -> None:
    """Records of an unknown run are refused, not kept under no run."""
    with pytest.raises(NotFound):
        hub.post("nobody", name, {"steps": [], "spans": []})


def test_steps_that_come_with_the_end_are_kept(hub: Hub) -> None:
    """The low-level client may send steps with `complete`."""
    run = hub.start()
    hub.complete(run, steps=[{"step_name": "last", "output": {"n": 1}}])
    (step,) = hub.rows("steps", run)
    assert (step["step_name"], step["output"], step["position"]) == ("last", {"n": 1}, 1)


def test_the_machine_is_the_origin_of_its_runs(hub: Hub) -> None:
    """`hardware_uuid` becomes one row of `processes` for all runs of that machine."""
    runs = [hub.start() for _ in range(2)]
    for run in runs:
        hub.steps(run, {"step_name": "s"}, hardware_uuid="3d1219c7")
    ((process, *named),) = hub.select("SELECT process_id, host, program FROM processes")
    assert named == ["3d1219c7", "waxell-observe"]
    assert {hub.run(run)["process_id"] for run in runs} == {process}
    assert 0 < process < 1 << 56


# -- what an uploader of ours says besides ----------------------------------------------------


def own(**fields: object) -> dict[str, object]:
    """Return the metadata of a run that waxlocal recorded elsewhere."""
    said = {
        "run_id": OWN_ID,
        "started_at": moment(-100.0),
        "completed_at": moment(-90.0),
        "duration": 9.5,
        "tags": {"env": "prod"},
        "device": "pi-7",
        "program": "bot.py",
        "version": "1.2",
        **fields,
    }
    return {"waxlocal": said, "note": "mine"}


def test_an_uploaded_run_keeps_its_identity(hub: Hub) -> None:
    """Id, times, tags and device are those of where it was recorded; the rest is metadata."""
    run = hub.start(metadata=own(), trace_id="a" * 32, session_id="s")
    assert run == OWN_ID
    assert hub.run(run)["status"] == "running"
    hub.complete(run, at=5.0)
    row = hub.run(run)
    assert (row["started_at"], row["completed_at"]) == (moment(-100.0), moment(-90.0))
    assert (row["duration"], row["tags"], row["metadata"]) == (
        9.5,
        {"env": "prod"},
        {"note": "mine"},
    )
    assert (row["trace_id"], row["status"]) == ("a" * 32, "success")
    query = "SELECT process_id, host, program, waxlocal FROM processes"
    assert hub.select(query) == [(row["process_id"], "pi-7", "bot.py", "1.2")]
    assert hub.select("SELECT total_duration FROM sessions") == [(9.5,)]


def test_starting_an_uploaded_run_again_changes_nothing(hub: Hub) -> None:
    """The same run id is answered with the same run, ended or not."""
    first = hub.ask("start", {"agent_name": "a", "metadata": own()})
    hub.complete(OWN_ID)
    again = hub.ask("start", {"agent_name": "b", "metadata": own()}, at=50.0)
    assert again == first
    assert hub.run(OWN_ID)["agent_name"] == "a"


def test_metadata_that_only_look_like_ours_are_the_programs(hub: Hub) -> None:
    """Without a run id that is a UUID, `waxlocal` is a key like any other."""
    run = hub.start(metadata={"waxlocal": {"run_id": "../../etc"}})
    assert run != "../../etc"
    assert hub.run(run)["metadata"] == {"waxlocal": {"run_id": "../../etc"}}


def test_the_records_of_an_uploaded_run_are_numbered_like_any_other(hub: Hub) -> None:
    """The uploader numbers records as the SDK does, and knows them by its keys."""
    run = hub.start(metadata=own())
    hub.spans(run, agent_span(0), span("search", "tool", 7))
    hub.steps(run, {"step_name": "s", "position": 3})
    hub.complete(run)
    hub.steps(run, {"step_name": "late", "position": 1})
    placed = [(row["step_name"], row["position"]) for row in hub.rows("steps", run)]
    assert placed == [("s", 1), ("late", 3)]
    assert hub.rows("spans", run)[0]["position"] == 2


# -- runs of a day ----------------------------------------------------------------------------


def test_a_run_of_a_day_is_made_once(hub: Hub) -> None:
    """Who asks again for the same agent and day gets the same run."""
    body = {"agent_slug": "mail", "agent_type": "mcp", "execution_region": "CH"}
    first = hub.ask("daily", body)
    again = hub.ask("daily", body, at=60.0)
    other = hub.ask("daily", {**body, "date": "2026-02-01"})
    assert (first["created"], again["created"], first["date"]) == (True, False, "2026-01-31")
    assert again == {**first, "created": False}
    assert other["run_id"] != first["run_id"]
    assert len(rows(hub.path, "runs")) == 2


def test_the_run_of_a_day_is_the_recorders(hub: Hub, recorder: Recorder) -> None:
    """A program beside the server that records into the same file has the same run of the day."""
    here = WaxellObserveClient().start_daily_run_sync(agent_slug="mail", date="2026-01-31")
    there = hub.ask("daily", {"agent_slug": "mail", "date": "2026-01-31"})
    assert (there["run_id"], there["created"]) == (here.run_id, False)


def test_records_of_a_day_are_numbered_at_once(hub: Hub) -> None:
    """A run of a day never ends, so nothing waits for its end."""
    run = hub.ask("daily", {"agent_slug": "mail"})["run_id"]
    hub.ask("events", {"events": [{"event": "e", "workflow_id": f"wf_{run}"}]})
    hub.steps(run, {"step_name": "s"})
    assert [hub.rows(table, run)[0]["position"] for table in ("events", "steps")] == [1, 2]


def test_an_end_makes_a_delivered_run_pending_again(hub: Hub) -> None:
    """A run that was delivered while it was believed interrupted goes again with its end."""
    run = hub.start()
    hub.complete(run, status="interrupted")
    hub.select("INSERT INTO targets (target_id, url) VALUES (1, 'https://x')")
    hub.select(
        f"INSERT INTO deliveries (run_id, target_id, state) VALUES ('{run}', 1, 'delivered')"
    )
    hub.complete(run, at=9.0)
    assert hub.select("SELECT state FROM deliveries") == [("pending",)]


@pytest.mark.parametrize("name", CAN_BE_CUT)
def test_text_that_is_not_utf_8_is_no_cut_value(hub: Hub, name: str) -> None:
    """Another program has written it into the run: it stays, and stops nothing."""
    run = hub.start(inputs={"q": 1})
    hub.select(f"UPDATE runs SET {name} = CAST(x'22ff22' AS TEXT)")
    with writer(hub.path) as connection:
        _fill(connection, run, {name: '{"whole":1}'})
    assert hub.select(f"SELECT hex({name}) FROM runs") == [("22FF22",)]
