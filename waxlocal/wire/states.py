"""Which of two states of a record is the newer one.

Both sides ask: the sender, whether a record must go again; the receiver, whether what arrives takes
the place of what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.records import LLM_CALLS, SPANS, RecordStatus, Table

__all__ = ["FILLED", "State", "state_of"]

# What a call lacks until its span has come, or until its price is known, each with the columns that
# come along. Filling them in is not a change: it may happen in several files, and none of them is
# newer then.
FILLED: Mapping[str, tuple[str, ...]] = {
    "messages": (),
    "response": (),
    "details": (),
    "tools": (),
    "cost": ("cost_source",),
}


class State(NamedTuple):
    """A state of a record: its revision, 0 as first recorded, and how much of it is missing."""

    revision: int = 0
    missing: int = 0

    def is_newer_than(self, other: State) -> bool:
        """Return whether this state takes the place of another one of the same record."""
        if self.revision != other.revision:
            return self.revision > other.revision
        return self.missing < other.missing


def state_of(table: Table, row: Mapping[str, Any]) -> State:
    """Return the state of a row of `runs` or of a table of records."""
    revision = row.get("revision")
    return State(revision if type(revision) is int else 0, _missing(table, row))


def _missing(table: Table, row: Mapping[str, Any]) -> int:
    # By name: a table is made of tuples, which Python compares whole.
    if table.name == LLM_CALLS.name:
        return sum(row.get(name) is None for name in FILLED)
    return int(table.name == SPANS.name and row.get("status") == RecordStatus.RUNNING)
