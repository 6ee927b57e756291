"""What was said in one turn: what each shape of recording is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Json", "Said", "Shape", "Used"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Used:
    """A tool that was called on the way, under the id of the call."""

    call_id: str
    name: str
    given: Any
    found: Any


@dataclass(frozen=True)
class Said:
    """A question and its answer, with the turns before it and the tools that were used.

    `image` is base64, empty without one. `variant` is a number by which a program's habits differ
    between conversations. `response_id` is letters and digits, as vendors make their ids of.
    """

    model: str
    system: str
    history: Sequence[Said]
    asks: str
    says: str
    used: Sequence[Used]
    image: str
    variant: int
    response_id: str


class Shape(Protocol):
    """How a program records what is said."""

    def inputs(self, said: Said) -> Json:
        """Return the inputs of the run."""
        ...

    def messages(self, said: Said) -> list[Json]:
        """Return the messages of the last call."""
        ...

    def result(self, said: Said) -> Json:
        """Return the result of the run."""
        ...
