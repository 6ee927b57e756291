"""A run that has ended is nobody's parent, and gives away neither session nor user."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.sdk_rows import only, rows, run_named
from waxlocal import WaxellContext, get_context

pytestmark = pytest.mark.usefixtures("recorder")

ALICE: dict[str, Any] = {"session_id": "sess_alice", "user_id": "alice"}


def owner(path: Path, agent_name: str) -> tuple[str | None, str | None, str | None]:
    """Return session, user and parent of the one run of an agent."""
    run = run_named(path, agent_name)
    return run["session_id"], run["user_id"], run["parent_workflow_id"]


def begin(agent_name: str) -> None:
    with WaxellContext(agent_name):
        pass


def begin_decorated(agent_name: str) -> None:
    waxlocal.observe(agent_name=agent_name)(lambda: None)()


async def begin_async(agent_name: str) -> None:
    async with WaxellContext(agent_name):
        pass


async def ended(path: Path, agent_name: str) -> None:
    """Let the loop's other tasks go on until the run has ended."""
    for _ in range(1_000):
        if [run for run in rows(path, "runs", agent_name=agent_name) if run["completed_at"]]:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the run of {agent_name} did not end")


async def in_context() -> AsyncIterator[int]:
    async with WaxellContext("alice", **ALICE):
        yield 1
        yield 2


async def in_plain_context() -> AsyncIterator[int]:
    with WaxellContext("alice", **ALICE):
        yield 1
        yield 2


async def in_session() -> AsyncIterator[int]:
    with waxlocal.session(**ALICE):
        begin("alice")
        try:
            yield 1
            yield 2
        finally:
            begin("closed")


@pytest.mark.parametrize("stream", [in_context, in_plain_context, in_session])
@pytest.mark.parametrize("bob", [begin, begin_decorated])
def test_stream_that_its_consumer_broke_off(
    db_path: Path, stream: Callable[[], AsyncIterator[int]], bob: Callable[[str], None]
) -> None:
    """The loop closes the generator in a task of its own; the consumer is nobody's afterwards."""

    async def consume() -> None:
        async for _ in stream():
            break
        await ended(db_path, "closed" if stream is in_session else "alice")
        # The variables still name what has ended: nothing could restore them from that task.
        assert get_context() is None
        bob("bob")
        await begin_async("bob_async")
        waxlocal.score("late", 1.0)

    asyncio.run(consume())
    assert owner(db_path, "bob") == owner(db_path, "bob_async") == (None, None, None)
    assert rows(db_path, "scores") == []
    if stream is in_session:
        assert owner(db_path, "closed") == ("sess_alice", "alice", None)


def test_interleaved_generators_end_in_any_order(db_path: Path) -> None:
    """The one that ends first takes nothing from the other, and leaves nothing behind."""

    def source(name: str) -> Iterator[int]:
        with WaxellContext(name, session_id=name, user_id=name):
            yield 1
            waxlocal.step(f"in {name}")
            yield 2

    a, b = source("a"), source("b")
    next(a), next(b)
    assert list(a) == [2]
    assert list(b) == [2]
    assert get_context() is None
    begin("after")
    assert owner(db_path, "after") == (None, None, None)
    assert {run["status"] for run in rows(db_path, "runs")} == {"success"}


def test_innermost_open_run_is_current_again(db_path: Path) -> None:
    """Runs left in the wrong order: what is recorded goes to the nearest one still open."""
    outer, inner, innermost = (WaxellContext(name) for name in ("outer", "inner", "innermost"))
    for context in (outer, inner, innermost):
        context.__enter__()
    inner.__exit__(None, None, None)
    assert get_context() is innermost
    innermost.__exit__(None, None, None)
    assert get_context() is outer
    waxlocal.score("s", 1)
    begin("child")
    outer.__exit__(None, None, None)
    assert get_context() is None
    top = run_named(db_path, "outer")
    assert only(db_path, "scores")["run_id"] == top["run_id"]
    assert owner(db_path, "child") == (None, None, top["workflow_id"])


@pytest.mark.parametrize("around", ["context", "session"])
def test_worker_task_outlives_the_request_that_made_it(db_path: Path, around: str) -> None:
    """A task made inside alice's request serves bob's later on: those runs are not alice's."""

    async def worker(jobs: asyncio.Queue[str]) -> None:
        while name := await jobs.get():
            waxlocal.score(name, 1.0)
            await begin_async(name)
            jobs.task_done()

    async def serve() -> None:
        jobs: asyncio.Queue[str] = asyncio.Queue()
        block: Any = (
            WaxellContext("request", **ALICE) if around == "context" else waxlocal.session(**ALICE)
        )
        with block:
            task = asyncio.create_task(worker(jobs))
            jobs.put_nowait("alices")
            await jobs.join()
        jobs.put_nowait("bobs")
        await jobs.join()
        jobs.put_nowait("")
        await task

    asyncio.run(serve())
    parents = [run["workflow_id"] for run in rows(db_path, "runs", agent_name="request")]
    assert owner(db_path, "alices") == ("sess_alice", "alice", *(parents or [None]))
    assert owner(db_path, "bobs") == (None, None, None)
    assert [s["name"] for s in rows(db_path, "scores")] == ["alices"] * len(parents)


