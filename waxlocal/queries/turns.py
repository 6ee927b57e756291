"""What a turn is: a run whose parent is not in its session; and what of a session is known.

The runs of sub-agents belong to the turn that called them. A session's number of turns, their time,
how they ended and what is known of the cost are read by the expressions here, whoever asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from waxlocal.ids import run_id_of
from waxlocal.queries.columns import has_column
from waxlocal.queries.times import seconds_between

__all__ = ["HAS_FAILED", "NESTED", "TURN", "Place", "TurnColumns", "places", "turn_columns"]

# Of a run `r`: whether its parent is in its session or, like itself, in none. As the view
# nested_runs has it, which files of an earlier version lack.
NESTED = """(r.parent_workflow_id IS NOT NULL AND EXISTS (
  SELECT 1 FROM runs p WHERE p.run_id = substr(r.parent_workflow_id, 4)
    AND p.workflow_id = r.parent_workflow_id AND p.session_id IS r.session_id
    AND p.run_id <> r.run_id))"""
TURN = f"NOT {NESTED}"

_OF_TURNS = f"FROM runs r WHERE r.session_id = s.session_id AND {TURN}"
# Of a run `r`. As the triggers of `sessions` count.
HAS_FAILED = "r.status <> 'running' AND r.status <> 'success' AND r.status <> 'cancelled'"
_FAILED = f"(SELECT count(*) {_OF_TURNS} AND {HAS_FAILED})"
_USERS = """(SELECT group_concat('x' || hex(u.user_id)) FROM session_users u
  WHERE u.session_id = s.session_id)"""
_USERS_OF_RUNS = """(SELECT group_concat(DISTINCT 'x' || hex(r.user_id)) FROM runs r
  WHERE r.session_id = s.session_id AND r.user_id IS NOT NULL)"""
_LAST_END = "(SELECT max(r.completed_at) FROM runs r WHERE r.session_id = s.session_id)"
_NOT_COUNTED = "SELECT 1 FROM counted_sessions"


@dataclass(frozen=True, slots=True)
class TurnColumns:
    """SQL over `sessions s`: how many turns, how many of them failed, and their time in seconds.

    `last_activity` is the last start or end of a run, exact, where `s.last_activity_at` is so to
    the second only. `cost` is NULL if no call has a known cost; that of no calls is known: 0.
    `are_counted`: the file has the turns and users of each of its sessions beside them. A file of
    an earlier version has not, until it was upgraded and its sessions were counted.
    """

    are_counted: bool
    count: str
    failed: str
    duration: str
    last_activity: str
    cost: str = "iif(s.llm_calls = 0, 0.0, s.total_cost)"

    @property
    def elapsed(self) -> str:
        """From the first start to the last activity, in seconds."""
        return seconds_between("s.first_run_at", self.last_activity)

    @property
    def users(self) -> str:
        """The users who took part, as x and hex digits, with commas between; NULL without any."""
        if self.are_counted:
            return _USERS
        return _USERS_OF_RUNS


# Two runs that name each other as their parent, as only a hostile client sends them, leave a
# session without a turn. It has one all the same: nobody must divide by 0. And a difference of sums
# of floats may be a little less than nothing, or none at all where both are infinite.
_COUNTED = TurnColumns(
    are_counted=True,
    count="max(1, s.run_count - s.nested_runs)",
    failed=f"iif(s.nested_runs = 0 OR s.failed_runs = 0, s.failed_runs, {_FAILED})",
    duration="coalesce(max(0.0, s.total_duration - s.nested_duration), 0.0)",
    last_activity="max(s.last_activity_at, coalesce(s.last_end_at, ''))",
)
_BY_RUNS = TurnColumns(
    are_counted=False,
    count=f"max(1, (SELECT count(*) {_OF_TURNS}))",
    failed=f"iif(s.failed_runs = 0, 0, {_FAILED})",
    duration=f"(SELECT total(r.duration) {_OF_TURNS})",
    last_activity=f"max(s.last_activity_at, coalesce({_LAST_END}, ''))",
)


def turn_columns(conn: sqlite3.Connection) -> TurnColumns:
    """Return the expressions for this file: where its sessions are not counted, they read runs."""
    can_count = has_column(conn, "sessions", "nested_runs")
    are_counted = can_count and conn.execute(_NOT_COUNTED).fetchone() is None
    return _COUNTED if are_counted else _BY_RUNS


class Place(NamedTuple):
    """Where a run is in its session: the number of its turn, from 1, and whether it is nested."""

    turn: int
    nested: bool


def places(runs: Iterable[tuple[str, str | None]]) -> dict[str, Place]:
    """Return the place of each run, given a session's runs in order: id and parent's workflow id.

    A run of a sub-agent has the number of the turn that called it, however deep. Runs that name
    each other as their parent, in a circle, are one turn.
    """
    parents = {run_id: run_id_of(parent) for run_id, parent in runs}
    turns: dict[str, str] = {}
    for run_id in parents:
        path = {run_id: None}  # a dict keeps the order
        while (above := parents[next(reversed(path))]) in parents and above not in path:
            path[above] = None
            if above in turns:
                break
        last = next(reversed(path))
        turn = turns.get(last, last)
        turns.update(dict.fromkeys(path, turn))
    # By the turns alone: the clock of a sub-agent on another machine may be behind.
    roots = (run_id for run_id in parents if turns[run_id] == run_id)
    numbers = {root: number for number, root in enumerate(roots, 1)}
    return {one: Place(numbers[turn], one != turn) for one, turn in turns.items()}
