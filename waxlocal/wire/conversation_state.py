"""The state of a conversation, which the original SDK sends with each request: all so far.

To the wire it is gathered from spans and events; from the wire it is turned back into events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from waxlocal.wire.memory import MemoryState, remembered
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.span_kinds import StoredSpan, code_of, is_communication
from waxlocal.wire.spans import read_span
from waxlocal.wire.turns import Turns
from waxlocal.wire.values import (
    Json,
    as_list,
    as_object,
    as_text,
    count_of,
    fields_of,
    number_of,
    text_of,
)

__all__ = [
    "COUNTERS",
    "OTHERS",
    "TURNS",
    "ToldEvents",
    "conversation_state",
    "events_of_state",
    "rest_of_state",
]

TURNS = ("user_turns", "message_count", "assistant_turns")
OTHERS = ("tool_results", "tokens_in_context", "context_utilization_pct", "system_prompt_hash")
COUNTERS = (*TURNS, *OTHERS)


def conversation_state(run: RecordedRun) -> Json | None:
    """Return the state after all that the run has recorded; None if that is nothing."""
    if not run.spans and not run.events and not run.delegates and run.parent_agent is None:
        return None
    state = _State(run)
    told = [(row["position"], state.add_span, row) for row in run.spans]
    told += [(row["position"], state.add_event, row) for row in run.events]
    for _position, add, row in sorted(told, key=itemgetter(0)):
        add(row)
    return state.result() or None


class _State:
    """Gathers the parts of the state from spans and events, in their order."""

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self._turns = Turns()
        self._memory = MemoryState(run.run)
        self._lists: dict[str, list[Any]] = {}
        self._parts: Json = {}
        self._impacts: Json = {}
        self._decisions: list[Json] = []
        self._thoughts = 0
        self._bias_flags: list[Any] = []
        # With the time of each, to be put in one order with the runs that were opened.
        self._delegations: list[tuple[str, Json]] = []
        # A dict for its keys: each name once, in the order of their first use.
        self._tools: dict[str, None] = {}

    def add_span(self, row: Json) -> None:
        """Take a row of `spans`."""
        span = read_span(row)
        add = _OF_SPAN.get(span.kind)
        if add is not None:
            add(self, span)

    def add_event(self, row: Json) -> None:
        """Take a row of `events`."""
        add = _OF_EVENT.get(row["event"])
        if add is not None:
            data = fields_of(row["data"])
            if data.get("event") != row["event"]:  # the program's own, with such a name by chance
                add(self, data, row)

    def _append(self, part: str, item: Any) -> None:
        self._lists.setdefault(part, []).append(item)

    # -- spans ------------------------------------------------------------------------------------

    def _tool(self, span: StoredSpan) -> None:
        if is_communication(span):
            self._communication(span)
            return
        code = code_of(span)
        if code is None:
            self._tools[span.name] = None
            return
        told = {
            "language": code.language,
            "code": code.code,
            "execution_time": code.seconds,
            "output_size_kb": code.size_kb,
            "paths": code.paths,
            "packages": code.packages,
        }
        self._append("code_executions", told)

    def _communication(self, span: StoredSpan) -> None:
        given = span.input or {}
        told: Json = {"channel": span.attributes["io.channel"]}
        told |= {name: given.get(name, "") for name in ("recipient", "body", "subject")}
        ours = ("io.direction", "io.channel")
        metadata = {name: value for name, value in span.attributes.items() if name not in ours}
        self._append("communications", told | ({"metadata": metadata} if metadata else {}))

    def _io(self, span: StoredSpan) -> None:
        self._turns.add(span)

    def _decision(self, span: StoredSpan) -> None:
        if "instrumentation_source" not in span.attributes:
            return
        given, answer = span.input or {}, span.output or {}
        told = {
            "decision": span.name,
            "explanation": given.get("reasoning", ""),
            "alternatives": given.get("options") or [],
            "confidence": answer.get("confidence", span.attributes.get("confidence")),
        }
        self._decisions.append(told)

    def _reasoning(self, span: StoredSpan) -> None:
        self._thoughts += span.duration_ms is None

    def _memory_span(self, span: StoredSpan) -> None:
        self._memory.add_span(span)

    # -- events -----------------------------------------------------------------------------------

    def _conversation(self, data: Json, _row: Json) -> None:
        self._turns.replace(data)

    def _data_access(self, data: Json, _row: Json) -> None:
        self._append("data_accesses", data)

    def _network_request(self, data: Json, _row: Json) -> None:
        self._append("network_requests", data.get("url", ""))

    def _retrieval_result(self, data: Json, _row: Json) -> None:
        self._append("retrieval_results", data)

    def _grounding(self, data: Json, _row: Json) -> None:
        told = {name: value for name, value in data.items() if value is not None and value != []}
        self._append("grounding_data", told)

    def _scope_impact(self, data: Json, _row: Json) -> None:
        for name, value in data.items():
            self._impacts[name] = self._impacts.get(name, 0) + (number_of(value) or 0)

    def _bias(self, data: Json, _row: Json) -> None:
        self._bias_flags.append(data.get("flag", ""))

    def _delegation(self, data: Json, row: Json) -> None:
        self._delegations.append((text_of(row["recorded_at"]), data))

    def _memory_state(self, data: Json, _row: Json) -> None:
        self._memory.hold(data)

    def _remember(self, data: Json, row: Json) -> None:
        fact = remembered(row["event"], data, self._run.run)
        if fact is not None:
            self._memory.add(fact)

    def _privacy(self, data: Json, _row: Json) -> None:
        self._parts["privacy_context"] = data

    def _identity(self) -> Json:
        nothing: Json = {"intermediate_outputs": [], "output_text": ""}
        found: Json = self._parts.setdefault("identity_context", nothing)
        return found

    def _intermediate(self, data: Json, _row: Json) -> None:
        self._identity()["intermediate_outputs"].append(data.get("output", ""))

    def _output_text(self, data: Json, _row: Json) -> None:
        self._identity()["output_text"] = data.get("text", "")

    # -- the whole --------------------------------------------------------------------------------

    def result(self) -> Json:
        """Return the state, empty if nothing was recorded."""
        parts: Json = dict(self._turns.state or {})
        parts |= self._lists | self._parts
        if self._impacts:
            parts["scope_impacts"] = self._impacts
        if self._decisions or self._thoughts or self._bias_flags:
            parts["reasoning_data"] = {
                "decisions": self._decisions,
                "reasoning_depth": self._thoughts,
                "bias_flags": self._bias_flags,
            }
        if delegation := self._delegation_data():
            parts["delegation_data"] = delegation
        if memory := self._memory.result():
            parts["memory_state"] = memory
        if self._tools:
            parts["tools_used"] = list(self._tools)
        return parts

    def _delegation_data(self) -> Json | None:
        run, parent = self._run, self._run.parent_agent
        if not self._delegations and not run.delegates and parent is None:
            return None
        opened = [
            (text_of(child.started_at), _delegated(text_of(child.agent_name), run.depth + 1))
            for child in run.delegates
        ]
        ended = text_of(run.run["completed_at"])
        ends = [text_of(child.completed_at) for child in run.delegates]
        still_open = sum(not end or bool(ended and end > ended) for end in ends)
        told = [data for _at, data in sorted(self._delegations + opened, key=itemgetter(0))]
        return {
            "delegations": told,
            "delegation_depth": max((count_of(data.get("depth")) for data in told), default=0),
            "concurrent_delegates": len(self._delegations) + still_open,
            "is_delegate": parent is not None,
            "parent_agent": text_of(parent),
        }


def _delegated(agent_name: str, depth: int) -> Json:
    return {
        "delegate": agent_name,
        "depth": depth,
        "approved": True,
        "policies_inherited": False,
    }


_OF_SPAN: dict[str, Callable[[_State, StoredSpan], None]] = {
    "tool": _State._tool,
    "io": _State._io,
    "decision": _State._decision,
    "reasoning": _State._reasoning,
    "memory": _State._memory_span,
}
_OF_EVENT: dict[str, Callable[[_State, Json, Json], None]] = {
    "conversation_state": _State._conversation,
    "data_access": _State._data_access,
    "network_request": _State._network_request,
    "retrieval_result": _State._retrieval_result,
    "grounding": _State._grounding,
    "scope_impact": _State._scope_impact,
    "bias_flag": _State._bias,
    "delegation": _State._delegation,
    "memory_state": _State._memory_state,
    "memory_episodic": _State._remember,
    "memory_semantic": _State._remember,
    "privacy_context": _State._privacy,
    "intermediate_output": _State._intermediate,
    "output_text": _State._output_text,
}


# -- from the wire ---------------------------------------------------------------------------------


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
# What spans and child runs hold, too.
_TOLD_BY_SPANS = frozenset(("communications", "code_executions", "tools_used"))
_METADATA = ("breach_signal", "erasure_requests")
_KNOWN = frozenset(rule.path[0] for rule in _RULES) | _TOLD_BY_SPANS | frozenset(COUNTERS)


class ToldEvents(NamedTuple):
    """The events of one name in a state: a list that grows, or one value that changes."""

    event: str
    data: list[Json]
    is_list: bool


def events_of_state(state: Json) -> Iterator[ToldEvents]:
    """Yield the events that a state holds, by name, each with its data."""
    for rule in _RULES:
        value = _at(state, rule.path)
        if rule.is_array:
            found = [data for item in as_list(value) if (data := rule.data(item)) is not None]
            yield ToldEvents(rule.event, found, True)
        elif value and (data := rule.data(value)) is not None:
            yield ToldEvents(rule.event, [data], False)


def _at(state: Json, path: tuple[str, ...]) -> Any:
    value: Any = state
    for name in path:
        value = as_object(value).get(name)
    return value


def rest_of_state(state: Json) -> Json:
    """Return what no other record holds, without the counters."""
    rest = {name: value for name, value in state.items() if name not in _KNOWN}
    metadata = as_object(state.get("metadata"))
    if untold := {name: metadata[name] for name in metadata if name not in _METADATA}:
        rest["metadata"] = untold
    return rest
