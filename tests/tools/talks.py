"""Conversations with an agent that remembers, as lists of messages: compacted, edited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.tools.builders import Builder
from waxlocal.encode import dumps
from waxlocal.records import LLM_CALLS
from waxlocal.storage.contents import put

__all__ = ["SYSTEM", "Message", "Talk", "add_call", "said", "thirty_turns"]

Message = dict[str, Any]

SYSTEM: Message = {"role": "system", "content": "You help people who plan journeys. Be brief."}


def said(role: str, text: str) -> Message:
    """Return a message."""
    return {"role": role, "content": text}


class Talk:
    """A conversation with an agent that remembers: `calls` has the messages of each turn."""

    def __init__(self) -> None:
        self.history: list[Message] = [SYSTEM]
        self.calls: list[list[Message]] = []

    def turns(self, *numbers: int, of: str = "question") -> None:
        """Ask once for each number, and get an answer."""
        for number in numbers:
            self.history.append(said("user", f"{of} {number}: which train at {number} o'clock?"))
            self.calls.append(list(self.history))
            self.history.append(
                said("assistant", f"answer to {of} {number}: from platform {number}")
            )

    def compact(self, *, keep: int = 0) -> None:
        """Put a summary in place of the history, and keep its last messages."""
        kept = self.history[len(self.history) - keep :]
        self.history = [SYSTEM, said("user", "Summary: they asked for trains."), *kept]

    def edit(self, turn: int) -> None:
        """Go back to before the question of a turn."""
        question = self.calls[turn - 1][-1]
        self.history = self.history[: self.history.index(question)]


def thirty_turns() -> list[list[Message]]:
    """Return a conversation that is compacted at turn 12; at turn 25 question 17 is asked anew."""
    talk = Talk()
    talk.turns(*range(1, 12))
    talk.compact()
    talk.turns(*range(12, 25))
    talk.edit(17)
    talk.turns(*range(25, 31), of="edited question")
    return talk.calls


def add_call(to: Builder, run: str, messages: Iterable[Message], **more: Any) -> None:
    """Add a call with these messages to a run."""
    (stored,) = put(to.conn, LLM_CALLS, [{"messages": dumps(messages)}])
    to.llm(run, more.pop("tokens_in", 100), 10, **stored, **more)
