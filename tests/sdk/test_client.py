"""`WaxellObserveClient`: runs recorded step by step, by id, from wherever the id is known."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.crash.files import assert_sound, run_program
from tests.tools.sdk_rows import (
    everything,
    only,
    rows,
    run_named,
)
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.sdk.run_records import FORK_POSITIONS
from waxlocal.settings.config import Settings

pytestmark = pytest.mark.usefixtures("recorder")

CALL: dict[str, Any] = {"model": "m", "tokens_in": 10, "tokens_out": 5, "cost": 0.25}
SPAN = {
    "name": "t",
    "kind": "tool",
    "duration_ms": 12,
    "attributes": {"error": "late"},
    "status": "error",
    "input_data": {"q": 1},
    "output_data": {"a": 2},
}
SCORES = [
    {"name": "n", "data_type": "numeric", "numeric_value": 0.5},
    {"name": "b", "data_type": "boolean", "numeric_value": 1.0, "string_value": "true"},
    {"name": "c", "data_type": "categorical", "string_value": "good", "comment": "why"},
]


@pytest.fixture
def client() -> Iterator[WaxellObserveClient]:
    """Return a client that has no server."""
    yield WaxellObserveClient()
    WaxellObserveClient.configure("", "")


def record_plainly(client: WaxellObserveClient) -> str:
    run = client.start_run_sync(
        agent_name="agent",
        inputs={"q": 1},
        metadata={"m": 1},
        session_id="s",
        user_id="u",
        user_group="g",
        parent_workflow_id="wf_p",
        root_workflow_id="wf_r",
        trace_id="ab" * 16,
    )
    run_id = run.run_id
    assert run.workflow_id == f"wf_{run_id}"
    assert client.record_llm_calls_sync(run_id=run_id, calls=[CALL, CALL]) == {"recorded": 2}
    client.record_steps_sync(run_id=run_id, steps=[{"step_name": "s", "output": {"o": 1}}])
    client.record_spans_sync(run_id=run_id, spans=[SPAN])
    client.record_scores_sync(run_id=run_id, scores=SCORES)
    done = client.complete_run_sync(run_id=run_id, result={"r": 1})
    assert (done.run_id, done.governance_action, done.should_retry) == (run_id, "allow", False)
    assert done.duration is not None
    return run_id


async def record_async(client: WaxellObserveClient) -> str:
    run = await client.start_run(
        "agent",
        inputs={"q": 1},
        metadata={"m": 1},
        session_id="s",
        user_id="u",
        user_group="g",
        parent_workflow_id="wf_p",
        root_workflow_id="wf_r",
        trace_id="ab" * 16,
    )
    await client.record_llm_calls(run.run_id, [CALL, CALL])
    await client.record_steps(run.run_id, [{"step_name": "s", "output": {"o": 1}}])
    await client.record_spans(run.run_id, [SPAN])
    await client.record_scores(run.run_id, SCORES)
    await client.complete_run(run.run_id, result={"r": 1})
    await client.close()
    return run.run_id


@pytest.mark.parametrize("form", ["plain", "async"])
def test_run_from_start_to_end(db_path: Path, client: WaxellObserveClient, form: str) -> None:
    """Both forms leave the same rows: the run, its calls, step, span and scores."""
    run_id = record_plainly(client) if form == "plain" else asyncio.run(record_async(client))
    run = run_named(db_path, "agent")
    assert (run["run_id"], run["status"], run["result"]) == (run_id, "success", {"r": 1})
    assert (run["inputs"], run["metadata"], run["session_id"]) == ({"q": 1}, {"m": 1}, "s")
    assert (run["user_id"], run["user_group"]) == ("u", "g")
    assert (run["parent_workflow_id"], run["root_workflow_id"]) == ("wf_p", "wf_r")
    assert run["trace_id"] == "ab" * 16
    assert [call["cost"] for call in rows(db_path, "llm_calls")] == [0.25, 0.25]
    assert only(db_path, "steps")["output"] == {"o": 1}
    span = only(db_path, "spans")
    assert (span["status"], span["error"], span["duration_ms"]) == ("error", "late", 12)
    assert (span["input"], span["output"]) == ({"q": 1}, {"a": 2})
    scores = [(s["name"], s["numeric_value"], s["string_value"]) for s in rows(db_path, "scores")]
    assert scores == [("n", 0.5, None), ("b", 1.0, "true"), ("c", None, "good")]


def test_failed_run_keeps_what_is_said_about_it(db_path: Path, client: WaxellObserveClient) -> None:
    """Status, error, type and traceback are stored as given; an unknown status is an error."""
    for status in ("error", "blocked", "exploded"):
        run = client.start_run_sync(agent_name=status)
        client.complete_run_sync(
            run_id=run.run_id, status=status, error="e", error_type="T", traceback="tb"
        )
    found = rows(db_path, "runs")
    assert [run["status"] for run in found] == ["error", "blocked", "error"]
    assert [run["traceback"] for run in found] == ["tb"] * 3


def test_run_belongs_to_nothing_it_was_not_told(db_path: Path, client: WaxellObserveClient) -> None:
    """An open context and a session block around `start_run` do not become parent and session."""
    with waxlocal.session("block"), WaxellContext("context"):
        client.start_run_sync(agent_name="agent")
    run = run_named(db_path, "agent")
    assert (run["parent_workflow_id"], run["session_id"]) == (None, None)


def test_run_goes_on_in_another_process(db_path: Path, client: WaxellObserveClient) -> None:
    """By its id alone: what was given at the start stays, time is the whole; order is kept."""
    run = client.start_run_sync(agent_name="agent", inputs={"q": 1}, metadata={"m": 1})
    client.record_steps_sync(run_id=run.run_id, steps=[{"step_name": "here"}])
    program = (
        "import sys, time\n"
        "from waxlocal import WaxellObserveClient\n"
        "client = WaxellObserveClient()\n"
        "client.record_steps_sync(run_id=sys.argv[1], steps=[{'step_name': 'there'}])\n"
        "time.sleep(0.02)\n"
        "print(client.complete_run_sync(run_id=sys.argv[1], result={'r': 1}).duration)\n"
    )
    environment = {
        "WAXLOCAL_DB": str(db_path),
        "PYTHONPATH": str(Path(waxlocal.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, run.run_id],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = run_named(db_path, "agent")
    assert (found["status"], found["metadata"], found["inputs"]) == ("success", {"m": 1}, {"q": 1})
    assert found["started_at"] == run.started_at
    assert found["duration"] == pytest.approx(float(done.stdout))
    # The import of the other process alone takes longer than its 20 ms of sleep.
    assert found["duration"] > 0.02
    steps = rows(db_path, "steps")
    assert [step["step_name"] for step in steps] == ["here", "there"]
    between = steps[1]["position"] - steps[0]["position"] - 1
    assert between > 0
    assert between % FORK_POSITIONS == 0


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("error", "success", "error"),
        ("success", "error", "success"),
        ("blocked", "interrupted", "blocked"),
        ("interrupted", "success", "success"),
    ],
)
def test_the_first_end_stays_whichever_process_writes_it(
    db_path: Path, client: WaxellObserveClient, first: str, second: str, kept: str
) -> None:
    """The second end adds what it says of the run; an interruption alone was only a guess."""
    run = client.start_run_sync(agent_name="agent", session_id="s", metadata={"m": 1})
    done = run_program(
        db_path,
        f"""
        from waxlocal import WaxellObserveClient
        WaxellObserveClient().complete_run_sync(
            run_id={run.run_id!r}, status={first!r}, error="there", error_type="There",
            traceback="t", result={{"of": "there"}})
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    there = run_named(db_path, "agent")
    assert there["status"] == first
    client.complete_run_sync(run_id=run.run_id, status=second, result={"of": "here"})
    found = run_named(db_path, "agent")
    end = ("status", "completed_at", "duration", "error", "error_type", "traceback")
    if kept == first:
        assert {name: found[name] for name in end} == {name: there[name] for name in end}
    assert (found["status"], found["result"]) == (kept, {"of": "here"})
    assert found["metadata"] == {"m": 1}
    assert_sound(db_path)


