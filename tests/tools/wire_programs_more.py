"""Programs behind more captures, of what is recorded more rarely.

Each takes the module that has the SDK's names. The captures were made by running these with the
original SDK against a server that says yes to everything.
"""

from __future__ import annotations

import contextlib

from tests.tools.wire_programs import Sdk, program

__all__: list[str] = []

LONG = "abcdefghij" * 205
MODELS = ("o1", "o3-mini", "o1x", "o4-mini", "llama3", "meta.llama", "mistral", "mixtral", "gemini")
MODELS += (
    "Claude-3",
    "gpt",
    "gpt2",
    "gpt-oss",
    "chatgpt-4o",
    "GPT-4",
    "openai/gpt-4o",
    "command-r",
)
MODELS += ("davinci", "")


@program
def x01_spans(w: Sdk) -> None:
    with w.WaxellContext(agent_name="messages") as ctx:
        ctx.record_user_message(LONG)
        ctx.record_user_message("second", metadata={"m": 1})
        ctx.record_step("between")
        ctx.record_agent_response(LONG, metadata={"x": 2})
    with w.WaxellContext(agent_name="tools") as ctx:
        ctx.record_tool_call(name="t", input="x", output="y", status="error", error="e")
        ctx.record_tool_call(name="t", input={})
        ctx.record_tool_call(name="u", status="error", output={"a": 1}, duration_ms=3)
        ctx.record_tool_call(name="comm:x", tool_type="api")
        ctx.record_tool_call(name="w", input={"a": 1}, status="weird")
    with w.WaxellContext(agent_name="retrievals") as ctx:
        ctx.record_retrieval(query="q", documents=[])
        ctx.record_retrieval(query=LONG, documents=[{"a": 1}], source="s", scores=[0.5])
        ctx.record_retrieval(query="q", documents=[{"id": n} for n in range(30)], scores=[])
        ctx.record_retrieval(query="q", documents=[{"id": 1, "metadata": {"k": 1}}], top_k=0)
    with w.WaxellContext(agent_name="thoughts") as ctx:
        ctx.record_decision(name="d", options=["a"], chosen="a")
        told = {"options": [], "chosen": "z", "reasoning": LONG, "confidence": 0.0}
        ctx.record_decision(name="d2", instrumentation_type="decorator", **told)
        told = {"options": ["a"], "chosen": "x", "confidence": 1, "metadata": {"z": 1}}
        ctx.record_decision(name="d3", **told)
        ctx.record_reasoning(step="x", thought=LONG)
        ctx.record_reasoning(step="y", thought="t", evidence=["e"], conclusion=LONG)
        ctx.record_step("end")
    with w.WaxellContext(agent_name="retries") as ctx:
        ctx.record_retry(attempt=1, reason="r")
        ctx.record_retry(
            attempt=3, reason=LONG, strategy="breaker", original_error="oe", fallback_to="f"
        )
        ctx.record_step("end")
    with w.WaxellContext(agent_name="people") as ctx:
        ctx.record_human_interaction("p", LONG)
        ctx.record_human_interaction("p", "", "slack", "approve", 12.7, {"k": 1})
        with ctx.human_turn("measured", action="act") as turn:
            turn.set_response("yes")
        ctx.record_communication(channel="email")
        ctx.record_communication(
            channel="slack", recipient="r", body=LONG, subject="s", metadata={"k": 1}
        )
    with w.WaxellContext(agent_name="backing") as ctx:
        ctx.record_grounding()
        ctx.record_grounding(
            grounding_scores=[0.1, 0.2],
            citations=["c"],
            unsupported_claims=["u"],
            output_confidence=0.5,
        )
        ctx.record_retrieval_result(relevance_score=0.5, source="s", collection="c", age_days=1)
        ctx.record_retrieval_result(relevance_score=1.0)
        ctx.record_grounding(citations=["a", "b"])
        ctx.record_score("own", 1)
    with w.WaxellContext(agent_name="code") as ctx:
        ctx.record_code_execution(language="python", code="1")
        ctx.record_code_execution(
            language="sh",
            code=LONG,
            execution_time=1.5,
            output_size_kb=2,
            output="o",
            error="e",
            paths=["/p"],
            packages=["q"],
        )
        ctx.record_code_execution(language="py", code="x", execution_time=0.004, output=LONG)


