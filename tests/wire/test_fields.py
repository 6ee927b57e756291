"""The fields of each kind, described once: what the original SDK sent, what is made of a file."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from tests.tools.run_paths import run_and_stage
from tests.tools.wire_bodies import CAPTURES
from waxlocal.wire import calls, events, memory, runs, scores, spans, steps
from waxlocal.wire.paths import EVENTS, LIST_OF_STAGE, MEMORY_STAGES, RUN_START

FIELDS = {
    "start": runs.START_FIELDS,
    "llm-calls": calls.FIELDS,
    "steps": steps.FIELDS,
    "spans": spans.FIELDS,
    "scores": scores.FIELDS,
    "events": events.FIELDS,
    **memory.FIELDS,
    "complete": runs.END_FIELDS,
}
# What belongs to the request and not to its items.
_OF_BODY = {"hardware_uuid", "conversation_state"}


def sent() -> dict[str, set[str]]:
    """Return the fields that the original SDK sent in all captures, by stage."""
    found: dict[str, set[str]] = defaultdict(set)
    for capture in sorted(CAPTURES.glob("*.jsonl")):
        for line in capture.read_text(encoding="utf-8").splitlines():
            request = json.loads(line)
            for stage, item in _items(request["path"], request["body"]):
                found[stage] |= item.keys()
    return found


def _items(path: str, body: Any) -> list[tuple[str, dict[str, Any]]]:
    of_run = run_and_stage(path)
    stage = {RUN_START: "start", EVENTS: "events"}.get(path, of_run[1] if of_run else "")
    if stage in LIST_OF_STAGE:
        return [(stage, item) for item in body[LIST_OF_STAGE[stage]]]
    return [(stage, body)] if stage in ("start", "complete", *MEMORY_STAGES) else []


def test_every_field_that_was_sent_is_described() -> None:
    """Of every kind; an event of the program may have fields of its own."""
    found = sent()
    assert found.keys() == FIELDS.keys()
    for stage, names in found.items():
        if stage != "events":
            assert names - _OF_BODY - FIELDS[stage].keys() == set(), stage
    assert FIELDS["events"].keys() <= found["events"]


def test_a_field_is_described_because_somebody_sends_it() -> None:
    """The original SDK did; its low-level client takes the metadata of a fact, too."""
    found = sent()
    assert {
        (stage, name) for stage, names in FIELDS.items() for name in names.keys() - found[stage]
    } == {("semantic", "metadata")}
