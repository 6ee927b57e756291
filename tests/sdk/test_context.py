"""`WaxellContext`: what one run leaves in the file, and whose session, user and child it is."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.sdk_rows import only, rows, run_named
from waxlocal import WaxellContext, get_context
from waxlocal.recording.recorder import Recorder

pytestmark = pytest.mark.usefixtures("recorder")


def test_run_is_in_the_file_from_its_first_moment(db_path: Path) -> None:
    """Start, record and end are each committed when they return."""
    with WaxellContext("agent", inputs={"q": 1}, session_id="s", user_id="u") as ctx:
        run = run_named(db_path, "agent")
        assert (run["run_id"], run["status"]) == (ctx.run_id, "running")
        assert (run["inputs"], run["session_id"], run["user_id"]) == ({"q": 1}, "s", "u")
        assert run["interaction_mode"] == "interactive"
        ctx.record_step("one")
        assert only(db_path, "steps")["step_name"] == "one"
    run = run_named(db_path, "agent")
    assert run["status"] == "success"
    assert run["completed_at"] >= run["started_at"]
    assert run["duration"] >= 0


def test_async_block_records_as_the_plain_one(db_path: Path) -> None:
    """`async with` gives the same context and the same rows."""

    async def agent() -> None:
        async with WaxellContext("agent") as ctx:
            assert get_context() is ctx
            ctx.set_tag("k", "v")
            await ctx.flush()
            assert run_named(db_path, "agent")["tags"] == {"k": "v"}
            await ctx.check_governance()
            await ctx.aflush_governance()
        assert get_context() is None

    asyncio.run(agent())
    assert run_named(db_path, "agent")["status"] == "success"


def test_tags_metadata_and_result_go_with_the_next_record(db_path: Path) -> None:
    """They are kept until a record, a flush or the end, and the last value counts."""
    given = {"from": "constructor"}
    with WaxellContext("agent", metadata=given) as ctx:
        ctx.set_tag("kind", "chat")
        ctx.set_metadata("turn", 1)
        ctx.set_metadata("turn", 2)
        ctx.set_result({"draft": 1})
        assert run_named(db_path, "agent")["tags"] is None
        ctx.record_step("one")
        run = run_named(db_path, "agent")
        assert (run["tags"], run["result"]) == ({"kind": "chat"}, {"draft": 1})
        assert run["metadata"] == {"from": "constructor", "turn": 2}
        ctx.set_tag("late", "yes")
        ctx.flush_sync()
        assert run_named(db_path, "agent")["tags"] == {"kind": "chat", "late": "yes"}
        ctx.set_result({"answer": 42})
    assert run_named(db_path, "agent")["result"] == {"answer": 42}
    assert given == {"from": "constructor"}


def test_end_user_is_kept_as_the_sdk_does(db_path: Path) -> None:
    """`end_user_id` becomes the metadata `tenant_sub_user_id`."""
    with WaxellContext("agent", end_user_id="e", user_group="g", workflow_name="w"):
        pass
    run = run_named(db_path, "agent")
    assert run["metadata"] == {"tenant_sub_user_id": "e"}
    assert (run["user_group"], run["workflow_name"]) == ("g", "w")
    assert run["interaction_mode"] == "autonomous"


class LibraryStop(BaseException):
    """As `pytest.fail` raises one: it is no `Exception`, and says that something failed."""


class OddCode:
    """An exit code that must not be asked."""

    def __bool__(self) -> bool:
        raise ValueError("odd")

    __eq__ = __bool__  # type: ignore[assignment]
    __hash__ = object.__hash__


class OddExit(SystemExit):
    """One whose code must not be asked for."""

    @property
    def code(self) -> int:  # type: ignore[override]
        raise RuntimeError("odd")


# As trio has it: known by its name.
TrioStop = type("Cancelled", (BaseException,), {})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("v"), "error"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
        (SystemExit(), "cancelled"),
        (SystemExit(0), "cancelled"),
        (SystemExit(3), "error"),
        (SystemExit("bad arguments"), "error"),
        (SystemExit(False), "cancelled"),
        (SystemExit(""), "error"),
        (SystemExit([]), "error"),
        (SystemExit(OddCode()), "error"),
        (OddExit(), "cancelled"),
        (concurrent.futures.CancelledError(), "cancelled"),
        (LibraryStop(), "error"),
        (TrioStop(), "cancelled"),
        (waxlocal.PolicyViolationError("no"), "blocked"),
    ],
)
def test_exception_decides_the_status(db_path: Path, error: BaseException, status: str) -> None:
    """The exception leaves the block unchanged; status, text, type and traceback are kept."""
    with pytest.raises(type(error)) as caught, WaxellContext("agent"):
        raise error
    assert caught.value is error
    run = run_named(db_path, "agent")
    assert (run["status"], run["error_type"]) == (status, type(error).__name__)
    assert "raise error" in run["traceback"]


class _Group(BaseException):
    """As the one of Python 3.11 and the package `exceptiongroup` before have it."""

    def __init__(self, message: str, exceptions: Sequence[BaseException]) -> None:
        super().__init__(message)
        self.exceptions = exceptions


_Group.__name__ = "BaseExceptionGroup"


def test_a_group_is_a_stop_if_all_in_it_are(db_path: Path) -> None:
    """A task group that was cancelled while one of its tasks failed has failed."""
    stop, failure = asyncio.CancelledError(), ValueError("db down")
    group: Any = getattr(builtins, "BaseExceptionGroup", _Group)
    for inside in ([stop], [stop, failure], [stop, group("more", [stop])]):
        with pytest.raises(group), WaxellContext("agent"):
            raise group("several", inside)
    assert [run["status"] for run in rows(db_path, "runs")] == ["cancelled", "error", "cancelled"]


def test_exception_that_cannot_be_printed_is_recorded(db_path: Path) -> None:
    """A broken `__str__` of the program's exception does not replace that exception."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not text")

    with pytest.raises(Broken), WaxellContext("agent"):
        raise Broken
    assert run_named(db_path, "agent")["error"] == "<unprintable Broken>"


