"""Each `record_*` method and module function, and the rows it writes."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest

import waxlocal
from tests.tools.sdk_rows import everything, only, rows
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings

CANARY = "canary-7f3a"
ONE: dict[str, Any] = {"model": "m", "tokens_in": 1, "tokens_out": 1}
Act = Callable[[WaxellContext], object]

# What is called, and the rows that it leaves beside those of the run.
RECORDS: dict[str, tuple[Act, dict[str, int]]] = {
    "record_llm_call": (lambda c: c.record_llm_call(**ONE), {"llm_calls": 1}),
    "record_step": (lambda c: c.record_step("s", {"o": 1}), {"steps": 1}),
    "record_score": (lambda c: c.record_score("n", 1.0), {"scores": 1}),
    "record_tool_call": (lambda c: c.record_tool_call(name="t"), {"spans": 1}),
    "record_retrieval": (lambda c: c.record_retrieval(query="q", documents=[]), {"spans": 1}),
    "record_decision": (
        lambda c: c.record_decision(name="d", options=["a"], chosen="a", confidence=0.5),
        {"spans": 1, "scores": 1},
    ),
    "record_reasoning": (lambda c: c.record_reasoning(step="s", thought="t"), {"spans": 1}),
    "record_retry": (lambda c: c.record_retry(attempt=1, reason="r"), {"spans": 1}),
    "record_code_execution": (
        lambda c: c.record_code_execution(language="py", code="1"),
        {"spans": 1},
    ),
    "record_communication": (lambda c: c.record_communication(channel="slack"), {"spans": 1}),
    "record_prompt_use": (lambda c: c.record_prompt_use(name="p"), {"spans": 1}),
    "record_grounding": (
        lambda c: c.record_grounding(grounding_scores=[0.5, 1.0]),
        {"events": 1, "scores": 1},
    ),
    "record_user_message": (lambda c: c.record_user_message("hi"), {"spans": 1}),
    "record_agent_response": (lambda c: c.record_agent_response("yo"), {"spans": 1}),
    "record_human_interaction": (lambda c: c.record_human_interaction("?", "!"), {"spans": 1}),
    "record_memory_write": (lambda c: c.record_memory_write(memory_type="kv"), {"spans": 1}),
    "record_memory_recall": (lambda c: c.record_memory_recall(query="q"), {"spans": 1}),
    "remember_episodic": (lambda c: c.remember_episodic(slot_name="s", data=1), {"events": 1}),
    "remember_semantic": (
        lambda c: c.remember_semantic(slot_name="s", content="x"),
        {"events": 1},
    ),
    "set_memory_state": (lambda c: c.set_memory_state(memory_item_count=2), {"events": 1}),
    "update_conversation_state": (
        lambda c: c.update_conversation_state(user_turns=1, message_count=2),
        {"events": 1},
    ),
    "mark_resumed": (lambda c: c.mark_resumed(from_run_id="r"), {"events": 1}),
    "request_stop": (lambda c: c.request_stop("why"), {"events": 1}),
    "record_policy_check": (
        lambda c: c.record_policy_check(policy_name="p", action="allow"),
        {"events": 1},
    ),
    "record_approval_request": (
        lambda c: c.record_approval_request(action_type="x"),
        {"events": 1},
    ),
    "record_approval_response": (
        lambda c: c.record_approval_response(action_type="x", decision="approved"),
        {"events": 1},
    ),
    "record_data_access": (lambda c: c.record_data_access(source="db"), {"events": 1}),
    "record_network_request": (lambda c: c.record_network_request(url="http://x"), {"events": 1}),
    "record_scope_impact": (lambda c: c.record_scope_impact(files_changed=1), {"events": 1}),
    "record_retrieval_result": (
        lambda c: c.record_retrieval_result(relevance_score=0.5),
        {"events": 1},
    ),
    "record_delegation": (lambda c: c.record_delegation(delegate="other"), {"events": 1}),
    "record_bias_flag": (lambda c: c.record_bias_flag(flag="f"), {"events": 1}),
    "record_breach_signal": (lambda c: c.record_breach_signal(signal="s"), {"events": 1}),
    "record_erasure_request": (lambda c: c.record_erasure_request(subject_id="s"), {"events": 1}),
    "record_domain_intent": (
        lambda c: c.record_domain_intent(domain_name="d", action_name="a"),
        {"events": 1},
    ),
    "record_emitted_signal": (lambda c: c.record_emitted_signal(signal_name="s"), {"events": 1}),
    "record_pending_action": (
        lambda c: c.record_pending_action(kind="k", tool="t"),
        {"events": 1},
    ),
    "record_intermediate_output": (
        lambda c: c.record_intermediate_output(output="o"),
        {"events": 1},
    ),
    "set_output_text": (lambda c: c.set_output_text(text="t"), {"events": 1}),
    "set_privacy_context": (lambda c: c.set_privacy_context(data_purpose="p"), {"events": 1}),
    "set_prompt_name": (lambda c: c.set_prompt_name("p"), {"events": 1}),
    "check_tool_before_execution": (lambda c: c.check_tool_before_execution("t"), {"events": 1}),
    "check_policy_sync": (lambda c: c.check_policy_sync(), {"events": 1}),
    "enter_span": (lambda c: c.enter_span("s"), {"spans": 1}),
}
# The module's functions, which do the same to the run that is open.
FUNCTIONS: dict[str, tuple[Callable[[], object], dict[str, int]]] = {
    "score": (lambda: waxlocal.score("n", True, "boolean"), {"scores": 1}),
    "step": (lambda: waxlocal.step("s", {"o": 1}), {"steps": 1}),
    "decide": (lambda: waxlocal.decide("n", "a", ["a"], confidence=0.5), {"spans": 1, "scores": 1}),
    "reason": (lambda: waxlocal.reason("s", "t"), {"spans": 1}),
    "retrieve": (lambda: waxlocal.retrieve("q", [{"id": 1}], "faiss", [0.5]), {"spans": 1}),
    "retry": (lambda: waxlocal.retry(1, "r"), {"spans": 1}),
    "communication": (lambda: waxlocal.communication(channel="slack"), {"spans": 1}),
    "remember_episodic": (lambda: waxlocal.remember_episodic("s", [1]), {"events": 1}),
    "remember_semantic": (lambda: waxlocal.remember_semantic("s", "x"), {"events": 1}),
    "recall": (lambda: waxlocal.recall("q", top_score=0.5), {"spans": 1}),
    "prompt_use": (lambda: waxlocal.prompt_use("p", 2), {"spans": 1}),
    "user_message": (lambda: waxlocal.user_message("hi"), {"spans": 1}),
    "agent_response": (lambda: waxlocal.agent_response("yo"), {"spans": 1}),
    "human_interaction": (
        lambda: waxlocal.human_interaction("?", "!", elapsed_seconds=1.5),
        {"spans": 1},
    ),
    "mark_resumed": (lambda: waxlocal.mark_resumed("r"), {"events": 1}),
    "approval_request": (lambda: waxlocal.approval_request("x"), {"events": 1}),
    "approval_response": (lambda: waxlocal.approval_response("x", "denied"), {"events": 1}),
    "gate_tool": (lambda: waxlocal.gate_tool("t"), {"events": 1}),
    "gate_memory_delete": (lambda: waxlocal.gate_memory_delete(ids=[1]), {"events": 1}),
}


def counts(path: Path) -> dict[str, int]:
    tables = ("llm_calls", "steps", "scores", "spans", "events")
    found = {table: len(rows(path, table)) for table in tables}
    return {table: n for table, n in found.items() if n}


def test_every_recording_method_is_in_the_table_above() -> None:
    """A new `record_*` method has to be named here with the rows it writes."""
    methods = {name for name, _ in inspect.getmembers(WaxellContext, inspect.isfunction)}
    assert {name for name in methods if name.startswith("record_")} <= set(RECORDS)


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("name", RECORDS)
def test_method_writes_its_rows(db_path: Path, name: str) -> None:
    """The rows are there when the method returns, in the order of their positions."""
    act, expected = RECORDS[name]
    with WaxellContext("agent") as ctx:
        act(ctx)
        assert counts(db_path) == expected
        for table in expected:
            for row in rows(db_path, table):
                assert row["run_id"] == ctx.run_id
                assert row["position"] in (1, 2)


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("form", ["plain", "async"])
@pytest.mark.parametrize("name", sorted(RECORDS.keys() - {"enter_span"}))
def test_a_record_made_before_the_block_is_written_with_its_beginning(
    db_path: Path, name: str, form: str
) -> None:
    """It belongs to the run, in front of what the block records, and is not older than the run."""
    act, expected = RECORDS[name]
    ctx = WaxellContext("agent")
    act(ctx)
    if form == "plain":
        ctx.__enter__()
    else:
        asyncio.run(ctx.__aenter__())
    run = only(db_path, "runs")
    assert counts(db_path) == expected
    for table in expected:
        for row in rows(db_path, table):
            assert (row["run_id"], row["position"]) in ((ctx.run_id, 1), (ctx.run_id, 2))
            assert row["started_at" if table == "spans" else "recorded_at"] == run["started_at"]
    ctx.record_step("last")
    ctx.__exit__(None, None, None)
    assert rows(db_path, "steps")[-1]["position"] == sum(expected.values()) + 1


def test_content_of_a_record_made_before_content_was_switched_off_is_not_kept(
    recorder: Recorder, db_path: Path
) -> None:
    """As for inputs, the recorder that the run is written by decides."""
    ctx = WaxellContext("agent")
    ctx.record_llm_call(**ONE, prompt_preview=CANARY, full_messages=[CANARY], full_response=CANARY)
    ctx.record_step("s", {"o": CANARY})
    ctx.record_tool_call(name="t", input=CANARY, output=CANARY)
    ctx.set_output_text(text=CANARY)
    ctx.record_score("q", 1.0)
    quiet = Recorder(Settings(db=db_path, capture_content=False))
    use_recorder(quiet)
    with ctx:
        pass
    use_recorder(recorder)
    quiet.close()
    assert CANARY.encode() not in everything(db_path)
    assert counts(db_path) == {"llm_calls": 1, "steps": 1, "spans": 1, "events": 1, "scores": 1}


@pytest.mark.usefixtures("recorder")
def test_a_span_before_the_block_is_not_recorded_and_can_be_closed(db_path: Path) -> None:
    """There is nothing yet that it could be around."""
    ctx = WaxellContext("agent")
    handle = ctx.enter_span("too early")
    with ctx:
        ctx.record_step("s")
        ctx.exit_span(handle)
    assert counts(db_path) == {"steps": 1}


@pytest.mark.usefixtures("recorder")
def test_a_context_that_is_not_entered_keeps_a_bounded_number_of_records(db_path: Path) -> None:
    """What does not fit is counted as lost, with the reason and what to do."""
    ctx = WaxellContext("agent")
    for _ in range(1_002):
        ctx.record_step("s")
    with ctx:
        pass
    assert counts(db_path) == {"steps": 1_000}
    health = waxlocal.health()
    assert (health.lost, health.ok) == (2, False)
    assert health.reason == "a run keeps 1,000 records until its block is entered"


@pytest.mark.usefixtures("recorder")
def test_records_of_other_threads_meet_the_beginning_of_their_run(db_path: Path) -> None:
    """Whether they are made before it or meanwhile, none is lost and none is written twice."""

    def work(ctx: WaxellContext, start: threading.Barrier) -> None:
        start.wait()
        for _ in range(10):
            ctx.record_step("s")

    for _ in range(10):
        ctx, start = WaxellContext("agent"), threading.Barrier(3)
        threads = [threading.Thread(target=work, args=(ctx, start)) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait()
        with ctx:
            for thread in threads:
                thread.join()
        steps = rows(db_path, "steps", run_id=ctx.run_id)
        assert [step["position"] for step in steps] == list(range(1, 21))


def test_a_record_made_while_another_thread_begins_the_run_is_written(
    db_path: Path, recorder: Recorder
) -> None:
    """The run begins after the record has seen that it has not, and before it waits for that."""
    ctx = WaxellContext("agent")

    class Meanwhile:
        def __getattr__(self, name: str) -> Any:
            if name == "capture_content" and not ctx.run_id:
                ctx.__enter__()
            return getattr(recorder, name)

    ctx._recorder = cast(Recorder, Meanwhile())
    ctx.record_step("s")
    assert only(db_path, "steps")["run_id"] == ctx.run_id != ""


@pytest.mark.usefixtures("recorder")
def test_the_first_end_of_a_span_stays(db_path: Path) -> None:
    """A `finally` that closes a span again does not undo the error that an `except` recorded."""
    with WaxellContext("agent") as ctx:
        handle = ctx.enter_span("s")
        ctx.exit_span(handle, exc=ValueError("bad"))
        ctx.exit_span(handle, output_data={"o": 1})
    span = only(db_path, "spans")
    assert (span["status"], span["error"]) == ("error", "ValueError: bad")


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(("session", "named"), [("s", True), ("", False)])
def test_a_memory_is_of_its_session_or_else_of_its_run(
    db_path: Path, session: str, named: bool
) -> None:
    """Runs without a session do not share one memory under the agent's name."""
    with WaxellContext("agent", session_id=session) as ctx:
        ctx.remember_episodic(slot_name="slot", data={"a": 1})
        ctx.remember_semantic(slot_name="slot", content="c")
        ctx.record_memory_write(memory_type="kv")
    wanted = f"agent:{'s' if named else ctx.run_id}"
    assert [event["data"]["scope_key"] for event in rows(db_path, "events")] == [wanted] * 2
    assert only(db_path, "spans")["attributes"]["scope_key"] == wanted


