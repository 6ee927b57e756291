"""The state of the conversation that the original SDK sends along, as the events that it sums up.

It is cumulative, and comes again with every request: what is here already is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from waxlocal.encode import dumps
from waxlocal.ingest.events import add_event, change_event, last_event
from waxlocal.ingest.runs import Json, KnownRun
from waxlocal.wire.values import as_count, as_list, as_object, as_text

__all__ = ["keep_state"]

_COUNTS = """
SELECT coalesce(sum(name = 'user_message'), 0), coalesce(sum(name = 'agent_response'), 0)
FROM spans WHERE run_id = ? AND kind = 'io'
"""
_TOOLS = "SELECT DISTINCT name FROM spans WHERE run_id = ? AND kind = 'tool'"
_EVENTS = "SELECT event, count(*) FROM events WHERE run_id = ? GROUP BY event"
_REMOVE = "DELETE FROM events WHERE run_id = ? AND position = ?"

_TURNS = ("user_turns", "message_count", "assistant_turns")
_OTHERS = ("tool_results", "tokens_in_context", "context_utilization_pct", "system_prompt_hash")
_COUNTERS = (*_TURNS, *_OTHERS)


class _Rule(NamedTuple):
    """A part of the state that is an event: each item of an array, or one value.

    A value that changes replaces its event; an array only grows.
    """

    event: str
    path: tuple[str, ...]
    data: Callable[[Any], Json | None]
    is_array: bool = False


def _filled(**defaults: object) -> Callable[[Any], Json | None]:
    return lambda item: defaults | item if isinstance(item, dict) and item else None


def _named(name: str, **rest: object) -> Callable[[Any], Json | None]:
    return lambda item: {name: item, **rest} if item else None


def _delegation(item: Any) -> Json | None:
    # One that the SDK notes for a nested run inherits no policies; the run itself tells of it.
    return as_object(item) if as_object(item).get("policies_inherited") else None


def _erasure(item: Any) -> Json | None:
    asked = as_object(item)
    return {
        "subject_id": as_text(asked.get("sub_user_id")) or as_text(asked.get("subject_id")),
        "requested_at": as_text(asked.get("requested_at")),
    }


def _memory(item: Any) -> Json | None:
    names = ("memory_items", "cross_session_loaded", "memory_item_count")
    kept = {name: item[name] for name in names if name in as_object(item)}
    return kept or None


def _memory_write(item: Any) -> Json | None:
    # Those of the two memories that the SDK keeps itself come as requests of their own.
    kept_elsewhere = as_object(item).get("memory_type") in ("episodic", "semantic")
    return None if kept_elsewhere else as_object(item) or None


_each = partial(_Rule, is_array=True)

_RULES = (
    _each("data_access", ("data_accesses",), _filled(source="", operation="read", records=0)),
    _each("network_request", ("network_requests",), _named("url")),
    _Rule("scope_impact", ("scope_impacts",), _filled()),
    _each("retrieval_result", ("retrieval_results",), _filled()),
    _each(
        "grounding",
        ("grounding_data",),
        _filled(grounding_scores=[], citations=[], unsupported_claims=[], output_confidence=None),
    ),
    _each("bias_flag", ("reasoning_data", "bias_flags"), _named("flag")),
    _each("delegation", ("delegation_data", "delegations"), _delegation),
    _Rule(
        "privacy_context",
        ("privacy_context",),
        _filled(consent_token="", execution_region="", data_purpose=""),
    ),
    _each("intermediate_output", ("identity_context", "intermediate_outputs"), _named("output")),
    _Rule("output_text", ("identity_context", "output_text"), _named("text")),
    _each("emitted_signal", ("emitted_signals",), _named("signal_name")),
    _each("pending_action", ("pending_actions",), _filled(kind="", tool="", args={})),
    _Rule("prompt_name", ("prompt_name",), _named("name")),
    _each("domain_intent", ("domain_intents",), _filled()),
    _Rule("breach_signal", ("metadata", "breach_signal"), _named("signal", event_at="")),
    _each("erasure_request", ("metadata", "erasure_requests"), _erasure),
    _Rule("memory_state", ("memory_state",), _memory),
    _each("memory_write", ("memory_state", "memory_writes"), _memory_write),
)
# What spans and child runs tell, too.
_TOLD_BY_SPANS = frozenset(("communications", "code_executions", "tools_used"))
_METADATA = ("breach_signal", "erasure_requests")
_KNOWN = frozenset(rule.path[0] for rule in _RULES) | _TOLD_BY_SPANS | frozenset(_COUNTERS)


def keep_state(
    connection: sqlite3.Connection, run: KnownRun, state: object, now_ns: int, *, final: bool
) -> None:
    """Add to a run what is new in a state; `final`: nothing else comes before the run's end."""
    given = as_object(state)
    if not given:
        return
    counts = dict(map(tuple, connection.execute(_EVENTS, (run.run_id,)).fetchall()))
    for rule in _RULES:
        value = _at(given, rule.path)
        if rule.is_array:
            items = [data for item in as_list(value) if (data := rule.data(item)) is not None]
            for data in items[counts.get(rule.event, 0) :]:
                add_event(connection, run, rule.event, data, now_ns)
        elif value and (data := rule.data(value)) is not None:
            _replace(connection, run, rule.event, data, now_ns)
    _keep_rest(connection, run, given, now_ns, final=final)


