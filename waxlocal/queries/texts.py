"""The message, answer and title of a run, from its stored JSON."""

from __future__ import annotations

from typing import Any

from waxlocal.decode import loads
from waxlocal.encode import text
from waxlocal.messages.said import answered, asked

__all__ = ["answer_text", "decoded", "message_text", "title"]

TITLE_CHARS = 80


# What another program may have stored in the place of text.
Stored = str | bytes | float | None


def decoded(stored: Stored) -> Any:
    """Return the value of stored JSON; text that is not valid JSON, or too deep, unchanged."""
    if stored is None or isinstance(stored, float | int):
        return stored
    said = stored if isinstance(stored, str) else stored.decode("utf-8", "replace")
    try:
        return loads(said)
    except ValueError:
        return said


def message_text(inputs: Stored) -> str:
    """Return the message to a run from its stored inputs; empty without inputs."""
    return text(asked(decoded(inputs)))


def answer_text(result: Stored) -> str:
    """Return the answer of a run from its stored result; empty without a result."""
    return text(answered(decoded(result)))


def title(message: str) -> str:
    """Return the first words of a message, on one line of at most 80 characters."""
    # Cut first: a message may have millions of characters.
    line = " ".join(message[: 10 * TITLE_CHARS].split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
