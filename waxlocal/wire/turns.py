"""How long a conversation has become, message by message."""

from __future__ import annotations

from waxlocal.wire.span_kinds import StoredSpan
from waxlocal.wire.values import Json, count_of, number_of

__all__ = ["Turns"]

_NOTHING_SAID: Json = {
    "user_turns": 0,
    "message_count": 0,
    "assistant_turns": 0,
    "tool_results": 0,
    "tokens_in_context": 0,
    "context_utilization_pct": 0.0,
    "system_prompt_hash": "",
}
_TURN_OF = {"user_message": "user_turns", "agent_response": "assistant_turns"}


class Turns:
    """The counts of a conversation so far."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        # None until somebody said something.
        self.state: Json | None = None

    def add(self, span: StoredSpan) -> None:
        """Count a message; other spans count nothing."""
        turns = _TURN_OF.get(span.name)
        if turns is not None and span.kind == "io":
            state = dict(self.state or _NOTHING_SAID)
            state[turns] = count_of(state.get(turns)) + 1
            state["message_count"] = count_of(state.get("message_count")) + 1
            self.state = state

    def replace(self, state: Json) -> None:
        """Go on from counts that the program gave."""
        self.state = dict(state)

    def context(self) -> Json:
        """Return the attributes of an LLM call's span: how long the conversation was before it."""
        state = self.state or _NOTHING_SAID
        return {
            "waxell.context.message_count": count_of(state.get("message_count")),
            "waxell.context.user_turns": count_of(state.get("user_turns")),
            "waxell.context.tokens_used": count_of(state.get("tokens_in_context")),
            "waxell.context.utilization_pct": number_of(state.get("context_utilization_pct"))
            or 0.0,
        }