# Sessions, users, lineage.


def test_child_takes_session_user_and_trace_from_its_parent(db_path: Path) -> None:
    """What a nested run does not name comes from the run around it; lineage is by workflow id."""
    with WaxellContext("root", session_id="s", user_id="u", user_group="g"):  # noqa: SIM117
        with WaxellContext("child"), WaxellContext("leaf", user_id="other"):
            pass
    root, child, leaf = rows(db_path, "runs")
    assert (child["session_id"], child["user_id"]) == ("s", "u")
    assert (leaf["session_id"], leaf["user_id"]) == ("s", "other")
    assert child["parent_workflow_id"] == child["root_workflow_id"] == root["workflow_id"]
    assert leaf["parent_workflow_id"] == child["workflow_id"]
    assert leaf["root_workflow_id"] == root["workflow_id"]
    assert root["trace_id"] == child["trace_id"] == leaf["trace_id"]
    assert root["parent_workflow_id"] is root["root_workflow_id"] is None


def test_runs_one_after_the_other_are_not_related(db_path: Path) -> None:
    """A run that has ended is nobody's parent, and each has its own trace."""
    for name in ("first", "second"):
        with WaxellContext(name, session_id="s"):
            pass
    first, second = rows(db_path, "runs")
    assert second["parent_workflow_id"] is None
    assert first["trace_id"] != second["trace_id"]


def named(path: Path) -> dict[str, tuple[str | None, str | None]]:
    return {r["agent_name"]: (r["session_id"], r["user_id"]) for r in rows(path, "runs")}