@pytest.mark.usefixtures("recorder")
def test_a_retrieval_without_a_source_is_a_search(db_path: Path) -> None:
    """The span has the name that the SDK gives it."""
    with WaxellContext("agent") as ctx:
        ctx.record_retrieval(query="q", documents=[])
    span = only(db_path, "spans")
    assert (span["name"], span["attributes"]["source"]) == ("retrieve:search", "")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda c: c.record_tool_call(), "WaxellContext.record_tool_call() missing 1 required"),
        (lambda c: c.record_grounding(1), "WaxellContext.record_grounding() takes 1 positional"),
        (
            lambda c: c.record_retrieval(query="q", documents=[], scores=["high"]),
            "Argument 'scores' has incorrect type (expected float, got str)",
        ),
        (
            lambda c: c.record_grounding(grounding_scores="0.5"),
            "Argument 'grounding_scores' has incorrect type (expected list, got str)",
        ),
    ],
)
@pytest.mark.usefixtures("recorder")
def test_an_error_names_the_method_and_the_argument_that_the_program_wrote(
    db_path: Path, act: Act, said: str
) -> None:
    """Not the class inside, or what Python could not add; and nothing is recorded."""
    with WaxellContext("agent") as ctx:
        with pytest.raises(TypeError) as caught:
            act(ctx)
        assert said in str(caught.value)
    assert counts(db_path) == {}


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_acts_on_the_open_run_alone(db_path: Path, name: str) -> None:
    """A module function records in the open run, and is silent outside any."""
    act, expected = FUNCTIONS[name]
    act()
    with WaxellContext("agent"):
        act()
        assert counts(db_path) == expected
    act()
    assert counts(db_path) == expected