def test_a_block_keeps_the_end_that_another_process_wrote(db_path: Path) -> None:
    """Its tags, metadata and result are written all the same."""
    with WaxellContext("agent", session_id="s") as ctx:
        done = run_program(
            db_path,
            f"""
            from waxlocal import WaxellObserveClient
            WaxellObserveClient().complete_run_sync(
                run_id={ctx.run_id!r}, status="error", error="stopped from outside")
            """,
        )
        assert (done.returncode, done.stderr) == (0, "")
        ctx.set_tag("t", "1")
        ctx.set_metadata("m", 2)
        ctx.set_result({"r": 3})
    found = run_named(db_path, "agent")
    assert (found["status"], found["error"]) == ("error", "stopped from outside")
    assert (found["tags"], found["metadata"], found["result"]) == ({"t": "1"}, {"m": 2}, {"r": 3})
    assert_sound(db_path)


def test_another_process_that_records_into_a_run_moves_none_of_its_spans(db_path: Path) -> None:
    """Each counts positions for itself, so a span ends, and holds what was recorded inside it."""
    with WaxellContext("agent", session_id="s") as ctx:
        ctx.record_step("first")
        for name in ("one", "two"):
            done = run_program(
                db_path,
                f"""
                from waxlocal import WaxellObserveClient
                client = WaxellObserveClient()
                for _ in range(3):
                    client.record_spans_sync(run_id={ctx.run_id!r}, spans=[{{"name": {name!r}}}])
                """,
            )
            assert (done.returncode, done.stderr) == (0, "")
            span = ctx.enter_span(f"around {name}")
            ctx.record_tool_call(name=f"inside {name}", input={}, output={})
            ctx.exit_span(span)
    spans = {row["name"]: row for row in rows(db_path, "spans")}
    assert len(rows(db_path, "spans")) == 10
    for name in ("one", "two"):
        assert spans[f"around {name}"]["status"] == "ok"
        inside = next(row for span, row in spans.items() if f"inside {name}" in span)
        assert inside["parent_position"] == spans[f"around {name}"]["position"]
    assert_sound(db_path)


