"""The functions that act on the run that is open.

Each does the same as a method of `WaxellContext`, and is as durable: the record is in the file when
the function returns. Without an open run it does nothing; the first time, the logger `waxlocal`
warns. An argument of a wrong type raises `TypeError`. Safe from any thread, but a new thread is
outside every run: see `propagate`.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from waxlocal.sdk.arguments import checked_function, need
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.messages import HumanTurn
from waxlocal.sdk.scope import run_for, run_here
from waxlocal.sdk.spans import OpenSpan

if TYPE_CHECKING:
    from waxlocal.sdk.types import GateOutcome

T = TypeVar("T")

__all__ = [
    "agent_response",
    "approval_request",
    "approval_response",
    "communication",
    "decide",
    "gate_memory_delete",
    "gate_tool",
    "get_context",
    "human_interaction",
    "human_turn",
    "input",
    "mark_resumed",
    "metadata",
    "pause",
    "phase",
    "prompt_use",
    "reason",
    "recall",
    "remember_episodic",
    "remember_semantic",
    "retrieve",
    "retry",
    "score",
    "step",
    "tag",
    "user_message",
]


# -- the open run -------------------------------------------------------------------------------


def get_context() -> WaxellContext | None:
    """Return the innermost run that is open here, None outside any."""
    return run_here()


def tag(key: str, value: str) -> None:
    """Tag the open run; both must be text. Written with its next record."""
    if run := run_for("tag()"):
        run.set_tag(key, value)


def metadata(key: str, value: Any) -> None:
    """Keep a value of any kind with the open run. Written with its next record."""
    if run := run_for("metadata()"):
        run.set_metadata(key, value)


def score(
    name: str, value: float | str | bool, data_type: str = "numeric", comment: str = ""
) -> None:
    """Record a score of the open run: a number, a yes or no, or a word, as `data_type` says."""
    if run := run_for("score()"):
        run.record_score(name, value, data_type, comment)


def step(name: str, output: dict[str, Any] | None = None) -> None:
    """Record a step of the open run, after it is done."""
    if run := run_for("step()"):
        run.record_step(name, output)


@checked_function
def decide(
    name: str,
    chosen: str,
    options: list[str] | None = None,
    reasoning: str = "",
    confidence: float | None = None,
) -> None:
    """Record a choice; `confidence`, from 0 to 1, also becomes a score."""
    if run := run_for("decide()"):
        run.record_decision(
            name=name,
            options=options or [],
            chosen=chosen,
            reasoning=reasoning,
            confidence=confidence,
        )


def reason(
    step: str, thought: str, evidence: list[str] | None = None, conclusion: str = ""
) -> None:
    """Record a thought on the way to an answer, with what supports it and what follows."""
    if run := run_for("reason()"):
        run.record_reasoning(step=step, thought=thought, evidence=evidence, conclusion=conclusion)


def retrieve(
    query: str,
    documents: list[dict[str, Any]],
    source: str = "",
    scores: list[float] | None = None,
) -> None:
    """Record a search and the documents that it found, with their scores."""
    if run := run_for("retrieve()"):
        run.record_retrieval(query=query, documents=documents, source=source, scores=scores)


def retry(
    attempt: int,
    reason: str,
    strategy: str = "retry",
    original_error: str = "",
    fallback_to: str = "",
) -> None:
    """Record that attempt number `attempt` failed and that something is tried again."""
    if run := run_for("retry()"):
        run.record_retry(
            attempt=attempt,
            reason=reason,
            strategy=strategy,
            original_error=original_error,
            fallback_to=fallback_to,
        )


def communication(
    *,
    channel: str,
    recipient: str = "",
    body: str = "",
    subject: str = "",
    metadata: dict[str, Any] | None = None,
) -> None:
    """Record that the agent sent someone a message: an email, a chat message, a text."""
    if run := run_for("communication()"):
        run.record_communication(
            channel=channel, recipient=recipient, body=body, subject=subject, metadata=metadata
        )


@contextmanager
def phase(name: str, **attributes: Any) -> Iterator[None]:
    """Put a span around a block of the open run; what is recorded inside the block lies inside it.

    It is on disk from the start of the block, and ends as `error` if an exception leaves the block.
    """
    need("name", name, str)
    name = str.__str__(name)
    run = run_for("phase()")
    if run is None:
        yield
        return
    attributes = {"waxell.phase": name, **attributes}
    with OpenSpan(run, f"phase:{name}", kind="chain", attributes=attributes) as span:
        yield
        span.output = {"phase": name, "state": "done"}


# -- memory and prompts -------------------------------------------------------------------------


def remember_episodic(slot_name: str, data: Any, **kwargs: Any) -> None:
    """Record what was put into a slot of the episodic memory; see `WaxellContext`."""
    if run := run_for("remember_episodic()"):
        run.remember_episodic(slot_name=slot_name, data=data, **kwargs)


def remember_semantic(slot_name: str, content: str, **kwargs: Any) -> None:
    """Record which fact was put into the semantic memory; see `WaxellContext`."""
    if run := run_for("remember_semantic()"):
        run.remember_semantic(slot_name=slot_name, content=content, **kwargs)


def recall(
    query: str = "",
    *,
    tier: str = "episodic",
    store: str = "",
    results_count: int = 0,
    top_score: float | None = None,
    slot_name: str = "",
    results: list[Any] | None = None,
) -> None:
    """Record what was asked of a memory and what it returned."""
    if run := run_for("recall()"):
        run.record_memory_recall(
            query=query,
            tier=tier,
            store=store,
            results_count=results_count,
            top_score=top_score,
            slot_name=slot_name,
            results=results,
        )


def prompt_use(name: str, version: int = 0, label: str = "", content_hash: str = "") -> None:
    """Record which managed prompt, and which version of it, was used."""
    if run := run_for("prompt_use()"):
        run.record_prompt_use(name=name, version=version, label=label, content_hash=content_hash)


# -- people -------------------------------------------------------------------------------------


def user_message(content: str, *, metadata: dict[str, Any] | None = None) -> None:
    """Record a message of the user; it counts as a turn of the conversation."""
    if run := run_for("user_message()"):
        run.record_user_message(content, metadata=metadata)


def agent_response(content: str, *, metadata: dict[str, Any] | None = None) -> None:
    """Record an answer of the agent; it counts as a message of the conversation."""
    if run := run_for("agent_response()"):
        run.record_agent_response(content, metadata=metadata)


def human_turn(
    prompt: str = "",
    channel: str = "terminal",
    action: str = "",
    metadata: dict[str, Any] | None = None,
) -> HumanTurn:
    """Return a block to wait in for a person; it records question, answer and time when it ends.

    Without an open run it records nothing.
    """
    run = run_for("human_turn()") or WaxellContext("")
    return run.human_turn(prompt, channel, action, metadata)


@checked_function
def human_interaction(
    prompt: str = "",
    response: str = "",
    channel: str = "terminal",
    action: str = "",
    elapsed_seconds: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Record that a person was asked and answered, and how many seconds that took."""
    if run := run_for("human_interaction()"):
        elapsed_ms = None if elapsed_seconds is None else elapsed_seconds * 1000
        run.record_human_interaction(prompt, response, channel, action, elapsed_ms, metadata)