@pytest.mark.usefixtures("recorder")
def test_tag_and_metadata_functions_reach_the_open_run(db_path: Path) -> None:
    """`tag` and `metadata` act on the run that is open, and are silent without one."""
    waxlocal.tag("k", "v")
    waxlocal.metadata("k", 1)
    with WaxellContext("agent"):
        waxlocal.tag("k", "v")
        waxlocal.metadata("k", {"n": 1})
        waxlocal.flush_sync()
        run = only(db_path, "runs")
    assert (run["tags"], run["metadata"]) == ({"k": "v"}, {"k": {"n": 1}})


# Every argument of `record_llm_call`.
WHOLE_CALL: dict[str, Any] = {
    "model": "m",
    "tokens_in": 10,
    "tokens_out": 5,
    "cost": 0.25,
    "task": "chat",
    "prompt_preview": "P",
    "response_preview": "R",
    "duration_ms": 120,
    "provider": "p",
    "framework": "f",
    "prompt_hash": "h",
    "full_messages": [{"role": "user", "content": "hi"}],
    "full_response": "yo",
    "config": {"temperature": 0},
    "prompt_variables": {"name": "x"},
    "is_streaming": True,
    "ttft_ms": 30,
    "chunk_count": 4,
    "status": "error",
    "error_type": "Timeout",
    "error_message": "late",
    "cached_tokens": 3,
    "cache_write_tokens": 2,
    "reasoning_tokens": 4,
}


