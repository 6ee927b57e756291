"""A run that goes by single requests, while it is in hand, and one of its requests on its way."""

from __future__ import annotations

from typing import NamedTuple

from waxlocal.delivery.due import Due
from waxlocal.delivery.requests import Part
from waxlocal_daemon.plan import needed_in_answer, turn_of
from waxlocal_daemon.replacements import divisible_into

__all__ = ["Job", "SentPart", "within"]

# Of runs that are taken in hand together.
BYTES_AT_ONCE = 2 * 1024 * 1024


class SentPart(NamedTuple):
    """What a request is about: which part of which run, and when it left."""

    run_id: str
    part: Part
    sent_at: str

    @property
    def records(self) -> int:
        """How many records it carries, one for a request that cannot be divided."""
        return divisible_into(self.part)

    @property
    def needed(self) -> tuple[str, ...]:
        """The names that the answer must hold."""
        return needed_in_answer(self.part.stage)


class Job:
    """A run in hand: its requests that are not settled, and what has become of the others."""

    __slots__ = (
        "due",
        "failure",
        "in_flight",
        "new",
        "parked",
        "parts",
        "stopped",
        "unknown",
        "waits",
    )

    def __init__(self, due: Due) -> None:
        self.due = due
        # Every request of the run that is not settled, by stage and number.
        self.parts: dict[tuple[str, int], Part] = {}
        # Those of them that are not written down yet.
        self.new: list[Part] = []
        self.in_flight: set[tuple[str, int]] = set()
        self.failure = ""
        # What the server has refused, now or before: the run is not delivered without it.
        self.parked = ""
        # The server does not know the run though it has accepted its start.
        self.unknown = False
        # The server refuses the key: not the run's fault, and nothing of it goes on.
        self.stopped = False
        # For ids that the server has still to give: the rest of its requests is not made yet.
        self.waits = False

    def ready(self) -> list[Part]:
        """Return what may be sent now: the start, then all records, then the end."""
        if self.failure or self.stopped or self.unknown:
            return []
        turns = {key: turn_of(part) for key, part in self.parts.items()}
        first = min(turns.values(), default=(0, 0))
        return [
            self.parts[key]
            for key, turn in turns.items()
            if turn == first and key not in self.in_flight
        ]


def within(found: list[Due]) -> list[Due]:
    """Return as many of the first runs as the memory may hold at once, at least one."""
    total = 0
    for number, due in enumerate(found):
        total += due.size
        if number and total > BYTES_AT_ONCE:
            return found[:number]
    return found