def _at(state: Json, path: tuple[str, ...]) -> Any:
    value: Any = state
    for name in path:
        value = as_object(value).get(name)
    return value


def _replace(
    connection: sqlite3.Connection, run: KnownRun, event: str, data: Json, now_ns: int
) -> None:
    """Have one event of that name, which says this."""
    last = last_event(connection, run.run_id, event)
    if last is None:
        add_event(connection, run, event, data, now_ns)
    elif dumps(last[1]) != dumps(data):
        change_event(connection, run, last[0], data, now_ns)


def _keep_rest(
    connection: sqlite3.Connection, run: KnownRun, state: Json, now_ns: int, *, final: bool
) -> None:
    """Keep what nothing else in the run tells as its event `conversation_state`."""
    rest = {name: value for name, value in state.items() if name not in _KNOWN}
    metadata = as_object(state.get("metadata"))
    if untold := {name: metadata[name] for name in metadata if name not in _METADATA}:
        rest["metadata"] = untold
    counters = {name: state[name] for name in _COUNTERS if name in state}
    if any(counters.values()) and not _are_told(connection, run, counters):
        rest |= counters
    if final:
        rest |= dict(_tools_untold(connection, run, state))
    if rest:
        _replace(connection, run, "conversation_state", rest, now_ns)
        return
    last = last_event(connection, run.run_id, "conversation_state") if final else None
    if last is not None and set(last[1]) <= set(_COUNTERS):
        # The messages that explain the counts had not arrived when these did.
        connection.execute(_REMOVE, (run.run_id, last[0]))


def _are_told(connection: sqlite3.Connection, run: KnownRun, counters: Json) -> bool:
    """Return whether the messages of the run are what the counters count."""
    users, agents = connection.execute(_COUNTS, (run.run_id,)).fetchone()
    turns = tuple(as_count(counters.get(name)) for name in _TURNS)
    others = any(counters.get(name) for name in _OTHERS)
    return turns == (users, users + agents, agents) and not others


def _tools_untold(
    connection: sqlite3.Connection, run: KnownRun, state: Json
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the tools that no span tells of: those of the SDK's decorator are not sent as spans."""
    known = {row[0] for row in connection.execute(_TOOLS, (run.run_id,)).fetchall()}
    untold = [tool for tool in as_list(state.get("tools_used")) if tool not in known]
    if untold:
        yield "tools_used", untold