def test_a_whole_call_has_every_argument() -> None:
    """So that the next test notices one that is forgotten anywhere."""
    takes = set(inspect.signature(WaxellContext.record_llm_call).parameters)
    assert takes == {"self", "usage", *WHOLE_CALL}  # `usage` stands for the counts


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("by_id", [False, True])
def test_llm_call_keeps_all_it_is_given(db_path: Path, by_id: bool) -> None:
    """Every argument of `record_llm_call` has its place in the row, and so has each in a list."""
    with WaxellContext("agent") as ctx:
        if by_id:
            WaxellObserveClient().record_llm_calls_sync(run_id=ctx.run_id, calls=[WHOLE_CALL])
        else:
            ctx.record_llm_call(**WHOLE_CALL)
    call = only(db_path, "llm_calls")
    del call["run_id"], call["recorded_at"]
    assert call == {
        "position": 1,
        "model": "m",
        "provider": "p",
        "task": "chat",
        "tokens_in": 10,
        "tokens_out": 5,
        "cached_tokens": 3,
        "cache_write_tokens": 2,
        "cost": 0.25,
        "cost_source": "call",
        "duration_ms": 120,
        "ttft_ms": 30,
        "is_streaming": 1,
        "status": "error",
        "error_type": "Timeout",
        "error_message": "late",
        "prompt_preview": "P",
        "response_preview": "R",
        "messages": [{"role": "user", "content": "hi"}],
        "response": "yo",
        "details": {
            "framework": "f",
            "prompt_hash": "h",
            "config": {"temperature": 0},
            "prompt_variables": {"name": "x"},
            "chunk_count": 4,
        },
        "reasoning_tokens": 4,
        "response_id": None,
        "usage_known": 1,
        "tools": None,
        "revision": None,
    }


