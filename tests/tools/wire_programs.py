"""The programs behind the captures of `data/captures`, for whichever module has the SDK's names.

Each takes the module. The captures are older than these programs, which were told from them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["OPEN_AT_EXIT", "OPEN_WHEN_KILLED", "PROGRAMS", "Sdk", "program"]

Sdk = Any
PROGRAMS: dict[str, Callable[[Sdk], None]] = {}

# Never leave the block: one ends by itself, the other waits to be killed.
OPEN_AT_EXIT = """
from waxlocal import WaxellContext
ctx = WaxellContext(agent_name="left-open")
ctx.__enter__()
ctx.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, cost=1.25e-05)
ctx.record_score("x", 1)
"""
OPEN_WHEN_KILLED = """
import sys
from waxlocal import WaxellContext
with WaxellContext(agent_name="sigterm") as ctx:
    ctx.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, cost=1.25e-05)
    print("recorded", flush=True)
    sys.stdin.read()
"""


def program(function: Callable[[Sdk], None]) -> Callable[[Sdk], None]:
    """Add a program under its name, which is that of its capture."""
    PROGRAMS[function.__name__] = function
    return function


@program
def s01_chatbot(w: Sdk) -> None:
    async def chat() -> None:
        turns = (
            ("What is Waxell?", 102, "answer 2"),
            ("How does it handle governance?", 104, "answer 4"),
            ("Can you give me an example?", 106, "answer 6"),
        )
        for number, (message, tokens_in, answer) in enumerate(turns, 1):
            async with w.WaxellContext(
                agent_name="chatbot",
                session_id="sess_0df3c8f403ad8abce0643365",
                user_id="user_alice",
                inputs={"message": message},
            ) as ctx:
                ctx.set_tag("channel", "web")
                ctx.set_metadata("turn_number", number)
                ctx.record_llm_call(
                    model="gpt-4o", tokens_in=tokens_in, tokens_out=20, task="chat_response"
                )
                ctx.set_result({"response": answer})

    asyncio.run(chat())


@program
def s02_plain_with(w: Sdk) -> None:
    with w.WaxellContext(
        agent_name="plain",
        inputs={"q": 1},
        metadata={"m": "v"},
        session_id="my own id: any/string ✓",
        user_id="u1",
        user_group="g1",
        end_user_id="eu1",
    ) as ctx:
        ctx.record_llm_call(
            model="gpt-4o",
            tokens_in=1000,
            tokens_out=500,
            task="t",
            prompt_preview="pp",
            response_preview="rp",
            duration_ms=12,
        )
        ctx.set_result({"ok": True})


@program
def s03_minimal_step1(w: Sdk) -> None:
    with w.WaxellContext(
        agent_name="chatbot", session_id="sess_0df3caf70baeb47305985c5f", user_id="user_alice"
    ):
        pass


@program
def s04_decorator_fixed(w: Sdk) -> None:
    @w.observe(agent_name="chatbot", session_id="sess_0df3cbd94537439a4f5b4131")
    def chat(message: str, waxell_ctx: Any = None) -> str:
        waxell_ctx.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50)
        return f"reply to {message}"

    chat("hello")
    chat("second")


@program
def s05_decorator_calltime(w: Sdk) -> None:
    @w.observe(agent_name="dyn")
    def dyn(message: str) -> str:
        return message.upper()

    @w.observe(agent_name="dyn-sync")
    def dyn_sync(message: str, waxell_ctx: Any = None) -> dict[str, str]:
        waxell_ctx.record_score("helpfulness", 0.9)
        return {"m": message}

    @w.observe(agent_name="declares")
    def declares(message: str, session_id: str) -> list[str]:
        return [message, session_id]

    dyn(
        "a",
        session_id="S-1",
        user_id="U-1",
        user_group="G-1",
        workflow_name="wf2",
        metadata={"call": 1},
    )
    dyn_sync("b", session_id="S-2", user_id="U-2", enforce_policy=False)
    declares("c", session_id="declared")


@program
def s06_exception(w: Sdk) -> None:
    with contextlib.suppress(ValueError), w.WaxellContext(agent_name="boom") as ctx:
        ctx.record_llm_call(model="gpt-4o-mini", tokens_in=1, tokens_out=2)
        raise ValueError("kaput")

    async def fail() -> None:
        async with w.WaxellContext(agent_name="boom-async"):
            raise KeyError("k")

    with contextlib.suppress(KeyError):
        asyncio.run(fail())

    @w.observe(agent_name="boom-dec")
    def fail_too() -> None:
        raise RuntimeError("dec")

    with contextlib.suppress(RuntimeError):
        fail_too()


@program
def s07_nested(w: Sdk) -> None:
    with w.WaxellContext(agent_name="parent", session_id="S-nest", user_id="U-nest") as parent:
        with w.WaxellContext(agent_name="child") as child:
            with w.WaxellContext(agent_name="grandchild", session_id="S-other") as grandchild:
                grandchild.record_llm_call(model="gpt-4o", tokens_in=10, tokens_out=5)
            child.record_llm_call(model="gpt-4o", tokens_in=20, tokens_out=5)
        parent.set_result({"done": 1})

    @w.observe(agent_name="sub")
    async def sub(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @w.observe(agent_name="top")
    async def top(x: int) -> Any:
        return await sub(x)

    async def gather() -> None:
        await top(1)
        async with w.WaxellContext(agent_name="gather-parent"):
            await asyncio.gather(sub(1), sub(2))

    asyncio.run(gather())


@program
def s08_session_cm(w: Sdk) -> None:
    with w.session(session_id="S-scope", user_id="U-scope"):
        with w.WaxellContext(agent_name="in-scope") as ctx:
            ctx.set_result({"a": 1})
        with w.WaxellContext(agent_name="in-scope-explicit", session_id="explicit"):
            pass
    with w.session(), w.WaxellContext(agent_name="auto-scope"):
        pass
    with w.WaxellContext(agent_name="out-of-scope"):
        pass


@program
def s09_scores(w: Sdk) -> None:
    with w.WaxellContext(agent_name="scores") as ctx:
        ctx.record_score("num", 0.85)
        ctx.record_score("int", 1)
        ctx.record_score("bool", True, "boolean", "c1")
        ctx.record_score("boolf", False, "boolean")
        ctx.record_score("cat", "good", "categorical", "c2")
        ctx.record_score("strnum", "0.5")
        ctx.record_score("boolasnum", True)
        ctx.record_score("weird", 1.5, "weird")


@program
def s10_records(w: Sdk) -> None:
    with w.WaxellContext(agent_name="records", inputs={"q": "x"}) as ctx:
        ctx.record_tool_call(name="search", input={"q": "x"}, output={"hits": 3}, duration_ms=12)
        ctx.record_tool_call(name="bad", input="i", status="error", tool_type="api", error="oops")
        ctx.record_retrieval(
            query="q",
            documents=[{"id": "d1", "title": "T", "score": 0.9}, {"id": "d2"}],
            source="faiss",
            duration_ms=5,
            top_k=2,
            scores=[0.9, 0.4],
        )
        ctx.record_decision(
            name="route",
            options=["a", "b"],
            chosen="a",
            reasoning="because",
            confidence=0.7,
            metadata={"k": 1},
        )
        ctx.record_reasoning(step="think", thought="hmm", evidence=["e1"], conclusion="c")
        ctx.record_step("step1", {"n": 1})
        ctx.record_step("step2")
        ctx.record_retry(
            attempt=2,
            reason="rate",
            strategy="fallback",
            original_error="429",
            fallback_to="gpt-4o-mini",
            max_attempts=3,
        )
        ctx.record_user_message("hi")
        ctx.record_agent_response("hello")
        ctx.record_llm_call(
            model="gpt-4o", tokens_in=1000, tokens_out=500, cost=0.5, task="explicit cost"
        )
        ctx.record_llm_call(model="nope-1", tokens_in=10, tokens_out=5)
        ctx.record_llm_call(
            model="gpt-4o-mini",
            tokens_in=1000,
            tokens_out=500,
            status="error",
            error_type="X",
            error_message="m",
            is_streaming=True,
            ttft_ms=30,
            chunk_count=9,
            config={"temperature": 0},
            full_messages=[{"role": "user", "content": "z"}],
            full_response="fr",
        )
        ctx.record_human_interaction("ok?", "y", elapsed_ms=10)
        ctx.record_grounding(grounding_scores=[0.5])
        ctx.record_data_access(source="db", records=2)
        ctx.record_communication(channel="slack", recipient="r", body="b")
        ctx.record_approval_request(action_type="del", approvers=["a"])
        ctx.record_approval_response(action_type="del", decision="approved", approver="a")
        told = {"waxell.phase": "gather", "legs": 3}
        phase = ctx.enter_span("phase:gather", kind="chain", attributes=told)
        ctx.exit_span(phase, output_data={"phase": "gather", "state": "done"})
        custom = ctx.enter_span("custom", attributes={"a": 1}, input_data={"i": 1})
        ctx.exit_span(custom, output_data={"o": 1})
        ctx.set_result({"ok": 1})


@program
def s13_lowlevel_client(w: Sdk) -> None:
    client = w.WaxellObserveClient()
    run = client.start_run_sync(agent_name="ll")
    calls = [{"model": "gpt-4o", "tokens_in": 1, "tokens_out": 2}]
    client.record_llm_calls_sync(run_id=run.run_id, calls=calls)
    steps = [{"step_name": "s", "output": {}, "position": 1}]
    client.record_steps_sync(run_id=run.run_id, steps=steps)
    client.record_spans_sync(run_id=run.run_id, spans=[{"name": "x", "kind": "tool"}])
    client.complete_run_sync(run_id=run.run_id, result={"a": 1})


@program
def s14_init_traced(w: Sdk) -> None:
    with w.WaxellContext(agent_name="traced", inputs={"q": "x"}, session_id="S-t") as ctx:
        ctx.record_tool_call(name="search", input={"q": "x"}, output={"hits": 3}, duration_ms=12)
        ctx.record_step("s", {"a": 1})
        ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=500, task="t")
        with w.WaxellContext(agent_name="traced-child") as child:
            child.record_llm_call(model="gpt-4o-mini", tokens_in=10, tokens_out=5)
        ctx.record_score("q", 0.5)
        ctx.set_result({"ok": 1})