def test_records_by_id_join_the_open_context(db_path: Path, client: WaxellObserveClient) -> None:
    """Inside its own context a run has one sequence of positions, whoever records."""
    with WaxellContext("agent") as ctx:
        ctx.record_step("one")
        client.record_llm_calls_sync(run_id=ctx.run_id, calls=[CALL])
        ctx.set_tag("k", "v")
        ctx.record_step("three")
    positions = {table: [r["position"] for r in rows(db_path, table)] for table in ("steps",)}
    assert positions == {"steps": [1, 3]}
    assert only(db_path, "llm_calls")["position"] == 2
    assert run_named(db_path, "agent")["tags"] == {"k": "v"}


def test_records_by_id_join_a_context_of_another_thread(
    db_path: Path, client: WaxellObserveClient
) -> None:
    """No position is taken twice, so a span ends itself; tags of both stay, and so does the end."""
    with WaxellContext("agent") as ctx:
        ctx.record_step("one")
        ctx.set_tag("here", "1")

        def elsewhere() -> None:
            span = {"name": "theirs", "kind": "tool", "duration_ms": 7}
            client.record_spans_sync(run_id=ctx.run_id, spans=[span])

        def end() -> None:
            client.complete_run_sync(run_id=ctx.run_id, status="error", error="theirs")

        run_in_thread(elsewhere)
        ours = ctx.enter_span("ours")
        ctx.record_tool_call(name="inside")
        ctx.exit_span(ours)
        run_in_thread(end)
    spans = [
        (span["name"], span["position"], span["parent_position"], span["status"])
        for span in rows(db_path, "spans")
    ]
    assert spans == [
        ("theirs", 2, None, "ok"),
        ("ours", 3, None, "ok"),
        ("inside", 4, 3, "ok"),
    ]
    assert rows(db_path, "spans")[0]["duration_ms"] == 7
    run = run_named(db_path, "agent")
    assert (run["status"], run["error"], run["tags"]) == ("error", "theirs", {"here": "1"})