SCORES = [
    (("n", 0.85), ("numeric", 0.85, None)),
    (("n", 1), ("numeric", 1.0, None)),
    (("n", True), ("numeric", 1.0, None)),
    (("n", "0.5"), ("numeric", 0.5, None)),
    (("n", float("nan")), ("numeric", None, "nan")),
    (("b", True, "boolean"), ("boolean", 1.0, "true")),
    (("b", False, "boolean"), ("boolean", 0.0, "false")),
    (("b", "false", "boolean"), ("boolean", 0.0, "false")),
    (("b", " No", "boolean"), ("boolean", 0.0, "false")),
    (("b", "0", "boolean"), ("boolean", 0.0, "false")),
    (("b", "Yes", "boolean"), ("boolean", 1.0, "true")),
    (("b", 2, "boolean"), ("boolean", 1.0, "true")),
    (("c", "good", "categorical"), ("categorical", None, "good")),
    (("w", 1.5, "weird"), ("weird", None, "1.5")),
]


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(("arguments", "expected"), SCORES)
def test_score_values_follow_their_type(
    db_path: Path, arguments: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    """Numbers, truths and words land where the SDK puts them."""
    with WaxellContext("agent") as ctx:
        ctx.record_score(*arguments, comment="why")
    row = only(db_path, "scores")
    assert (row["data_type"], row["numeric_value"], row["string_value"]) == expected
    assert (row["name"], row["comment"]) == (arguments[0], "why")


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("word", ["maybe", "", "2"])
def test_boolean_score_that_is_neither_yes_nor_no_is_refused(db_path: Path, word: str) -> None:
    """The caller gets a `TypeError`, and nothing is stored."""
    with WaxellContext("agent") as ctx, pytest.raises(TypeError, match="neither true nor false"):
        ctx.record_score("b", word, "boolean")
    assert rows(db_path, "scores") == []


@pytest.mark.usefixtures("recorder")
def test_numeric_score_that_is_no_number_is_refused(db_path: Path) -> None:
    """The caller gets a `TypeError` that shows it, and nothing is stored."""
    with WaxellContext("agent") as ctx, pytest.raises(TypeError, match="abc"):
        ctx.record_score("n", "abc")
    assert rows(db_path, "scores") == []


@pytest.mark.usefixtures("recorder")
def test_spans_nest_and_are_on_disk_while_open(db_path: Path) -> None:
    """A span is a row from its start; what is recorded inside points to it."""
    with WaxellContext("agent") as ctx:
        outer = ctx.enter_span("outer", attributes={"a": 1}, input_data={"i": 1})
        inner = ctx.enter_span("inner")
        ctx.record_tool_call(name="tool", duration_ms=5)
        assert [s["status"] for s in rows(db_path, "spans")] == ["running", "running", "ok"]
        ctx.exit_span(inner, exc=ValueError("bad"))
        ctx.exit_span(outer, output_data={"o": 1})
        ctx.record_tool_call(name="after")
    first, second, tool, after = rows(db_path, "spans")
    assert (first["status"], first["attributes"], first["input"]) == ("ok", {"a": 1}, {"i": 1})
    assert first["output"] == {"o": 1}
    assert (second["status"], second["error"]) == ("error", "ValueError: bad")
    assert second["parent_position"] == first["position"]
    assert tool["parent_position"] == second["position"]
    assert (first["parent_position"], after["parent_position"]) == (None, None)


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("duration", [float("nan"), float("inf"), 1e300, 10**400, -5])
def test_odd_durations_do_not_stop_a_record(db_path: Path, duration: float) -> None:
    """A duration that is none is left out or kept as it is; the span is there."""
    with WaxellContext("agent") as ctx:
        ctx.record_tool_call(name="t", duration_ms=duration)  # type: ignore[arg-type]
    assert only(db_path, "spans")["name"] == "t"


@pytest.mark.usefixtures("recorder")
def test_human_turn_measures_the_wait(db_path: Path) -> None:
    """Question, answer and channel are kept, for the plain and the module's form."""
    with WaxellContext("agent") as ctx:
        with ctx.human_turn("Name?", channel="web", action="ask") as turn:
            turn.set_response("Ada")
        with waxlocal.human_turn("Age?") as turn:
            turn.set_response("36")
    first, second = rows(db_path, "spans", name="human_turn")
    assert (first["input"], first["output"]) == ({"prompt": "Name?"}, {"response": "Ada"})
    assert first["attributes"]["io.channel"] == "web"
    assert first["duration_ms"] >= 0
    assert second["output"] == {"response": "36"}
    with waxlocal.human_turn("Nobody?") as turn:
        turn.set_response("records nothing")
    assert len(rows(db_path, "spans")) == 2


@pytest.mark.usefixtures("recorder")
def test_input_asks_and_records(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`waxlocal.input` is the built-in one, with its answer in the open run."""
    monkeypatch.setattr(sys, "stdin", StringIO("Ada\nBob\n"))
    with WaxellContext("agent"):
        assert waxlocal.input("Name? ") == "Ada"
    assert waxlocal.input("Outside? ") == "Bob"
    assert only(db_path, "spans")["output"] == {"response": "Ada"}


@pytest.mark.usefixtures("recorder")
def test_pause_and_phase_are_spans_around_their_block(db_path: Path) -> None:
    """Both are silent outside a run."""
    with waxlocal.pause(), waxlocal.phase("p"):
        pass
    with WaxellContext("agent"), waxlocal.pause("lunch", who="me"), waxlocal.phase("plan", n=1):
        pass
    pause, phase = rows(db_path, "spans")
    assert (pause["kind"], pause["attributes"]) == ("pause", {"reason": "lunch", "who": "me"})
    assert (phase["name"], phase["parent_position"]) == ("phase:plan", pause["position"])


def test_gate_tool_gives_the_arguments_back() -> None:
    """A program goes on with what the gate returns: its own arguments."""
    arguments = {"path": "/tmp"}
    assert waxlocal.gate_tool("write", arguments) is arguments
    assert waxlocal.gate_memory_delete(ids=[1]).action == "allow"


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("write to ada@example.org now", "write to ##EMAIL## now"),
        ("SSN 123-45-6789", "SSN ##SSN##"),
        ("card 4111 1111 1111 1111", "card ##CREDIT_CARD##"),
        ("call 415-555-1212", "call ##PHONE##"),
        ("AKIAIOSFODNN7EXAMPLE", "##AWS_KEY##"),
        ("sk-proj-abcdefghijklmnop0123", "##API_KEY##"),
        ("at 192.168.1.1", "at ##IP##"),
        ("DE89370400440532013000", "##IBAN##"),
        ("order 12345 on 2026-11-22, version 1.2.3", "order 12345 on 2026-11-22, version 1.2.3"),
        ({"to": ["a@b.co", 3], "n": None}, {"to": ["##EMAIL##", 3], "n": None}),
        (("a@b.co", b"a@b.co"), ("##EMAIL##", b"a@b.co")),
        (3, 3),
    ],
)
def test_redact_labels_what_looks_like_a_secret(value: object, clean: object) -> None:
    """Texts inside lists, tuples and dicts are cleaned, other values stay."""
    assert waxlocal.redact(value) == clean


def test_redact_leaves_out_what_is_deeper_than_anything_is_recorded() -> None:
    """No depth of a value ends the program's stack, and nothing in the depth stays readable."""
    deep: dict[str, object] = {"said": "me@example.org"}
    for _ in range(5_000):
        deep = {"in": deep}
    assert repr(waxlocal.redact(deep)).count("'in'") == 100
    assert "example" not in repr(waxlocal.redact(deep))


def test_redact_survives_a_list_that_contains_itself() -> None:
    """A circle is left as it is."""
    circle: list[Any] = ["a@b.co"]
    circle.append(circle)
    assert waxlocal.redact(circle)[0] == "##EMAIL##"


# WAXELL_CAPTURE_CONTENT=0.


def talk(client: WaxellObserveClient) -> None:
    """Put the canary into every field that holds what people, models and tools said."""
    said = {"text": CANARY}
    with WaxellContext("agent", inputs=said, session_id="s") as ctx:
        ctx.set_result(said)
        ctx.record_llm_call(
            **ONE,
            cost=0.5,
            prompt_preview=CANARY,
            response_preview=CANARY,
            full_messages=[said],
            full_response=CANARY,
            prompt_variables=said,
        )
        ctx.record_step("s", said)
        ctx.record_tool_call(name="t", input=said, output=CANARY)
        ctx.record_retrieval(query=CANARY, documents=[said])
        ctx.record_decision(
            name="d", options=[CANARY], chosen=CANARY, reasoning=CANARY, confidence=0.5
        )
        ctx.record_reasoning(step="s", thought=CANARY, evidence=[CANARY], conclusion=CANARY)
        ctx.record_code_execution(language="py", code=CANARY, output=CANARY)
        ctx.record_communication(channel="c", recipient=CANARY, body=CANARY, subject=CANARY)
        ctx.record_grounding(citations=[CANARY], unsupported_claims=[CANARY])
        ctx.record_user_message(CANARY)
        ctx.record_agent_response(CANARY)
        ctx.record_human_interaction(CANARY, CANARY)
        ctx.record_memory_write(memory_type="kv", content=CANARY, data=said)
        ctx.record_memory_recall(query=CANARY, results=[said])
        ctx.remember_episodic(slot_name="s", data=said)
        ctx.remember_semantic(slot_name="s", content=CANARY)
        ctx.set_memory_state(memory_items=[said])
        ctx.mark_resumed(payload=said)
        ctx.record_network_request(url=CANARY)
        ctx.record_pending_action(kind="k", tool="t", args=said)
        ctx.record_intermediate_output(output=CANARY)
        ctx.set_output_text(text=CANARY)
        ctx.exit_span(ctx.enter_span("x", input_data=said), output_data=said)
        waxlocal.gate_tool("t", said)
        waxlocal.gate_memory_delete(query=CANARY)
        waxlocal.tool()(lambda text: text)(CANARY)
        waxlocal.observe(agent_name="inner")(lambda text: text)(CANARY)
        client.publish_partial_output(run_id=ctx.run_id, partial=CANARY)
        client.record_events_sync(events=[{"event": "e", "data": said}])
        client.prompt_guard_sync(text=CANARY)
    started = client.start_run_sync(agent_name="client", inputs=said)
    run_id = started.run_id
    call = {**ONE, "prompt_preview": CANARY, "full_messages": [said], "full_response": CANARY}
    call |= {"response_preview": CANARY, "prompt_variables": said}
    client.record_llm_calls_sync(
        run_id=run_id, calls=[call], conversation_state={"user_turns": 1, "snapshot": said}
    )
    client.record_steps_sync(run_id=run_id, steps=[{"step_name": "s", "output": said}])
    span = {"name": "n", "kind": "tool", "input_data": said, "output_data": said}
    client.record_spans_sync(run_id=run_id, spans=[span])
    memory = {"run_id": run_id, "slot_name": "s", "scope_key": "k"}
    client.write_episodic_memory_sync(**memory, data=said)
    client.write_semantic_fact_sync(**memory, content=CANARY, content_embedding=[CANARY])
    client.check_policy_sync(agent_name="a", inputs=said)
    client.complete_run_sync(run_id=run_id, result=said)


@pytest.mark.parametrize("captured", [True, False])
def test_content_is_kept_or_is_nowhere_in_the_file(db_path: Path, captured: bool) -> None:
    """Without content capture no byte of it reaches the file or its WAL; the numbers do."""
    recorder = Recorder(Settings(db=db_path, capture_content=captured))
    use_recorder(recorder)
    talk(WaxellObserveClient())
    found = everything(db_path)
    assert (CANARY.encode() in found) is captured
    call = rows(db_path, "llm_calls")[0]
    assert (call["tokens_in"], call["tokens_out"], call["cost"]) == (1, 1, 0.5)
    assert rows(db_path, "scores")[0]["numeric_value"] == 0.5
    assert [run["status"] for run in rows(db_path, "runs")] == ["success"] * 3
