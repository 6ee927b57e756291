"""Programs as people write them for the SDK; PACKAGE is whose names they import."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "PROGRAMS", "STREAMING"]

SYNC = """
from PACKAGE import WaxellContext

with WaxellContext(
    "sync", "greeting", inputs={"q": "hi"}, session_id="S", user_id="U", user_group="G"
) as ctx:
    ctx.record_user_message("hi")
    ctx.record_llm_call(
        model="gpt-4o", provider="openai", tokens_in=1000, tokens_out=500, task="answer",
        prompt_preview="pp", response_preview="rr", duration_ms=12, ttft_ms=3, is_streaming=True,
        chunk_count=4, framework="fw", prompt_hash="ph", config={"temperature": 0},
        prompt_variables={"a": 1}, full_messages=[{"role": "user", "content": "x"}],
        full_response="fr",
    )
    ctx.record_agent_response("hello")
    ctx.record_user_message("again")
    ctx.record_llm_call(model="nope-1", provider="nobody", tokens_in=10, tokens_out=5)
    ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=1, tokens_out=1, cost=0.5)
    ctx.record_llm_call(
        model="gpt-4o-mini", provider="openai", tokens_in=1000, tokens_out=500,
        status="error", error_type="RateLimit", error_message="slow down",
    )
    ctx.record_agent_response("bye")
    ctx.record_step("plan", {"n": 1}, kind="tool", attributes={"z": 1})
    ctx.record_step("tool:mine")
    ctx.record_tool_call(name="search", input={"q": "x"}, output={"hits": 3}, duration_ms=12)
    ctx.record_tool_call(name="bad", input="i", status="error", tool_type="api", error="oops")
    ctx.record_retrieval(
        query="q", documents=[{"id": "d1"}, {"id": "d2"}], source="faiss", duration_ms=5,
        top_k=2, scores=[0.9, 0.4],
    )
    ctx.record_decision(name="route", options=["a", "b"], chosen="a", metadata={"k": 1})
    ctx.record_reasoning(step="think", thought="hmm", evidence=["e"], conclusion="c")
    ctx.record_retry(
        attempt=2, reason="rate", strategy="fallback", original_error="429", fallback_to="x",
        max_attempts=3,
    )
    ctx.record_human_interaction("ok?", "y", elapsed_ms=10)
    ctx.record_communication(channel="slack", recipient="r", body="b")
    ctx.record_code_execution(language="py", code="1", output="o", execution_time=0.5)
    ctx.record_prompt_use(name="p", version=2)
    handle = ctx.enter_span("outer", attributes={"k": 1}, input_data={"i": 1})
    ctx.record_tool_call(name="inner", input={"q": 1}, output="text", duration_ms=5)
    ctx.exit_span(handle, output_data={"o": 1})
    ctx.set_result({"done": True})
"""

ASYNC = """
import asyncio

from PACKAGE import WaxellContext


async def turn(n):
    async with WaxellContext("turn", session_id="S", inputs={"n": n}) as ctx:
        ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=n, tokens_out=1)
        ctx.record_step("one")
        ctx.record_step("two", {"n": n})
        ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=n, tokens_out=2)
        await ctx.flush()
        ctx.record_tool_call(name="search", output={"hits": n})
        ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=n, tokens_out=1)
        ctx.record_score("quality", 0.5)
        ctx.set_result({"n": n})


async def main():
    for n in range(1, 4):
        await turn(n)


asyncio.run(main())
"""

DECORATED = """
import asyncio

from PACKAGE import observe, waxell_agent


@waxell_agent(agent_name="chat", session_id="S")
async def chat(message: str, waxell_ctx=None) -> str:
    waxell_ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=100, tokens_out=50)
    waxell_ctx.record_step("plan", {"n": 1})
    return f"About: {message}"


@observe(agent_name="plain", workflow_name="w")
def plain(n: int, waxell_ctx=None) -> dict:
    waxell_ctx.record_tool_call(name="double", input={"n": n}, output={"n": 2 * n})
    return {"n": 2 * n}


asyncio.run(chat("one"))
plain(2)
"""

NESTED = """
import threading

from PACKAGE import WaxellContext, session


def call(ctx, tokens):
    ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=tokens, tokens_out=5)


with session("S", user_id="U"):
    with WaxellContext("parent") as parent:
        call(parent, 1)
        with WaxellContext("child") as child:
            call(child, 2)
            with WaxellContext("grandchild", session_id="other") as grandchild:
                call(grandchild, 3)
        call(parent, 4)

opened, done = threading.Event(), threading.Event()


def first():
    with WaxellContext("first", session_id="A") as ctx:
        call(ctx, 5)
        opened.set()
        done.wait()


thread = threading.Thread(target=first)
thread.start()
opened.wait()
with WaxellContext("second", session_id="B") as ctx:
    call(ctx, 6)
