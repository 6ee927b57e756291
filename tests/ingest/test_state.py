"""The state of the conversation, as the events that it sums up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.ingest import Hub, span
from waxlocal.recording.recorder import Recorder
from waxlocal.sdk.context import WaxellContext

TURNS = {
    "user_turns": 1,
    "message_count": 1,
    "assistant_turns": 0,
    "tool_results": 0,
    "tokens_in_context": 0,
    "context_utilization_pct": 0.0,
    "system_prompt_hash": "",
}
SAID = {
    "step_name": "io:user_message",
    "output": {"_kind": "user_message", "preview": "hi"},
    "position": 0,
}


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def events(hub: Hub, run: str) -> list[tuple[str, Any]]:
    """Return the events of a run, in order."""
    return [(row["event"], row["data"]) for row in hub.rows("events", run)]


def test_a_state_that_comes_again_is_kept_once(hub: Hub) -> None:
    """The SDK repeats all of the state with each request; only what is new is added."""
    run = hub.start()
    first = {"source": "db", "operation": "read", "records": 2}
    second = {"source": "web", "operation": "read", "records": 1}
    hub.steps(run, conversation_state={"data_accesses": [first]})
    hub.steps(run, conversation_state={"data_accesses": [first]})
    hub.calls(run, conversation_state={"data_accesses": [first, second]})
    hub.complete(run, conversation_state={"data_accesses": [first, second]})
    assert events(hub, run) == [("data_access", first), ("data_access", second)]


def test_a_value_that_changes_replaces_its_event(hub: Hub) -> None:
    """Sums and settings are one event, with the last value."""
    run = hub.start()
    for count in (1, 2):
        hub.steps(run, conversation_state={"scope_impacts": {"records_modified": count}})
    assert events(hub, run) == [("scope_impact", {"records_modified": 2})]


def test_counts_that_the_messages_explain_are_no_event(hub: Hub) -> None:
    """The recorder counts the messages of a run itself, and writes no event of it."""
    run = hub.start()
    hub.steps(run, SAID, conversation_state=TURNS)
    hub.complete(run, conversation_state=TURNS)
    assert events(hub, run) == []


def test_counts_that_come_before_their_messages_are_taken_back(hub: Hub) -> None:
    """Requests come in parallel: what seems unexplained may only be early."""
    run = hub.start()
    hub.calls(run, conversation_state=TURNS)
    assert [name for name, _ in events(hub, run)] == ["conversation_state"]
    hub.steps(run, SAID)
    hub.complete(run, conversation_state=TURNS)
    assert events(hub, run) == []


def test_counts_that_the_program_gave_are_an_event(hub: Hub) -> None:
    """What no message explains was said by `update_conversation_state`."""
    run = hub.start()
    state = {**TURNS, "user_turns": 7, "message_count": 9, "system_prompt_hash": "h"}
    hub.steps(run, conversation_state=state)
    hub.complete(run, conversation_state=state)
    assert events(hub, run) == [("conversation_state", state)]


def test_tools_that_no_span_tells_of_are_kept(hub: Hub) -> None:
    """Tools of the SDK's decorator are sent nowhere but in the state."""
    run = hub.start()
    hub.spans(run, span("search", "tool", 1))
    hub.complete(run, conversation_state={"tools_used": ["search", "decorated"]})
    assert events(hub, run) == [("conversation_state", {"tools_used": ["decorated"]})]


def test_a_state_of_the_programs_own_is_kept(hub: Hub) -> None:
    """The low-level client sends whatever the program calls a state."""
    run = hub.start()
    hub.calls(run, conversation_state={"turn": 1, "metadata": {"mood": "good"}})
    kept = {"turn": 1, "metadata": {"mood": "good"}}
    assert events(hub, run) == [("conversation_state", kept)]


def test_delegations_to_child_runs_are_no_events(hub: Hub) -> None:
    """A nested run tells of itself; only a delegation recorded by hand is an event."""
    run = hub.start()
    nested = {"delegate": "child", "depth": 1, "approved": True, "policies_inherited": False}
    by_hand = {"delegate": "other", "depth": 1, "approved": True, "policies_inherited": True}
    data = {"delegations": [nested, by_hand], "is_delegate": False, "parent_agent": ""}
    hub.steps(run, conversation_state={"delegation_data": data})
    assert events(hub, run) == [("delegation", by_hand)]


def record(ctx: WaxellContext) -> None:
    """Record what becomes a part of the state."""
    ctx.record_data_access(source="db", records=2)
    ctx.record_network_request(url="https://x")
    ctx.record_retrieval_result(relevance_score=0.5, source="s")
    ctx.record_grounding(grounding_scores=[0.5], citations=["c"])
    ctx.record_bias_flag(flag="b")
    ctx.record_breach_signal(signal="s")
    ctx.record_erasure_request(subject_id="u")
    ctx.record_domain_intent(domain_name="d", action_name="a")
    ctx.record_emitted_signal(signal_name="x")
    ctx.record_pending_action(kind="k", tool="t")
    ctx.record_intermediate_output(output="o")
    ctx.set_output_text(text="t")
    ctx.set_privacy_context(consent_token="t")
    ctx.set_prompt_name("p")
    ctx.set_memory_state(memory_items=[{"a": 1}])


STATE = {
    "data_accesses": [{"source": "db", "operation": "read", "records": 2}],
    "network_requests": ["https://x"],
    "retrieval_results": [{"relevance_score": 0.5, "source": "s", "collection": "", "age_days": 0}],
    "grounding_data": [{"grounding_scores": [0.5], "citations": ["c"]}],
    "reasoning_data": {"decisions": [], "reasoning_depth": 0, "bias_flags": ["b"]},
    "metadata": {
        "breach_signal": "s",
        "erasure_requests": [{"sub_user_id": "u", "requested_at": ""}],
    },
    "domain_intents": [{"domain_name": "d", "action_name": "a"}],
    "emitted_signals": ["x"],
    "pending_actions": [{"kind": "k", "tool": "t", "args": {}}],
    "identity_context": {"intermediate_outputs": ["o"], "output_text": "t"},
    "privacy_context": {"consent_token": "t"},
    "prompt_name": "p",
    "memory_state": {
        "memory_items": [{"a": 1}],
        "cross_session_loaded": False,
        "memory_item_count": 1,
        "snapshot": {"reads": []},
    },
}


def test_the_events_are_those_of_the_recorder(hub: Hub, recorder: Recorder) -> None:
    """A state sent by the SDK gives the events that the same calls record directly."""
    with WaxellContext("here") as ctx:
        record(ctx)
    served = hub.start()
    hub.complete(served, conversation_state=STATE)
    assert sorted(events(hub, served), key=str) == sorted(events(hub, ctx.run_id), key=str)
