"""What each endpoint of the ingest API does to the file: one function each.

Each takes a connection in a transaction and the parsed body of a request, which it does not change,
and returns the response. Raises `NotFound` for a run that is not in the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from waxlocal.errors import InvalidQuery
from waxlocal.ingest import events, exact
from waxlocal.ingest.calls import add_calls, calls_of_spans
from waxlocal.ingest.forgotten_runs import OfRun, is_of_forgotten, unless_forgotten
from waxlocal.ingest.known_runs import Json, KnownRun, find_run, run_of_workflow
from waxlocal.ingest.origins import note_hardware
from waxlocal.ingest.runs import daily_run, end_exactly, end_run, ended, start_run
from waxlocal.ingest.scores import add_scores
from waxlocal.ingest.spans import add_spans
from waxlocal.ingest.state import keep_state
from waxlocal.ingest.steps import add_steps
from waxlocal.wire.exact import KEY, said_of
from waxlocal.wire.paths import LIST_OF_STAGE
from waxlocal.wire.runs import ends_run
from waxlocal.wire.values import as_list, as_text

__all__ = ["OF_RUN", "WITHOUT_RUN"]


def _items(body: Json, stage: str) -> list[Any]:
    name = LIST_OF_STAGE[stage]
    items = body.get(name)
    if not isinstance(items, list):
        raise InvalidQuery(f"the body lacks the array {name!r}")
    return items


def _llm_calls(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    run, calls = find_run(connection, run_id), _items(body, "llm-calls")
    others = exact.store(connection, run_id, "llm-calls", calls)
    if others or not calls:
        add_calls(connection, run, others, now_ns)
        _note(connection, run, body, now_ns)
    return {"recorded": sum(isinstance(call, dict) for call in calls)}


def _steps(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    run, steps = find_run(connection, run_id), _items(body, "steps")
    others = exact.store(connection, run_id, "steps", steps)
    if others or not steps:
        add_steps(connection, run, others, now_ns)
        _note(connection, run, body, now_ns)
    return {"recorded": len(steps)}


def _note(connection: sqlite3.Connection, run: KnownRun, body: Json, now_ns: int) -> None:
    """Store what the original SDK sends beside its records: the machine, the conversation state."""
    if not run.has_process:  # else each request names the machine again
        note_hardware(connection, run.run_id, body.get("hardware_uuid"), now_ns)
    keep_state(connection, run, body.get("conversation_state"), now_ns, final=False)


def _spans(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    run, spans = find_run(connection, run_id), _items(body, "spans")
    others = exact.store(connection, run_id, "spans", spans)
    add_spans(connection, run, others, now_ns)
    return {"recorded": sum(isinstance(span, dict) for span in spans)}


def _scores(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    run, scores = find_run(connection, run_id), _items(body, "scores")
    others = exact.store(connection, run_id, "scores", scores)
    add_scores(connection, run, others, now_ns)
    return {"recorded": sum(isinstance(score, dict) for score in scores)}


def _complete(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    run = find_run(connection, run_id)
    said = body.get(KEY)
    if isinstance(said, dict):
        exact.store_untold(connection, run_id, body, said)
        if not ends_run(said):
            return ended(run, run.duration)
        return end_exactly(connection, run, body, said)
    add_steps(connection, run, as_list(body.get("steps")), now_ns)
    if run.is_open:
        calls_of_spans(connection, run, now_ns)
        keep_state(connection, run, body.get("conversation_state"), now_ns, final=True)
    return end_run(connection, run, body, now_ns)


def _partial(connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int) -> Json:
    events.add_partial(connection, find_run(connection, run_id), body, now_ns)
    return {"recorded": 1}


def _memory(
    tier: str, connection: sqlite3.Connection, run_id: str, body: Json, now_ns: int
) -> Json:
    run = find_run(connection, run_id)
    if not exact.store(connection, run_id, tier, [body]):
        return {name: body.get(name) for name in ("slot_name", "scope_key")}
    return events.add_memory(connection, run, tier, body, now_ns)


def _is_forgotten_event(connection: sqlite3.Connection, event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    named = (event.get("workflow_id"), (said_of(event) or {}).get("workflow_id"))
    return any(is_of_forgotten(connection, one) for one in named)


def _events(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
    given = _items(body, "events")
    kept = [event for event in given if not _is_forgotten_event(connection, event)]
    others = [event for event in kept if not exact.store_event(connection, event)]
    events.add_events(connection, others, now_ns)
    return {"recorded": sum(isinstance(event, dict) for event in given)}


def _governance_decision(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
    decisions = as_list(body.get("decisions"))
    run = run_of_workflow(connection, body.get("workflow_id"))
    if run is None and is_of_forgotten(connection, body.get("workflow_id")):
        return {"recorded": len(decisions)}
    data = {name: body.get(name) for name in ("agent_name", "surface")}
    events.note(connection, run, "governance_decision", {**data, "decisions": decisions}, now_ns)
    return {"recorded": len(decisions)}


def _prompt_guard(connection: sqlite3.Connection, body: Json, now_ns: int) -> Json:
    names = {name: as_text(body.get(name)) for name in ("agent_name", "model")}
    events.note(connection, None, "prompt_guard", {**names, "action": "allow"}, now_ns)
    return {"passed": True, "action": "allow", "violations": []}


_OF_RUN: dict[str, OfRun] = {
    "llm-calls": _llm_calls,
    "steps": _steps,
    "spans": _spans,
    "scores": _scores,
    "complete": _complete,
    "partial": _partial,
    "episodic": partial(_memory, "episodic"),
    "semantic": partial(_memory, "semantic"),
}
# The functions by the last part of the path: for requests about a run, and for all others.
OF_RUN = {stage: unless_forgotten(stage, work) for stage, work in _OF_RUN.items()}
WITHOUT_RUN: dict[str, Callable[[sqlite3.Connection, Json, int], Json]] = {
    "start": start_run,
    "daily": daily_run,
    "events": _events,
    "governance-decision": _governance_decision,
    "prompt-guard": _prompt_guard,
}
