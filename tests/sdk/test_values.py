"""What is recorded is the value as it was at the call, whatever becomes of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.sdk_rows import only, run_named
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings

pytestmark = pytest.mark.usefixtures("recorder")

GIVEN = {"list": [1, {"deep": "before"}]}


def changeable() -> dict[str, Any]:
    return {"list": [1, {"deep": "before"}]}


def change(value: dict[str, Any]) -> None:
    value["list"][1]["deep"] = "after"
    value["list"].append(object())
    value["more"] = "after"


@pytest.mark.parametrize("between", ["nothing", "record", "flush"])
def test_result_and_metadata_are_kept_as_they_were_set(db_path: Path, between: str) -> None:
    """Whether or not a record or a flush came between the call and the change."""
    result, value, given, inputs = (changeable() for _ in range(4))
    ctx = WaxellContext("agent", inputs=inputs, metadata=given)
    change(inputs)
    change(given)
    with ctx:
        ctx.set_result(result)
        ctx.set_metadata("set", value)
        if between == "record":
            ctx.record_step("step")
        elif between == "flush":
            ctx.flush_sync()
        change(result)
        change(value)
        ctx.record_step("step")
    run = run_named(db_path, "agent")
    assert (run["inputs"], run["result"]) == (GIVEN, GIVEN)
    assert run["metadata"] == {**GIVEN, "set": GIVEN}


def test_result_set_by_a_task_is_kept_as_it_was(db_path: Path) -> None:
    """The same in async code, by `flush()` and by the decorator."""
    answers = []

    @waxlocal.observe(agent_name="decorated")
    async def agent() -> dict[str, Any]:
        answers.append(changeable())
        return answers[-1]

    async def go() -> None:
        async with WaxellContext("outer") as ctx:
            value = changeable()
            ctx.set_result(value)
            change(value)
            await ctx.flush()
            change(await agent())

    asyncio.run(go())
    assert run_named(db_path, "outer")["result"] == GIVEN
    assert run_named(db_path, "decorated")["result"] == GIVEN


def test_arguments_are_kept_as_they_were_passed(db_path: Path) -> None:
    """What the function does with its arguments is not what it was called with."""

    @waxlocal.tool()
    @waxlocal.observe(agent_name="inner")
    def go(value: dict[str, Any]) -> None:
        change(value)

    with WaxellContext("agent"):
        go(changeable())
    assert run_named(db_path, "inner")["inputs"] == {"value": GIVEN}
    assert only(db_path, "spans")["input"] == {"value": GIVEN}


def test_generator_gave_what_it_yielded(db_path: Path) -> None:
    """A consumer that changes the items it gets does not change the result."""

    @waxlocal.observe(agent_name="plain")
    def plain() -> Iterator[dict[str, Any]]:
        yield changeable()
        yield changeable()

    @waxlocal.observe(agent_name="async")
    async def asynchronous() -> AsyncIterator[dict[str, Any]]:
        yield changeable()
        yield changeable()

    async def consume() -> None:
        async for item in asynchronous():
            change(item)

    for item in plain():
        change(item)
    asyncio.run(consume())
    for name in ("plain", "async"):
        assert run_named(db_path, name)["result"] == {"output": [GIVEN, GIVEN]}


def test_human_turn_keeps_the_metadata_it_was_opened_with(db_path: Path) -> None:
    """Its row is written when the person has answered; the question is of before."""
    metadata = changeable()
    with WaxellContext("agent") as ctx, ctx.human_turn("?", metadata=metadata) as turn:
        change(metadata)
        turn.set_response("!")
    assert only(db_path, "spans")["attributes"]["list"] == GIVEN["list"]


def test_client_keeps_values_as_they_were(db_path: Path) -> None:
    """The low-level client writes each value at once."""
    client = WaxellObserveClient()
    inputs, metadata, result, output = (changeable() for _ in range(4))
    run = client.start_run_sync(agent_name="agent", inputs=inputs, metadata=metadata)
    client.record_steps_sync(run_id=run.run_id, steps=[{"step_name": "s", "output": output}])
    for value in (inputs, metadata, output):
        change(value)
    client.complete_run_sync(run_id=run.run_id, result=result)
    change(result)
    found = run_named(db_path, "agent")
    assert (found["inputs"], found["metadata"], found["result"]) == (GIVEN, GIVEN, GIVEN)
    assert only(db_path, "steps")["output"] == GIVEN


def test_metadata_keys_meet_as_they_did(db_path: Path) -> None:
    """A key set again has its last value; odd keys and values make strict JSON."""
    with WaxellContext("agent", metadata={"a": 1, "b": 2}) as ctx:
        ctx.set_metadata("b", 3)
        ctx.set_metadata('"quoted"', None)
        ctx.set_metadata("\ud800", float("inf"))
        ctx.set_metadata("a", {"x": [1]})
    assert run_named(db_path, "agent")["metadata"] == {
        "a": {"x": [1]},
        "b": 3,
        '"quoted"': None,
        "\ufffd": {"$float": "inf"},
    }


def test_values_set_before_the_block_go_with_it(db_path: Path) -> None:
    """What is set before the block is in the file with the first record after its start."""
    ctx = WaxellContext("agent")
    value = changeable()
    ctx.set_result(value)
    ctx.set_metadata("m", value)
    ctx.set_tag("t", "v")
    change(value)
    with ctx:
        ctx.record_step("step")
        run = run_named(db_path, "agent")
        assert (run["result"], run["metadata"], run["tags"]) == (GIVEN, {"m": GIVEN}, {"t": "v"})


def test_content_switched_off_between_construction_and_start_is_not_kept(
    db_path: Path, recorder: Recorder
) -> None:
    """What counts is the recorder that the run is written by."""
    ctx = WaxellContext("agent", inputs=changeable())
    ctx.set_result(changeable())
    quiet = Recorder(Settings(db=db_path, capture_content=False))
    use_recorder(quiet)
    with ctx:
        pass
    use_recorder(recorder)
    quiet.close()
    run = run_named(db_path, "agent")
    assert (run["inputs"], run["result"]) == (None, None)


@pytest.mark.parametrize("form", ["plain", "async"])
def test_what_is_set_after_the_end_is_written_at_once(db_path: Path, form: str) -> None:
    """Result, tags, metadata and records after the block still go to its run."""

    async def asynchronous() -> WaxellContext:
        async with WaxellContext("agent", metadata={"m": 1}) as ctx:
            ctx.set_result({"draft": 1})
        return ctx

    def plain() -> WaxellContext:
        with WaxellContext("agent", metadata={"m": 1}) as ctx:
            ctx.set_result({"draft": 1})
        return ctx

    ctx = plain() if form == "plain" else asyncio.run(asynchronous())
    ctx.set_result({"answer": 1})
    assert run_named(db_path, "agent")["result"] == {"answer": 1}
    ctx.set_tag("late", "yes")
    ctx.set_metadata("late", [1])
    ctx.record_score("s", 1.0)
    ctx.record_tool_call(name="t")
    run = run_named(db_path, "agent")
    assert (run["tags"], run["metadata"]) == ({"late": "yes"}, {"m": 1, "late": [1]})
    assert (run["status"], run["result"]) == ("success", {"answer": 1})
    assert only(db_path, "scores")["run_id"] == only(db_path, "spans")["run_id"] == ctx.run_id