@program
def x02_memory(w: Sdk) -> None:
    with w.WaxellContext(agent_name="memory", session_id="S") as ctx:
        ctx.record_memory_write(
            memory_type="fact", content=LONG, slot_name="s", scope_key="k", data={"d": 1}
        )
        ctx.record_memory_write(memory_type="fact")
        ctx.record_memory_recall(
            query=LONG, tier="semantic", store="st", results_count=2, top_score=0.9, slot_name="sl"
        )
        ctx.record_memory_recall(query="q", results_count=3, results=[LONG, {"a": 1}, None])
        ctx.record_memory_recall()
        ctx.set_memory_state(
            memory_items=[{"a": 1}], cross_session_loaded=True, memory_item_count=3
        )
        ctx.record_step("end")
    with w.WaxellContext(agent_name="facts", session_id="S") as ctx:
        ctx.remember_episodic(slot_name="s", data={"a": LONG})
        ctx.remember_episodic(
            slot_name="s2", data=[1], scope_key="k", ttl_seconds=5, max_items=3, memory_type="x"
        )
        ctx.remember_episodic(slot_name="s3", data="txt")
        ctx.remember_semantic(slot_name="s", content=LONG)
        ctx.remember_semantic(
            slot_name="s2",
            content="c2",
            scope_key="k",
            importance=0.1,
            tags=["t"],
            fact_key="f",
            source_tool="st",
            content_embedding=[0.1, 0.2],
        )
        ctx.record_step("end")
    with w.WaxellContext(agent_name="alone") as ctx:
        ctx.remember_episodic(slot_name="s", data=5)
        ctx.set_memory_state()
    with w.WaxellContext(agent_name="pauses") as ctx:
        ctx.record_prompt_use(name="p", version=2, label="l", content_hash="h")
        ctx.record_prompt_use(name="p")
        with ctx.pause("awaiting_user", k=1):
            pass
        with ctx.pause():
            ctx.record_step("in")
        ctx.mark_resumed(from_run_id="x", payload=LONG)
        ctx.mark_resumed(payload={"a": 1})
        ctx.mark_resumed()
        ctx.record_step("end")


@program
def x03_state(w: Sdk) -> None:
    with w.WaxellContext(agent_name="touched") as ctx:
        ctx.record_data_access(source="a")
        ctx.record_data_access(source="b", operation="write", records=3)
        ctx.record_network_request(url="http://x")
        ctx.record_scope_impact(records_modified=1, files_changed=2, transaction_total=1.5)
        ctx.record_scope_impact(records_modified=1)
        ctx.record_bias_flag(flag="f")
        ctx.record_intermediate_output(output="i")
        ctx.set_output_text(text="t")
        ctx.set_privacy_context(consent_token="t", execution_region="r", data_purpose="d")
        ctx.record_step("end")
    with w.WaxellContext(agent_name="silent") as ctx:
        ctx.record_policy_check(policy_name="p", action="allow")
        ctx.record_breach_signal(signal="s", event_at="2026")
        ctx.record_erasure_request(subject_id="s", requested_at="r")
        ctx.record_domain_intent(domain_name="d", action_name="a")
        ctx.record_emitted_signal(signal_name="d")
        ctx.record_pending_action(kind="k", tool="t", args={"a": 1})
        ctx.set_prompt_name("p")
        ctx.request_stop("why")
    with w.WaxellContext(agent_name="counted") as ctx:
        ctx.update_conversation_state(
            user_turns=3,
            message_count=7,
            assistant_turns=2,
            tool_results=1,
            tokens_in_context=900,
            context_utilization_pct=12.5,
            system_prompt_hash="h",
        )
        ctx.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=2)
        ctx.record_user_message("u")
        ctx.record_agent_response("a")
        ctx.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=2)
    with w.WaxellContext(agent_name="approvals") as ctx:
        ctx.record_approval_request(
            action_type="del", approvers=["a"], timeout_minutes=5, reason="r", metadata={"k": 1}
        )
        ctx.record_approval_request(action_type="x")
        ctx.record_approval_response(
            action_type="del",
            decision="denied",
            approver="a",
            elapsed_seconds=1.5,
            metadata={"k": 1},
        )
        ctx.record_approval_response(action_type="del", decision="timeout")


