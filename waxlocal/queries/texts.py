"""The message, answer and title of a run, from its stored JSON."""

from __future__ import annotations

from typing import Any

from waxlocal.decode import loads
from waxlocal.encode import text
from waxlocal.messages.said import answered, asked

__all__ = ["answer_text", "decoded", "message_text", "title"]

TITLE_CHARS = 80


def decoded(stored: str | None) -> Any:
    """Return the value of stored JSON; text that is not valid JSON, or too deep, unchanged."""
    if stored is None:
        return None
    try:
        return loads(stored)
    except ValueError:
        return stored


def message_text(inputs: str | None) -> str:
    """Return the message to a run from its stored inputs; empty without inputs."""
    return text(asked(decoded(inputs)))


def answer_text(result: str | None) -> str:
    """Return the answer of a run from its stored result; empty without a result."""
    return text(answered(decoded(result)))


def title(message: str) -> str:
    """Return the first words of a message, on one line of at most 80 characters."""
    # Cut first: a message may have millions of characters.
    line = " ".join(message[: 10 * TITLE_CHARS].split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