def run_in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_odd_fields_of_a_call_do_not_lose_it(
    db_path: Path, recorder: Recorder, client: WaxellObserveClient
) -> None:
    """Missing, null and unfit fields of a call's dict leave a row with what can be kept."""
    run = client.start_run_sync(agent_name="agent")
    calls = [
        {},
        {"model": None, "tokens_in": None, "cost": None, "status": None, "duration_ms": None},
        {"model": 5, "prompt_preview": [1], "response_preview": {"a": 1}, "full_response": [2]},
    ]
    client.record_llm_calls_sync(run_id=run.run_id, calls=calls)
    found = rows(db_path, "llm_calls")
    assert [call["model"] for call in found] == ["", "", "5"]
    assert [call["status"] for call in found] == ["ok"] * 3
    assert [call["usage_known"] for call in found] == [0] * 3  # nobody told, which is not 0 tokens
    assert (found[2]["prompt_preview"], found[2]["response_preview"]) == ("[1]", '{"a":1}')
    assert recorder.store.backlog.lost == 0


def test_get_prompt_says_that_there_is_none(client: WaxellObserveClient) -> None:
    """There is no prompt server: both forms raise what programs catch for a missing prompt."""
    with pytest.raises(waxlocal.PromptNotFoundError, match="greeting") as plain:
        client.get_prompt_sync(name="greeting", label="production")
    assert (plain.value.name, plain.value.label) == ("greeting", "production")
    with pytest.raises(waxlocal.ObserveError):
        asyncio.run(client.get_prompt("greeting", version=2))
    client.invalidate_prompt_cache("greeting")


def test_policies_and_guards_let_everything_pass(
    db_path: Path, client: WaxellObserveClient
) -> None:
    """Questions for a server are answered with yes, and recorded as events outside any run."""
    answer = client.check_policy_sync(agent_name="a")
    assert (answer.allowed, answer.blocked, answer.should_retry) == (True, False, False)
    assert asyncio.run(client.check_policy("a")) == answer
    surface = client.check_policy_surface_sync("a", surface="tool")
    assert surface["action"] == "allow"
    assert client.get_policy_manifest_sync(agent_name="a")["policies"] == []
    assert client.prompt_guard_sync(text="x")["passed"] is True
    assert client.prompt_guard_gate_sync("x")["passed"] is True
    client.record_governance_decisions_sync(agent_name="a", surface="s", decisions=[{"d": 1}])
    events = rows(db_path, "events", run_id="")
    assert [e["event"] for e in events] == [
        *["policy_check"] * 3,
        *["prompt_guard"] * 2,
        "governance_decision",
    ]


def test_daily_run_is_made_once_a_day(db_path: Path, client: WaxellObserveClient) -> None:
    """Whoever asks for the day gets the same open run, from any process."""
    first = client.start_daily_run_sync(agent_slug="server", date="2026-01-31")
    other_process = Recorder(Settings(db=db_path))
    ours = use_recorder(other_process)
    second = asyncio.run(client.start_daily_run("server", date="2026-01-31"))
    use_recorder(ours)
    other_process.close()
    other = client.start_daily_run_sync(agent_slug="server", date="2026-02-01")
    assert (first.created, second.created) == (True, False)
    assert (first.run_id, first.started_at) == (second.run_id, second.started_at)
    assert first.date == "2026-01-31"
    assert other.run_id != first.run_id
    client.record_steps_sync(run_id=second.run_id, steps=[{"step_name": "s"}])
    assert only(db_path, "steps")["run_id"] == first.run_id
    assert [run["status"] for run in rows(db_path, "runs")] == ["running"] * 2