@program
def x04_nested(w: Sdk) -> None:
    with (
        contextlib.suppress(ValueError),
        w.WaxellContext(agent_name="failing", inputs={"p": 1}) as ctx,
    ):
        ctx.set_result({"partial": 1})
        with w.WaxellContext(agent_name="failing-child", inputs={"i": 1}) as child:
            child.set_result({"x": 1})
            raise ValueError("inner")
    with w.WaxellContext(agent_name="catching") as ctx:
        with (
            contextlib.suppress(KeyError),
            w.WaxellContext(agent_name="first") as child,
        ):
            child.record_llm_call(model="zz", tokens_in=1, tokens_out=1, cost=4.5e-06)
            child.record_llm_call(model="zz", tokens_in=1, tokens_out=1, cost=1 / 3)
            raise KeyError("inner")
        ctx.record_step("after")
        with w.WaxellContext(agent_name="second") as child:
            child.record_step("inside")
            child.record_user_message("x")
        ctx.record_tool_call(name="t", duration_ms=1)
    with w.WaxellContext(agent_name="delegating") as ctx:
        ctx.record_delegation(delegate="manual")
        with w.WaxellContext(agent_name="delegate") as child:
            with w.WaxellContext(agent_name="below") as grandchild:
                grandchild.record_step("x")
            with w.WaxellContext(agent_name="below-too") as grandchild:
                grandchild.record_step("x")
        ctx.record_delegation(delegate="e", depth=5, approved=False, policies_inherited=False)
    with (
        contextlib.suppress(w.PolicyViolationError),
        w.WaxellContext(agent_name="blocked") as ctx,
    ):
        ctx.record_step("s")
        raise w.PolicyViolationError("no")
    with contextlib.suppress(SystemExit), w.WaxellContext(agent_name="leaving"):
        raise SystemExit(3)


@program
def x05_llm(w: Sdk) -> None:
    with w.WaxellContext(agent_name="llm") as ctx:
        ctx.record_llm_call(
            model="claude-3-5-sonnet",
            tokens_in=1,
            tokens_out=2,
            cost=0.25,
            duration_ms=0,
            framework="fw",
            prompt_hash="ph",
            prompt_variables={"v": 1},
            provider="custom",
            ttft_ms=3,
        )
        ctx.record_llm_call(
            model="gemini-1.5-pro",
            tokens_in=-1,
            tokens_out=0,
            cost=0.25,
            is_streaming=True,
            full_messages=[],
            full_response="",
        )
        ctx.record_llm_call(
            model="gpt-4o",
            tokens_in=1,
            tokens_out=0,
            prompt_preview="p",
            full_messages=[{"a": 1}],
            response_preview="r",
            full_response="fr",
            config={},
        )
        ctx.record_llm_call(
            model="mistral-large",
            tokens_in=1,
            tokens_out=0,
            cost=-1.0,
            is_streaming=True,
            chunk_count=0,
            ttft_ms=0,
            status="weird",
            error_message="m",
        )
        for model in MODELS:
            ctx.record_llm_call(model=model, tokens_in=1, tokens_out=1, cost=0.5)


@program
def x06_opened_spans(w: Sdk) -> None:
    with w.WaxellContext(agent_name="spans") as ctx:
        outer = ctx.enter_span("outer", attributes={"a": 1}, input_data={"i": 1})
        ctx.record_tool_call(name="in", input={"x": 1})
        inner = ctx.enter_span("inner", kind="tool")
        ctx.exit_span(inner, status="error", error="bad")
        ctx.exit_span(outer, output_data={"o": 1})
        ctx.enter_span("open")
        for kind in (
            "llm",
            "agent",
            "retriever",
            "memory",
            "io",
            "decision",
            "embedding",
            "prompt",
        ):
            ctx.exit_span(ctx.enter_span(f"a-{kind}", kind=kind))
        for kind in ("chain", "retry", "reasoning", "guardrail", "TOOL"):
            ctx.exit_span(ctx.enter_span(f"a-{kind}", kind=kind), error="e")
        ctx.record_step("kept", {"x": 1}, kind="custom", attributes={"k": "v"})
        ctx.record_step("empty", {})
