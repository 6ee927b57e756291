"""The public API as typed programs use it: checked by `mypy --strict`, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import waxlocal
from waxlocal import (
    ApprovalDecision,
    HumanTurn,
    ObserveConfig,
    PolicyCheckResult,
    PolicyViolationError,
    PromptInfo,
    PromptNotFoundError,
    RunCompleteResult,
    RunInfo,
    WaxellContext,
    WaxellObserveClient,
    generate_session_id,
)
from waxlocal.sdk.types import DailyRunInfo

# Decorated functions keep their types.


@waxlocal.observe(agent_name="agent", session_id=generate_session_id())
def plain(message: str, waxell_ctx: WaxellContext | None = None) -> int:
    return len(message)


@waxlocal.waxell_agent(agent_name="agent")
async def coroutine(message: str) -> str:
    return message


@waxlocal.observe()
def generator(n: int) -> Iterator[int]:
    yield n


@waxlocal.observe()
async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


@waxlocal.tool(name="t", tool_type="search")
@waxlocal.retry_dec(max_attempts=2, strategy="backoff", fallback_to="")
def tool(query: str) -> list[str]:
    return [query]


@waxlocal.decision(name="d", options=["a", "b"])
def decision() -> dict[str, str]:
    return {"chosen": "a"}


@waxlocal.retrieval(source="faiss")
async def retrieval(query: str) -> list[dict[str, object]]:
    return [{"id": query}]


@waxlocal.reasoning_dec("think")
def reasoning() -> str:
    return ""


@waxlocal.step_dec()
def step() -> dict[str, int]:
    return {}


async def decorated() -> None:
    assert_type(plain("m"), int)
    assert_type(await coroutine("m"), str)
    assert_type(generator(1), Iterator[int])
    assert_type(async_generator(1), AsyncIterator[int])
    assert_type(tool("q"), list[str])
    assert_type(decision(), dict[str, str])
    assert_type(await retrieval("q"), list[dict[str, object]])
    assert_type(reasoning(), str)
    assert_type(step(), dict[str, int])
    plain(3)  # type: ignore[arg-type]


# Contexts.


class OwnContext(WaxellContext):
    """A subclass stays itself in its own block."""


async def contexts() -> None:
    with WaxellContext("agent", inputs={"q": 1}, session_id="s", user_id="u") as ctx:
        assert_type(ctx, WaxellContext)
        ctx.record_llm_call(model="m", tokens_in=1, tokens_out=2, cached_tokens=1, cost=0.5)
        ctx.record_step("s", {"o": 1}, kind="chain", attributes={"a": 1})
        ctx.record_score("n", True, "boolean", comment="why")
        ctx.set_tag("k", "v")
        ctx.set_metadata("k", object())
        ctx.set_result({"r": 1})
        assert_type(ctx.run_id, str)
        assert_type(ctx.should_stop(), bool)
        assert_type(ctx.conversation_turns, int)
        assert_type(ctx.context_utilization, float)
        assert_type(ctx.check_policy_sync(), PolicyCheckResult)
        ctx.exit_span(ctx.enter_span("x"), output_data={"o": 1})
        with ctx.human_turn("?") as turn:
            assert_type(turn, HumanTurn)
            turn.set_response("!")
        ctx.record_step(3)  # type: ignore[arg-type]
        ctx.record_llm_call()  # type: ignore[call-arg]
        ctx.record_llm_call(model="m", usage={"input_tokens": 1, "output_tokens": 2})
    async with WaxellContext("agent") as ctx:
        assert_type(ctx, WaxellContext)
        await ctx.flush()
        assert_type(await ctx.check_policy(), PolicyCheckResult)
    async with OwnContext("agent") as own:
        assert_type(own, OwnContext)
    with waxlocal.context("agent") as same:
        assert_type(same, WaxellContext)
    with waxlocal.session("s", user_id="u"), waxlocal.pause("p", who=1), waxlocal.phase("p"):
        assert_type(waxlocal.get_context(), WaxellContext | None)


# The client.


async def client() -> None:
    WaxellObserveClient.configure("https://example.org", "key")
    WaxellObserveClient.reset_connection_breaker()
    assert_type(WaxellObserveClient.get_config(), ObserveConfig | None)
    client = WaxellObserveClient()
    run = await client.start_run("agent", session_id="s")
    assert_type(run, RunInfo)
    assert_type(client.start_run_sync(agent_name="agent"), RunInfo)
    assert_type(await client.record_llm_calls(run.run_id, [{"model": "m"}]), dict[str, Any])
    assert_type(await client.complete_run(run.run_id), RunCompleteResult)
    assert_type(client.complete_run_sync(run_id=run.run_id).should_retry, bool)
    assert_type(await client.start_daily_run("slug"), DailyRunInfo)
    try:
        assert_type(await client.get_prompt("greeting", label="x"), PromptInfo)
    except PromptNotFoundError as error:
        assert_type(error.status_code, int | None)
    await client.close()


# Module functions.


async def functions() -> None:
    waxlocal.init(api_key="k", db="runs.db", durability="full", capture_content=False)
    assert_type(generate_session_id(), str)
    waxlocal.tag("k", "v")
    waxlocal.metadata("k", 1)
    waxlocal.score("n", 0.5)
    waxlocal.step("s", {"o": 1})
    waxlocal.decide("n", "a", ["a"], confidence=0.5)
    assert_type(waxlocal.gate_tool("t", {"a": 1}), dict[str, int])
    assert_type(waxlocal.redact("text"), str)
    assert_type(waxlocal.diagnose(), dict[str, Any])
    assert_type(waxlocal.input("?"), str)
    assert_type(waxlocal.is_tracing_enabled(), bool)
    error = PolicyViolationError("no", PolicyCheckResult("block"))
    assert_type(waxlocal.auto_deny(error), ApprovalDecision)
    assert_type(await waxlocal.handle_policy_block(waxlocal.auto_approve, error), ApprovalDecision)
    await waxlocal.flush()
    waxlocal.shutdown()


def health() -> None:
    now = waxlocal.health()
    assert_type(now, waxlocal.Health)
    assert_type(now.ok, bool)
    assert_type(now.in_memory, int)
    assert_type(now.reason, str | None)
    assert_type(now.file, Path)


# What carries a run keeps its type.


def carried(pool: ThreadPoolExecutor, chunks: AsyncIterator[str], parts: Iterator[bytes]) -> None:
    assert_type(waxlocal.propagate(pool), Executor)
    assert_type(waxlocal.propagate(chunks), AsyncIterator[str])
    assert_type(waxlocal.propagate(parts), Iterator[bytes])
    assert_type(waxlocal.propagate(plain)("message"), int)