def input(prompt: str = "", *, action: str = "input") -> str:
    """Ask on the terminal as the built-in `input` does; record question, answer and time."""
    run = run_for("input()")
    return run.input(prompt, action=action) if run else builtins.input(prompt)


@contextmanager
def pause(reason: str = "awaiting_user", **metadata: Any) -> Iterator[None]:
    """Mark a block in which the agent only waits; its time counts as waiting for the user."""
    run = run_for("pause()")
    if run is None:
        yield
        return
    with run.pause(reason, **metadata):
        yield


def mark_resumed(from_run_id: str = "", payload: Any = None) -> None:
    """Record that the open run goes on where another run paused."""
    if run := run_for("mark_resumed()"):
        run.mark_resumed(from_run_id=from_run_id, payload=payload)


def approval_request(
    action_type: str,
    approvers: list[str] | None = None,
    timeout_minutes: float | None = None,
    reason: str = "",
    metadata: dict[str, Any] | None = None,
) -> None:
    """Record that someone was asked to approve an action."""
    if run := run_for("approval_request()"):
        run.record_approval_request(
            action_type=action_type,
            approvers=approvers,
            timeout_minutes=timeout_minutes,
            reason=reason,
            metadata=metadata,
        )


def approval_response(
    action_type: str,
    decision: str,
    approver: str = "",
    elapsed_seconds: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Record what the approver decided: `approved` (or `yes`, ...), else it counts as denied."""
    if run := run_for("approval_response()"):
        run.record_approval_response(
            action_type=action_type,
            decision=decision,
            approver=approver,
            elapsed_seconds=elapsed_seconds,
            metadata=metadata,
        )


# -- gates --------------------------------------------------------------------------------------


def gate_tool(tool_name: str, tool_args: T = None) -> T:  # type: ignore[assignment]
    """Record that a tool is about to be used; return its arguments unchanged. Every tool may be."""
    if run := run_for("gate_tool()"):
        run.check_tool_before_execution(tool_name)
    return tool_args


def gate_memory_delete(*, ids: Any = None, query: str = "", store: str = "") -> GateOutcome:
    """Record that something is to be deleted from a memory; return an outcome that allows it."""
    if run := run_for("gate_memory_delete()"):
        asked = {"ids": ids, "query": query, "store": store, "action": "allow"}
        run._add_event("memory_delete_gate", asked, content=("query",))
    from waxlocal.sdk.types import GateOutcome  # not at import: see waxlocal/__init__.py

    return GateOutcome("allow", surface="memory.delete")