def test_session_block_gives_session_and_user(db_path: Path) -> None:
    """Explicit beats the block, an inner block the outer one; an empty block changes nothing."""
    with waxlocal.session("S", "U") as given:
        assert given is None
        with WaxellContext("plain"):
            pass
        with WaxellContext("explicit", session_id="X", user_id="Y"):
            pass
        with waxlocal.session("T"), WaxellContext("inner"):
            pass
        with waxlocal.session(user_id="V"), WaxellContext("user_only"):
            pass
        with waxlocal.session(), WaxellContext("empty"):
            pass
    with WaxellContext("after"):
        pass
    assert named(db_path) == {
        "plain": ("S", "U"),
        "explicit": ("X", "Y"),
        "inner": ("T", "U"),
        "user_only": ("S", "V"),
        "empty": ("S", "U"),
        "after": (None, None),
    }


def test_nearest_of_block_and_run_decides(db_path: Path) -> None:
    """A block inside a run beats the run; a run inside a block beats the block."""
    with WaxellContext("outer", session_id="run", user_id="u"):
        with waxlocal.session("block"), WaxellContext("in_block"):
            pass
        with WaxellContext("in_run"):
            pass
    with waxlocal.session("block", "bu"):  # noqa: SIM117
        with WaxellContext("named", session_id="run"), WaxellContext("in_named"):
            pass
    found = named(db_path)
    assert found["in_block"] == ("block", "u")
    assert found["in_run"] == ("run", "u")
    assert found["in_named"] == ("run", "bu")


def test_session_block_left_in_another_context_raises_nothing() -> None:
    """Frameworks close generators elsewhere than they opened them."""
    import contextvars

    block = waxlocal.session("s")
    contextvars.copy_context().run(block.__enter__)
    assert block.__exit__(None, None, None) is not True
    assert waxlocal.sdk.scope.current_scope.get() is None


