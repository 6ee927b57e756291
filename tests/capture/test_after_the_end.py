"""What begins where a captured span has ended is no part of it, nor is it kept alive by that."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from opentelemetry.trace import set_span_in_context

from tests.tools.sdk_rows import queried
from waxlocal import session
from waxlocal.capture.captured_span import captured
from waxlocal.capture.provider import provider

pytestmark = pytest.mark.usefixtures("recorder")

KIND = "openinference.span.kind"
TRACER = provider().get_tracer("openinference.instrumentation.some_framework")


def _agent(user: str) -> Any:
    told = {KIND: "AGENT", "session.id": f"of {user}", "user.id": user}
    return TRACER.start_as_current_span(f"guide of {user}", attributes=told)


def _call(model: str) -> None:
    told = {KIND: "LLM", "llm.model_name": model, "llm.token_count.prompt": 5}
    with TRACER.start_as_current_span("chat", attributes=told):
        pass


def _owners(db_path: Path) -> dict[str, tuple[Any, ...]]:
    found = queried(
        db_path,
        "SELECT model, agent_name, session_id, user_id FROM llm_calls JOIN runs USING (run_id)",
    )
    return {row["model"]: (row["agent_name"], row["session_id"], row["user_id"]) for row in found}


def test_a_call_after_an_agent_that_was_left_is_nobody_elses(db_path: Path) -> None:
    """Whose generator the event loop closes, in a context of its own."""

    async def steps(over: asyncio.Event) -> AsyncIterator[int]:
        try:
            with _agent("alice"):
                _call("for alice")
                yield 1
                yield 2
        finally:
            over.set()

    async def serve() -> None:
        over = asyncio.Event()
        async for _ in steps(over):
            break
        gc.collect()
        await over.wait()
        with session("of bob", user_id="bob"):
            _call("for bob")

    asyncio.run(serve())
    owners = _owners(db_path)
    assert owners["for alice"] == ("guide of alice", "of alice", "alice")
    assert owners["for bob"] == ("auto:for bob", "of bob", "bob")


def test_a_call_of_a_task_that_outlives_its_agent_is_a_run_of_its_own(db_path: Path) -> None:
    """As after the end of a run of the program."""

    async def serve() -> None:
        over = asyncio.Event()

        async def later() -> None:
            await over.wait()
            _call("late")

        with _agent("alice"):
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        over.set()
        await task

    asyncio.run(serve())
    assert _owners(db_path) == {"late": ("auto:late", None, None)}


def test_what_was_reported_when_its_agent_was_over_is_a_part_of_it(db_path: Path) -> None:
    """It began before the agent ended, as it says."""
    with _agent("alice") as agent:
        began_ns = time.time_ns()
    told = {KIND: "LLM", "llm.model_name": "reported"}
    inside = set_span_in_context(agent)
    TRACER.start_span("chat", inside, attributes=told, start_time=began_ns).end()
    assert _owners(db_path) == {"reported": ("guide of alice", "of alice", "alice")}


def test_an_agent_that_begins_in_the_context_of_the_last_one_keeps_none_alive() -> None:
    """A job that plans its next turn goes on for weeks."""

    def turn() -> Context:
        with _agent("alice") as span:
            spans.append(ref(captured(span)))
            return copy_context()

    spans: list[Any] = []
    here = copy_context()
    for _ in range(4):
        here = here.run(turn)
    gc.collect()
    assert [found() is None for found in spans] == [True, True, True, False]
