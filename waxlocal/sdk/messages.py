"""What people and agents said to each other, and how long the agent waited for a person."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from waxlocal.encode import snapshot
from waxlocal.sdk.arguments import checked, need, need_count
from waxlocal.sdk.spans import OpenSpan, SpanRecords

__all__ = ["ConversationRecords", "HumanTurn"]


@checked("WaxellContext")
class ConversationRecords(SpanRecords):
    """The records of messages, pauses and human turns; see `WaxellContext`."""

    __slots__ = ("_conversation",)

    _conversation: dict[str, Any] | None

    def record_user_message(
        self, content: str = "", *, message: str = "", metadata: dict[str, Any] | None = None
    ) -> None:
        """Record a message of the user; it counts as a turn. `message` also means `content`."""
        need("content", content, str)
        need("message", message, str)
        attributes = {"io.direction": "inbound", **(metadata or {})}
        said = {"content": content or message}
        self._add_span("user_message", "io", attributes=attributes, input=said)
        self._count("user_turns")

    def record_agent_response(
        self, content: str, *, metadata: dict[str, Any] | None = None
    ) -> None:
        """Record an answer of the agent; it counts as a message of the conversation."""
        need("content", content, str)
        attributes = {"io.direction": "outbound", **(metadata or {})}
        said = {"content": content}
        self._add_span("agent_response", "io", attributes=attributes, output=said)
        self._count("assistant_turns")

    def _count(self, turns: str) -> None:
        state = self._state()
        state[turns] += 1
        state["message_count"] += 1

    def _state(self) -> dict[str, Any]:
        if self._conversation is None:
            self._conversation = {
                "user_turns": 0,
                "message_count": 0,
                "assistant_turns": 0,
                "tool_results": 0,
                "tokens_in_context": 0,
                "context_utilization_pct": 0.0,
                "system_prompt_hash": "",
            }
        return self._conversation

    def update_conversation_state(
        self,
        *,
        user_turns: int,
        message_count: int,
        assistant_turns: int = 0,
        tool_results: int = 0,
        tokens_in_context: int = 0,
        context_utilization_pct: float = 0.0,
        system_prompt_hash: str = "",
    ) -> None:
        """Record the state of the conversation; the counts replace those kept so far.

        `context_utilization_pct` says how full the model's context window is, from 0 to 100.
        """
        state = {
            "user_turns": need_count("user_turns", user_turns),
            "message_count": need_count("message_count", message_count),
            "assistant_turns": assistant_turns,
            "tool_results": tool_results,
            "tokens_in_context": tokens_in_context,
            "context_utilization_pct": context_utilization_pct,
            "system_prompt_hash": system_prompt_hash,
        }
        self._conversation = state
        self._add_event("conversation_state", state)

    @property
    def conversation_turns(self) -> int:
        """The number of messages of the user so far."""
        return int(self._conversation["user_turns"]) if self._conversation else 0

    @property
    def message_count(self) -> int:
        """The number of messages so far, of the user and of the agent."""
        return int(self._conversation["message_count"]) if self._conversation else 0

    @property
    def context_utilization(self) -> float:
        """How full the model's context window is, in percent; 0 if it was not recorded."""
        return float(self._conversation["context_utilization_pct"]) if self._conversation else 0.0

    # -- people ---------------------------------------------------------------------------------

    def record_human_interaction(
        self,
        prompt: str = "",
        response: str = "",
        channel: str = "terminal",
        action: str = "",
        elapsed_ms: float | int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record that a person was asked, and answered after `elapsed_ms`."""
        need("prompt", prompt, str)
        need("response", response, str)
        self._add_span(
            "human_turn",
            "io",
            duration_ms=elapsed_ms,
            attributes={
                "io.direction": "interactive",
                "io.channel": channel,
                **({"io.action": action} if action else {}),
                **(metadata or {}),
            },
            input={"prompt": prompt},
            output={"response": response},
        )

    def human_turn(
        self,
        prompt: str = "",
        channel: str = "terminal",
        action: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> HumanTurn:
        """Return a block to wait in for a person; it records question, answer and time."""
        need("prompt", prompt, str)
        return HumanTurn(self, prompt, channel, action, metadata)

    def input(self, prompt: str = "", *, action: str = "input") -> str:
        """Ask on the terminal as the built-in `input` does; record question, answer and time."""
        with self.human_turn(prompt, action=action) as turn:
            answer = builtins.input(prompt)
            turn.set_response(answer)
        return answer

    @contextmanager
    def pause(self, reason: str = "awaiting_user", **metadata: Any) -> Iterator[None]:
        """Mark a block in which the agent only waits; its time counts as waiting for the user."""
        need("reason", reason, str)
        attributes = {"reason": reason, **metadata}
        with OpenSpan(self, f"pause:{reason}", kind="pause", attributes=attributes):
            yield

    def mark_resumed(self, *, from_run_id: str = "", payload: Any = None) -> None:
        """Record that this run goes on where another run paused."""
        data = {"from_run_id": from_run_id, "payload": payload}
        self._add_event("resumed", data, content=("payload",))


class HumanTurn:
    """A block to wait in for a person, plain or async; `set_response` keeps what they answered."""

    def __init__(
        self,
        ctx: ConversationRecords,
        prompt: str,
        channel: str,
        action: str,
        metadata: dict[str, Any] | None,
    ) -> None:
        self._context = ctx
        self._question = (prompt, channel, action, snapshot(metadata))
        self._response = ""
        self._started_ns = 0

    def set_response(self, response: str) -> None:
        """Keep what the person answered, to be recorded at the end of the block."""
        need("response", response, str)
        self._response = response

    def __enter__(self) -> HumanTurn:
        self._started_ns = self._context._steady()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        prompt, channel, action, metadata = self._question
        elapsed_ms = (self._context._steady() - self._started_ns) / 1e6
        self._context.record_human_interaction(
            prompt, self._response, channel, action, elapsed_ms, metadata
        )

    async def __aenter__(self) -> HumanTurn:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)