def test_run_in_another_thread_is_unrelated(db_path: Path) -> None:
    """Threads begin outside everything: an open run elsewhere is never a parent."""

    def work() -> None:
        with WaxellContext("thread"):
            pass

    with WaxellContext("main", session_id="s", user_id="u"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not [name for name in os.environ if name.startswith("WAXELL_PARENT")]
    run = run_named(db_path, "thread")
    assert (run["parent_workflow_id"], run["session_id"], run["user_id"]) == (None, None, None)
    assert run["trace_id"] != run_named(db_path, "main")["trace_id"]


def test_concurrent_tasks_have_the_parent_they_were_created_in(db_path: Path) -> None:
    """Each asyncio task is inside the run that created it, and not inside its siblings."""

    async def worker(name: str) -> None:
        async with WaxellContext(name):
            await asyncio.sleep(0.01)
            async with WaxellContext(f"{name}.child"):
                await asyncio.sleep(0)

    async def agent() -> None:
        async with WaxellContext("root", session_id="s"):
            await asyncio.gather(worker("a"), worker("b"))

    asyncio.run(agent())
    found = {run["agent_name"]: run for run in rows(db_path, "runs")}
    for name in ("a", "b"):
        assert found[name]["parent_workflow_id"] == found["root"]["workflow_id"]
        assert found[f"{name}.child"]["parent_workflow_id"] == found[name]["workflow_id"]


def test_run_left_in_another_context_does_not_stay_current(db_path: Path) -> None:
    """Entered in a copied context and left outside it, the run ends and raises nothing."""
    import contextvars

    ctx = WaxellContext("agent")
    inside = contextvars.copy_context()
    inside.run(ctx.__enter__)
    ctx.__exit__(None, None, None)
    assert get_context() is None
    assert run_named(db_path, "agent")["status"] == "success"


# Arguments.


@pytest.mark.parametrize(
    "arguments",
    [
        {"agent_name": None},
        {"agent_name": "a", "workflow_name": None},
        {"agent_name": "a", "session_id": None},
        {"agent_name": "a", "user_id": 7},
        {"agent_name": "a", "user_group": None},
        {"agent_name": "a", "end_user_id": None},
        {"agent_name": "a", "inputs": ["x"]},
        {"agent_name": "a", "metadata": "x"},
        {"agent_name": "a", "interaction_mode": 3},
    ],
    ids=str,
)
def test_constructor_refuses_wrong_types(arguments: dict[str, Any]) -> None:
    """The types that the SDK's compiled module refuses are refused here."""
    with pytest.raises(TypeError):
        WaxellContext(**arguments)


CALL: dict[str, Any] = {"model": "m", "tokens_in": 1, "tokens_out": 1}
WRONG: list[Callable[[WaxellContext], object]] = [
    lambda c: c.record_llm_call(**{**CALL, "model": None}),
    lambda c: c.record_llm_call(**{**CALL, "tokens_in": "1"}),
    lambda c: c.record_llm_call(**{**CALL, "tokens_out": None}),
    lambda c: c.record_llm_call(**CALL, task=None),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, provider=None),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, status=None),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, cost=""),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, duration_ms="x"),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, prompt_preview=[1]),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, full_response=3),  # type: ignore[arg-type]
    lambda c: c.record_llm_call(**CALL, error_type=None),  # type: ignore[arg-type]
    lambda c: c.record_step(3),  # type: ignore[arg-type]
    lambda c: c.record_step("s", "text"),  # type: ignore[arg-type]
    lambda c: c.record_score("n", None),  # type: ignore[arg-type]
    lambda c: c.record_score("n", 1, None),  # type: ignore[arg-type]
    lambda c: c.record_score("n", 1, comment=None),  # type: ignore[arg-type]
    lambda c: c.record_tool_call(name=3),  # type: ignore[arg-type]
    lambda c: c.record_retrieval(query="q", documents=None),  # type: ignore[arg-type]
    lambda c: c.record_retrieval(query="q", documents=[], duration_ms="x"),  # type: ignore[arg-type]
    lambda c: c.record_decision(name="n", options=None, chosen="a"),  # type: ignore[arg-type]
    lambda c: c.record_decision(name="n", options=[], chosen="a", confidence="x"),  # type: ignore[arg-type]
    lambda c: c.record_reasoning(step="s", thought=None),  # type: ignore[arg-type]
    lambda c: c.record_retry(attempt="1", reason="r"),  # type: ignore[arg-type]
    lambda c: c.record_user_message(None),  # type: ignore[arg-type]
    lambda c: c.record_user_message(message=3),  # type: ignore[arg-type]
    lambda c: c.record_bias_flag(flag=3),  # type: ignore[arg-type]
    lambda c: c.set_tag("k", 1),  # type: ignore[arg-type]
    lambda c: c.set_metadata(1, 1),  # type: ignore[arg-type]
    lambda c: c.set_result("x"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", WRONG)
def test_records_refuse_wrong_types(
    db_path: Path, recorder: Recorder, call: Callable[[WaxellContext], object]
) -> None:
    """A wrong type is a `TypeError` to the caller, leaves no row, and loses nothing else."""
    with WaxellContext("agent") as ctx, pytest.raises(TypeError):
        call(ctx)
    for table in ("llm_calls", "steps", "scores", "spans", "events"):
        assert rows(db_path, table) == []
    assert run_named(db_path, "agent")["status"] == "success"
    assert recorder.store.backlog.lost == 0


def test_float_tokens_and_times_are_cut(db_path: Path) -> None:
    """The SDK cuts a float count to an int; a negative one is kept as it is."""
    with WaxellContext("agent") as ctx:
        ctx.record_llm_call(
            model="m",
            tokens_in=10.9,  # type: ignore[arg-type]
            tokens_out=-1,
            duration_ms=12.7,  # type: ignore[arg-type]
            ttft_ms=3.2,  # type: ignore[arg-type]
        )
    call = only(db_path, "llm_calls")
    assert (call["tokens_in"], call["tokens_out"]) == (10, -1)
    assert (call["duration_ms"], call["ttft_ms"]) == (12, 3)


@pytest.mark.usefixtures("nothing_there")
def test_a_context_that_is_not_entered_makes_no_file(db_path: Path) -> None:
    """Its records wait for a beginning that never comes; nothing is raised."""
    ctx = WaxellContext("agent")
    assert ctx.run_id == ""
    exercise(ctx)
    assert not db_path.exists()


def exercise(ctx: WaxellContext) -> None:
    """Call what programs call most."""
    ctx.set_tag("k", "v")
    ctx.set_metadata("k", 1)
    ctx.set_result({"r": 1})
    ctx.record_llm_call(model="m", tokens_in=1, tokens_out=1)
    ctx.record_step("s")
    ctx.record_score("n", 1.0)
    ctx.record_tool_call(name="t")
    ctx.record_decision(name="d", options=["a"], chosen="a", confidence=0.5)
    ctx.record_user_message("hello")
    ctx.exit_span(ctx.enter_span("x"))
    ctx.exit_span(None)
    with ctx.human_turn("?") as turn:
        turn.set_response("!")
    with ctx.pause():
        pass
    ctx.request_stop("enough")
    assert ctx.check_policy_sync().allowed
    ctx.flush_sync()


@pytest.mark.usefixtures("nothing_there")
def test_switched_off_nothing_is_recorded(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`WAXELL_OBSERVE=false`: runs have no id, decorators and the client work, no file appears."""
    monkeypatch.setenv("WAXELL_OBSERVE", "false")
    monkeypatch.setenv("WAXLOCAL_DB", str(db_path))
    waxlocal.recording.recorder.use_recorder(None)
    client = waxlocal.WaxellObserveClient()

    @waxlocal.observe()
    def go(waxell_ctx: WaxellContext | None = None) -> int:
        assert waxell_ctx is not None
        exercise(waxell_ctx)
        return 1

    with WaxellContext("agent") as ctx:
        assert (ctx.run_id, get_context()) == ("", ctx)
        exercise(ctx)
        assert go() == 1
    run = client.start_run_sync(agent_name="a")
    assert (run.run_id, client.start_daily_run_sync(agent_slug="a").run_id) == ("", "")
    client.record_llm_calls_sync(run_id=run.run_id, calls=[{"model": "m"}])
    client.record_events_sync(events=[{"event": "e"}])
    assert client.complete_run_sync(run_id=run.run_id).governance_action == "allow"
    waxlocal.shutdown()
    assert not db_path.exists()


def test_stopping_is_asked_for_and_seen() -> None:
    """`request_stop` is seen by `should_stop` and `stop_reason`."""
    with WaxellContext("agent") as ctx:
        assert (ctx.should_stop(), ctx.stop_reason) == (False, "")
        ctx.request_stop("enough")
        assert (ctx.should_stop(), ctx.stop_reason) == (True, "enough")


def test_policies_allow_and_have_no_feedback() -> None:
    """Nothing is asked, so nothing is refused."""
    with WaxellContext("agent") as ctx:
        answer = ctx.check_policy_sync()
        assert (answer.action, answer.allowed, answer.blocked) == ("allow", True, False)
        assert asyncio.run(ctx.check_policy()) == answer
        assert (ctx.take_feedback(), ctx.feedback_text()) == ([], "")


def test_conversation_counts_follow_the_messages() -> None:
    """Turns and messages are counted as they are recorded, or set at once."""
    with WaxellContext("agent") as ctx:
        assert (ctx.conversation_turns, ctx.message_count, ctx.context_utilization) == (0, 0, 0.0)
        ctx.record_user_message("hi")
        ctx.record_agent_response("yo")
        assert (ctx.conversation_turns, ctx.message_count) == (1, 2)
        ctx.update_conversation_state(user_turns=4, message_count=9, context_utilization_pct=12.5)
        assert (ctx.conversation_turns, ctx.message_count, ctx.context_utilization) == (4, 9, 12.5)
