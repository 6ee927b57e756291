"""Events, memory, governance, and what a stream has given so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import START_NS
from tests.tools.ingest import Hub, span


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def partial(hub: Hub, run: str, text: str, count: int | None = None, done: bool = False) -> None:
    """Post what a stream has given so far."""
    body = {"partial": text, "chunk_count": count, "model": "gpt-4o", "done": done}
    hub.post(run, "partial", body)


def partials(hub: Hub, run: str) -> list[tuple[str, Any, bool]]:
    """Return what is known of the streams of a run."""
    found = [row["data"] for row in hub.rows("events", run) if row["event"] == "partial_output"]
    return [(data["partial"], data["chunk_count"], data["done"]) for data in found]


def test_a_stream_is_one_event_with_its_last_state(hub: Hub) -> None:
    """What a stream gives replaces what it had given before."""
    run = hub.start()
    for count, text in enumerate(("He", "Hello", "Hello you"), 1):
        partial(hub, run, text, count)
    assert partials(hub, run) == [("Hello you", 3, False)]


def test_what_comes_too_late_is_not_shown(hub: Hub) -> None:
    """The SDK posts from threads of their own: an older state may come last, even after the end."""
    run = hub.start()
    partial(hub, run, "Hello you", 3, done=True)
    partial(hub, run, "Hello", 2)
    hub.complete(run)
    partial(hub, run, "He", 1)
    assert partials(hub, run) == [("Hello you", 3, True)]


def test_at_its_cut_a_stream_goes_by_the_count_of_chunks(hub: Hub) -> None:
    """Beyond 20,000 characters the text stays the same, and the count tells what is newer."""
    run = hub.start()
    for count in (5, 7, 6):
        partial(hub, run, "x" * 20_000 + "y" * count, count)
    assert partials(hub, run) == [("x" * 20_000, 7, False)]


def test_another_stream_is_another_event(hub: Hub) -> None:
    """A run may call a model several times."""
    run = hub.start()
    partial(hub, run, "First", 1, done=True)
    partial(hub, run, "Second", 1)
    partial(hub, run, "Second answer", 2)
    assert [text for text, *_ in partials(hub, run)] == ["First", "Second answer"]


def test_events_go_to_the_run_whose_workflow_they_name(hub: Hub) -> None:
    """An event of a run that is not here is kept outside every run, and so is one without run."""
    run = hub.start()
    sent = [
        {"event": "e", "workflow_id": f"wf_{run}", "x": 1},
        {"event": "f", "workflow_id": "wf_nobody"},
        {"event": "g"},
        "no event",
    ]
    assert hub.ask("events", {"events": sent}) == {"recorded": 3}
    assert [row["data"] for row in hub.rows("events", run)] == [sent[0]]
    outside = hub.rows("events", "")
    assert [row["data"] for row in outside] == sent[1:3]
    assert [row["position"] for row in outside] == [START_NS, START_NS + 1]


def test_approvals_have_the_recorders_fields(hub: Hub) -> None:
    """The SDK wraps what was given in `metadata`; the recorder has all fields, unwrapped."""
    run = hub.start()
    event = {"workflow_id": f"wf_{run}", "event": "approval_requested"}
    hub.ask("events", {"events": [{**event, "metadata": {"action_type": "del"}}]})
    (row,) = hub.rows("events", run)
    assert row["data"] == {
        "action_type": "del",
        "approvers": [],
        "timeout_minutes": None,
        "reason": "",
    }


def test_memory_writes_are_events_of_their_run(hub: Hub) -> None:
    """Both kinds of memory are recorded, and what names them is answered."""
    run = hub.start()
    body = {"slot_name": "s", "scope_key": "a:b", "memory_type": "dict", "data": {"x": 1}}
    assert hub.post(run, "episodic", body) == {"slot_name": "s", "scope_key": "a:b"}
    hub.post(run, "semantic", {"slot_name": "f", "scope_key": "a:b", "content": "fact"})
    first, second = hub.rows("events", run)
    assert (first["event"], first["data"]["data"]) == ("memory_episodic", {"x": 1})
    assert (second["event"], second["data"]["content"]) == ("memory_semantic", "fact")


@pytest.mark.parametrize("span_first", [False, True])
def test_a_memory_write_is_told_once(hub: Hub, span_first: bool) -> None:
    """The SDK posts what was put into a memory, and sends a span of it, too."""
    run = hub.start()
    attributes = {"waxell.memory.operation": "write", "waxell.memory.tier": "episodic"}
    posts = [
        lambda: hub.post(run, "episodic", {"slot_name": "s", "scope_key": "a:b"}),
        lambda: hub.spans(run, span("memory.write:s", "memory", 1, attributes=attributes)),
    ]
    for post in reversed(posts) if span_first else posts:
        post()
    assert [row["event"] for row in hub.rows("events", run)] == ["memory_episodic"]
    assert hub.rows("spans", run) == []


def test_decisions_of_gates_are_events(hub: Hub) -> None:
    """What a gate of the program decided belongs to its run."""
    run = hub.start()
    body = {"agent_name": "a", "surface": "tool", "workflow_id": f"wf_{run}", "decisions": [{}]}
    assert hub.ask("governance-decision", body) == {"recorded": 1}
    assert [row["event"] for row in hub.rows("events", run)] == ["governance_decision"]


def test_a_guarded_prompt_passes_and_is_noted_without_its_text(hub: Hub) -> None:
    """No guard runs here; that one was asked is an event outside every run."""
    answer = hub.ask("prompt-guard", {"text": "secret", "agent_name": "a", "model": "m"})
    assert answer == {"passed": True, "action": "allow", "violations": []}
    (row,) = hub.rows("events", "")
    assert row["data"] == {"agent_name": "a", "model": "m", "action": "allow"}


def test_an_event_of_another_waxlocal_without_its_name_keeps_no_other_away(hub: Hub) -> None:
    """Each event of a request is stored, whatever another one lacks."""
    own = {"outside": True, "named": True, "position": 7, "recorded_at": "2026-01-31T09:30:00Z"}
    sent = [{"event": "first"}, {"waxlocal": own, "n": 1}, {"event": "last"}]
    assert hub.ask("events", {"events": sent}) == {"recorded": 3}
    stored = [(row["event"], row["position"]) for row in hub.rows("events", "")]
    assert stored == [("event", 7), ("first", START_NS), ("last", START_NS + 1)]
