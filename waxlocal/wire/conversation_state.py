"""What the original SDK says of a conversation's state: told anew with each request, so far."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from waxlocal.wire.memory import MemoryState, remembered
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.spans import StoredSpan, code_of, is_communication, read_span
from waxlocal.wire.values import Json, count_of, fields_of, number_of, text_of

__all__ = ["Turns", "conversation_state"]

_NOTHING_SAID: Json = {
    "user_turns": 0,
    "message_count": 0,
    "assistant_turns": 0,
    "tool_results": 0,
    "tokens_in_context": 0,
    "context_utilization_pct": 0.0,
    "system_prompt_hash": "",
}
_TURNS = {"user_message": "user_turns", "agent_response": "assistant_turns"}


class Turns:
    """How long a conversation has become, message by message."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        # None until somebody said something.
        self.state: Json | None = None

    def add(self, span: StoredSpan) -> None:
        """Count a message; other spans count nothing."""
        turns = _TURNS.get(span.name)
        if turns is not None and span.kind == "io":
            state = dict(self.state or _NOTHING_SAID)
            state[turns] = count_of(state.get(turns)) + 1
            state["message_count"] = count_of(state.get("message_count")) + 1
            self.state = state

    def replace(self, state: Json) -> None:
        """Go on from counts that the program gave."""
        self.state = dict(state)

    def context(self) -> Json:
        """Return what the span of an LLM call says of the conversation before it."""
        state = self.state or _NOTHING_SAID
        return {
            "waxell.context.message_count": count_of(state.get("message_count")),
            "waxell.context.user_turns": count_of(state.get("user_turns")),
            "waxell.context.tokens_used": count_of(state.get("tokens_in_context")),
            "waxell.context.utilization_pct": number_of(state.get("context_utilization_pct"))
            or 0.0,
        }


def conversation_state(run: RecordedRun) -> Json | None:
    """Return the state at the end of what the run has recorded, None if there is none to tell."""
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
        # With the time of each, to be told in one order with the runs that were opened.
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
        """Return the state, empty if there is none to tell."""
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