def test_events_find_their_run(db_path: Path, client: WaxellObserveClient) -> None:
    """By workflow id, else the open run, else none at all."""
    run = client.start_run_sync(agent_name="agent")
    client.record_events_sync(events=[{"event": "named", "workflow_id": run.workflow_id}])
    with WaxellContext("open") as ctx:
        client.record_events_sync(events=[{"event": "open", "n": 1}])
    client.record_events_sync(events=[{"event": "one"}, {"event": "two"}])
    assert only(db_path, "events", event="named")["run_id"] == run.run_id
    found = only(db_path, "events", event="open")
    assert (found["run_id"], found["data"]) == (ctx.run_id, {"event": "open", "n": 1})
    assert [e["event"] for e in rows(db_path, "events", run_id="")] == ["one", "two"]


def test_memory_and_partial_output_are_events(db_path: Path, client: WaxellObserveClient) -> None:
    """What goes to services of its own in the SDK is kept with the run."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    memory = {"run_id": run_id, "slot_name": "s", "scope_key": "k"}
    answer = client.write_episodic_memory_sync(**memory, data={"d": 1})
    assert answer == {"slot_name": "s", "scope_key": "k"}
    client.write_semantic_fact_sync(**memory, content="fact", content_embedding=[0.5])
    client.publish_partial_output(run_id=run_id, partial="x" * 30_000, chunk_count=2)
    episodic, semantic, partial = rows(db_path, "events", run_id=run_id)
    assert episodic["data"]["data"] == {"d": 1}
    assert semantic["data"]["content_embedding"] == [0.5]
    assert len(partial["data"]["partial"]) == 20_000


def test_configuration_is_kept_and_the_key_is_shown_nowhere(
    db_path: Path, client: WaxellObserveClient, capfd: pytest.CaptureFixture[str]
) -> None:
    """`configure` is accepted; the key is in no text form and not in the file."""
    WaxellObserveClient.configure("https://acme.waxell.dev/", "wax_sk_secret")
    config = WaxellObserveClient.get_config()
    assert config is not None
    assert (config.api_url, config.api_key) == ("https://acme.waxell.dev", "wax_sk_secret")
    assert WaxellObserveClient.is_configured()
    assert "secret" not in f"{config!r} {config} {waxlocal.diagnose()}"
    WaxellObserveClient.reset_connection_breaker()
    record_plainly(client)
    assert b"wax_sk_secret" not in everything(db_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["agent_name", "session_id", "inputs", "metadata"])
def test_start_refuses_wrong_types(client: WaxellObserveClient, name: str) -> None:
    """As the contexts do."""
    with pytest.raises(TypeError):
        client.start_run_sync(**{"agent_name": "a", name: 3})


@pytest.mark.parametrize("form", ["plain", "async"])
def test_the_first_end_of_a_run_stays(
    db_path: Path, client: WaxellObserveClient, form: str
) -> None:
    """A `finally` that completes a run does not undo its `except`; a late result is kept."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    for end in ({"status": "error", "error": "bad"}, {"result": {"r": 1}}):
        if form == "plain":
            client.complete_run_sync(run_id=run_id, **end)
        else:
            asyncio.run(client.complete_run(run_id, **end))
    run = only(db_path, "runs")
    assert (run["status"], run["error"], run["result"]) == ("error", "bad", {"r": 1})


def test_a_block_does_not_undo_how_the_client_completed_its_run(
    db_path: Path, client: WaxellObserveClient
) -> None:
    """The end of the block is not another end of the run; what it set is kept."""
    with WaxellContext("agent") as ctx:
        client.complete_run_sync(run_id=ctx.run_id, status="error", error="bad")
        ctx.set_tag("late", "yes")
    run = only(db_path, "runs")
    assert (run["status"], run["error"], run["tags"]) == ("error", "bad", {"late": "yes"})


