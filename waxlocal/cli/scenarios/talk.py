"""A conversation that is planned: who talks to which agent, from when on, about what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from waxlocal.cli.scenarios.faults import Fault
from waxlocal.cli.scenarios.pieces import Agent, Exchange

__all__ = ["DAY", "HOUR", "MINUTE", "SECOND", "Talk"]

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND


@dataclass
class Talk:
    """A session; its `exchanges` are turns.

    `users` take turns; an empty one stands for a program that names none. Without `session_id` its
    runs belong to no session. `pauses` are the shortest and the longest in seconds between an
    answer and the next question.
    """

    session_id: str
    agent: Agent
    users: Sequence[str]
    starts_ns: int
    exchanges: Sequence[Exchange]
    random: Random
    model: str
    # By the number of the turn, from 1.
    faults: Mapping[int, Fault] = field(default_factory=dict)
    scores: Mapping[int, Sequence[tuple[str, Any, str]]] = field(default_factory=dict)
    pauses: tuple[float, float] = (15.0, 240.0)
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    # How much slower than usual its tools and calls are.
    slowness: float = 1.0
    # How often a turn calls its model before the last time.
    loops: int = 0
    # The tokens of the tools that are offered with each call.
    base_tokens: int = 1_200
    # Whether the provider's cache is used.
    is_cached: bool = False
    # Whether the program names the number of tokens.
    is_metered: bool = True
    # Whether people leave after a fault.
    is_patient: bool = False