done.set()
thread.join()
"""

SCORES = """
from PACKAGE import WaxellContext

with WaxellContext("scores") as ctx:
    ctx.record_step("before")
    ctx.record_score("number", 0.85)
    ctx.record_score("integer", 1)
    ctx.record_score("yes", True, "boolean", comment="c1")
    ctx.record_score("no", False, "boolean")
    ctx.record_score("word", "good", "categorical", comment="c2")
    ctx.record_score("text", "0.5")
    ctx.record_score("odd", 1.5, "weird")
    ctx.record_score("nothing", float("nan"))
    ctx.record_score("endless", float("inf"))
"""

EXCEPTION = """
from PACKAGE import WaxellContext, observe

try:
    with WaxellContext("boom", session_id="S") as ctx:
        ctx.record_llm_call(model="gpt-4o-mini", provider="openai", tokens_in=1, tokens_out=2)
        raise ValueError("kaput")
except ValueError:
    pass


@observe(agent_name="decorated")
def fail():
    raise KeyError("k")


try:
    fail()
except KeyError:
    pass
"""

LOW_LEVEL = """
from PACKAGE import WaxellObserveClient

client = WaxellObserveClient()
run = client.start_run_sync(
    agent_name="low", session_id="S", user_id="U", inputs={"q": 1}
).run_id
client.record_llm_calls_sync(
    run_id=run,
    calls=[
        {"model": "gpt-4o", "tokens_in": 1, "tokens_out": 2, "provider": "openai",
         "duration_ms": 7},
        {"model": "gpt-4o", "tokens_in": 3, "tokens_out": 2, "provider": "openai"},
    ],
    conversation_state={"turn": 1},
)
client.record_steps_sync(run_id=run, steps=[{"step_name": "a", "output": {"x": 1}}])
client.record_spans_sync(
    run_id=run,
    spans=[{"name": "x", "kind": "tool", "duration_ms": 3}, {"name": "y", "kind": "llm"}],
)
client.record_scores_sync(run_id=run, scores=[{"name": "s", "numeric_value": 0.5}])
client.record_steps_sync(run_id=run, steps=[{"step_name": "b"}])
client.write_episodic_memory_sync(
    run_id=run, slot_name="m", scope_key="low:S", data={"a": 1}, memory_type="dict"
)
client.record_governance_decisions_sync(
    agent_name="low", surface="tool", decisions=[{"action": "allow"}], workflow_id=f"wf_{run}"
)
print(client.complete_run_sync(run_id=run, result={"a": 1}).governance_action)
"""

DAILY = """
from PACKAGE import WaxellObserveClient

client = WaxellObserveClient()
day = client.start_daily_run_sync(agent_slug="mail", date="2026-01-31")
print(day.date, day.created, client.start_daily_run_sync(agent_slug="mail", date=day.date).created)
client.record_events_sync(events=[{"event": "sent", "workflow_id": day.workflow_id, "n": 1}])
client.record_steps_sync(run_id=day.run_id, steps=[{"step_name": "s"}])
"""

EVENTS = """
from PACKAGE import PromptNotFoundError, WaxellContext, WaxellObserveClient

client = WaxellObserveClient()
with WaxellContext("events", session_id="S") as ctx:
    ctx.record_data_access(source="db", records=2)
    ctx.record_approval_request(action_type="del", approvers=["a"])
    ctx.record_approval_response(action_type="del", decision="approved", approver="a")
    ctx.remember_episodic(slot_name="m", data={"a": 1})
    ctx.update_conversation_state(user_turns=7, message_count=9, system_prompt_hash="h")
try:
    client.get_prompt_sync(name="greeting")
except PromptNotFoundError:
    print("not found")
print(client.prompt_guard_sync(text="hello")["passed"])
"""

# By name, programs whose rows do not depend on who recorded them.
PROGRAMS = {
    "sync": SYNC,
    "async": ASYNC,
    "decorated": DECORATED,
    "nested": NESTED,
    "scores": SCORES,
    "exception": EXCEPTION,
    "low_level": LOW_LEVEL,
    "daily": DAILY,
    "events": EVENTS,
}

# Leaves a run open: at its end, or when it is told to stop.
INTERRUPTED = """
import sys
import threading

from PACKAGE import WaxellContext

ctx = WaxellContext("left-open", session_id="S")
ctx.__enter__()
ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=1, tokens_out=1)
ctx.record_score("x", 1)
print("open", flush=True)
if "wait" in sys.argv:
    threading.Event().wait()
"""

# Shows a part of an answer, and waits for a line before it ends.
STREAMING = """
from PACKAGE import WaxellContext, WaxellObserveClient

with WaxellContext("streaming", session_id="S") as ctx:
    WaxellObserveClient().publish_partial_output(run_id=ctx.run_id, partial="Hel", chunk_count=1)
    input()
"""