def test_a_run_that_its_process_left_behind_can_be_completed(
    db_path: Path, client: WaxellObserveClient, recorder: Recorder
) -> None:
    """`interrupted` is how a process leaves a run, and not how the run ended."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    recorder.interrupt_open_runs()
    assert only(db_path, "runs")["status"] == "interrupted"
    WaxellObserveClient._open.clear()  # as in a process that has not seen the run
    client.complete_run_sync(run_id=run_id)
    assert only(db_path, "runs")["status"] == "success"


@pytest.mark.parametrize(
    ("method", "name", "items"),
    [
        ("record_llm_calls", "calls", [CALL, {**CALL, "tokens_in": "many"}]),
        ("record_llm_calls", "calls", [CALL, "gpt-4o"]),
        ("record_spans", "spans", [SPAN, {**SPAN, "attributes": [1]}]),
        ("record_scores", "scores", [*SCORES, None]),
    ],
)
def test_a_list_with_a_wrong_item_is_refused_whole(
    db_path: Path, client: WaxellObserveClient, method: str, name: str, items: list[Any]
) -> None:
    """As a program sees from the `TypeError`, nothing of it is recorded."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    with pytest.raises(TypeError, match="Argument"):
        getattr(client, f"{method}_sync")(run_id=run_id, **{name: items})
    assert [rows(db_path, table) for table in ("llm_calls", "spans", "scores")] == [[], [], []]


@pytest.mark.parametrize("items", ["abc", {"name": "n"}, 1])
@pytest.mark.parametrize("name", ["llm_calls", "steps", "spans", "scores"])
def test_what_is_not_a_list_is_refused(
    client: WaxellObserveClient, name: str, items: object
) -> None:
    """A text is not a list of its letters, nor a dict one of its keys."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    argument = name.removeprefix("llm_")
    with pytest.raises(TypeError, match=f"Argument '{argument}' .*expected list"):
        getattr(client, f"record_{name}_sync")(run_id=run_id, **{argument: items})


def test_a_numeric_score_may_be_given_as_text(db_path: Path, client: WaxellObserveClient) -> None:
    """As with `record_score`; a text that is not a number is kept as one."""
    run_id = client.start_run_sync(agent_name="agent").run_id
    texts = [{"name": "n", "numeric_value": "0.5"}, {"name": "w", "numeric_value": "high"}]
    client.record_scores_sync(run_id=run_id, scores=texts)
    found = [(row["numeric_value"], row["string_value"]) for row in rows(db_path, "scores")]
    assert found == [(0.5, None), (None, "high")]


def test_nothing_counts_as_recorded_without_a_run(client: WaxellObserveClient) -> None:
    """An empty run id names no run: the answer says 0."""
    for name, items in (("llm_calls", [CALL]), ("steps", ["s"]), ("spans", [SPAN])):
        argument = name.removeprefix("llm_")
        answer = getattr(client, f"record_{name}_sync")(run_id="", **{argument: items})
        assert answer == {"recorded": 0}


def test_an_error_names_the_class_that_the_program_uses(client: WaxellObserveClient) -> None:
    """Its methods lie in several classes, which nobody needs to know."""
    with pytest.raises(TypeError, match=r"WaxellObserveClient\.start_run\(\) missing"):
        client.start_run_sync()


def test_diagnose_has_the_fields_of_the_sdk(client: WaxellObserveClient) -> None:
    """A program that prints or checks them finds them all, and never the key itself."""
    client.configure("https://acme.example", "wax_sk_secret")
    found = waxlocal.diagnose()
    assert found["active_instrumentors"] == []
    assert found["detected_libraries"]["openai"] is True
    assert found["config"] == {
        "api_url": "https://acme.example",
        "api_key_set": True,
        "observe_enabled": True,
    }
    assert found["tracing"] == {"otel_available": False, "tracing_enabled": False}
    client.configure("", "")
    assert waxlocal.diagnose()["config"]["api_url"] == "(not set)"