def test_blocks_and_runs_in_each_other(db_path: Path) -> None:
    """The nearest that is open decides, whatever of the ones around it has ended."""
    outer_block = waxlocal.session("outer", "u")
    outer_block.__enter__()
    with WaxellContext("run", session_id="run"), waxlocal.session(user_id="inner"):
        begin("nearest")
        outer_block.__exit__(None, None, None)
        begin("outer_ended")
    with waxlocal.session(user_id="next"):
        begin("after")
    assert owner(db_path, "nearest")[:2] == ("run", "inner")
    assert owner(db_path, "outer_ended")[:2] == ("run", "inner")
    assert owner(db_path, "after") == (None, "next", None)


def test_block_inside_a_run_that_ended_goes_on_around_later_runs(db_path: Path) -> None:
    """A block is as near as what is left of what was around it."""
    outer = WaxellContext("outer", session_id="outer")
    inner = WaxellContext("inner", session_id="inner")
    outer.__enter__()
    inner.__enter__()
    with waxlocal.session("block"):
        inner.__exit__(None, None, None)
        begin("child")
    outer.__exit__(None, None, None)
    assert owner(db_path, "child") == ("block", None, run_named(db_path, "outer")["workflow_id"])


def test_ended_span_holds_nothing_more(db_path: Path) -> None:
    """Spans that end in the wrong order, or in another context, take in nothing afterwards."""
    with WaxellContext("agent") as ctx:
        first = ctx.enter_span("first")
        second = ctx.enter_span("second")
        ctx.exit_span(first)
        ctx.record_tool_call(name="in second")
        ctx.exit_span(second)
        ctx.record_tool_call(name="outside")
        third = ctx.enter_span("third")
        contextvars.copy_context().run(ctx.exit_span, third)
        ctx.record_tool_call(name="after")
    spans = {span["name"]: span for span in rows(db_path, "spans")}
    assert spans["second"]["parent_position"] == spans["first"]["position"]
    assert spans["in second"]["parent_position"] == spans["second"]["position"]
    assert spans["outside"]["parent_position"] is spans["after"]["parent_position"] is None


def test_span_around_a_nested_run_is_found_again(db_path: Path) -> None:
    """A run's record lies in that run's own open span, whatever other runs have opened since."""
    with WaxellContext("outer") as outer:
        span = outer.enter_span("outer span")
        with WaxellContext("inner") as inner:
            inner.enter_span("inner span")
            outer.record_tool_call(name="outer tool")
            inner.record_tool_call(name="inner tool")
        outer.exit_span(span)
    spans = {span["name"]: span for span in rows(db_path, "spans")}
    assert spans["outer tool"]["parent_position"] == spans["outer span"]["position"]
    assert spans["inner tool"]["parent_position"] == spans["inner span"]["position"]


def test_context_entered_again_begins_another_run(db_path: Path) -> None:
    """Each time with what the constructor was given, and nothing of the run before."""
    ctx = WaxellContext("agent", metadata={"m": 1}, inputs={"i": 1})
    with waxlocal.session("first", "alice"), ctx:
        ctx.set_tag("t", "first")
        ctx.set_metadata("own", 1)
        ctx.set_result({"r": 1})
        ctx.record_user_message("hi")
        ctx.request_stop("enough")
    with ctx:
        assert (ctx.should_stop(), ctx.stop_reason, ctx.message_count) == (False, "", 0)
        ctx.record_step("second")
    first, second = rows(db_path, "runs")
    assert (first["session_id"], first["tags"], first["result"]) == (
        "first",
        {"t": "first"},
        {"r": 1},
    )
    assert first["metadata"] == {"m": 1, "own": 1}
    assert (second["session_id"], second["user_id"], second["tags"]) == (None, None, None)
    assert (second["metadata"], second["inputs"], second["result"]) == ({"m": 1}, {"i": 1}, None)
    assert (second["parent_workflow_id"], second["status"]) == (None, "success")
    assert only(db_path, "steps")["run_id"] == second["run_id"]


def test_context_entered_while_it_is_open_goes_on(db_path: Path) -> None:
    """One run, which ends with the last block that is left; also from two tasks."""

    async def half(ctx: WaxellContext, name: str) -> None:
        async with ctx:
            ctx.record_step(name)
            await asyncio.sleep(0)
            assert run_named(db_path, "shared")["status"] == "running"

    async def both() -> None:
        ctx = WaxellContext("shared")
        await asyncio.gather(half(ctx, "a"), half(ctx, "b"))

    ctx = WaxellContext("nested")
    with ctx:
        with ctx as same:
            assert same is ctx
        assert get_context() is ctx
        assert run_named(db_path, "nested")["status"] == "running"
        begin("child")
    asyncio.run(both())
    found = {run["agent_name"]: run for run in rows(db_path, "runs")}
    assert {run["status"] for run in found.values()} == {"success"}
    assert found["child"]["parent_workflow_id"] == found["nested"]["workflow_id"]
    assert {s["run_id"] for s in rows(db_path, "steps")} == {found["shared"]["run_id"]}


@pytest.mark.parametrize("wrong", [3, ["s"], object()])
@pytest.mark.parametrize("name", ["session_id", "user_id"])
def test_session_refuses_ids_that_are_not_text(name: str, wrong: Any) -> None:
    """As the contexts do."""
    with pytest.raises(TypeError, match=name), waxlocal.session(**{name: wrong}):
        pass
