"""Which calls a question is about, and which of them it reads: the others are in totals.

`schema.sql` says what the totals hold. A period takes those of the blocks of runs that lie in it
whole, and reads the calls of the blocks at its ends, and those that are in no total.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.encode import text
from waxlocal.queries.sums import NEWER, are_usable
from waxlocal.queries.times import parse_period

__all__ = ["HOUR", "IN_PERIOD", "IS_INSIDE", "IS_PACKED", "Asked", "asked_for", "to_read"]


class Asked(NamedTuple):
    """Which calls: those that ended from `since` to `until`, of an agent; None: all."""

    since: str | None
    until: str | None
    agent: str | None


# Of a call: the hour of its end, as the view `call_figures` has it, which a file of an earlier
# version lacks. Its first ten characters are the day.
HOUR = """CAST(iif(recorded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*',
    iif(recorded_at GLOB '*T[0-2][0-9]:*', substr(recorded_at, 1, 13),
      substr(recorded_at, 1, 10) || 'T00'), '') AS TEXT)"""
IN_PERIOD = """(:since IS NULL OR recorded_at >= :since)
  AND (:until IS NULL OR recorded_at <= :until)"""
# Of a block: all its calls, or some, may be of the period.
IS_INSIDE = "((:since IS NULL OR first >= :since) AND (:until IS NULL OR last <= :until))"
_REACHES_IN = "((:since IS NULL OR last >= :since) AND (:until IS NULL OR first <= :until))"
# Of a block: its block_durations are true.
IS_PACKED = "packed IS stamp"

_OF_AGENT = "(:agent IS NULL OR r.agent_name = :agent)"
_ALL_OF_AGENT = (
    "(SELECT run_id FROM runs WHERE agent_name = :agent) CROSS JOIN llm_calls USING (run_id)"
)
_SAID = """c.recorded_at, c.model, c.provider, c.duration_ms, c.status, c.usage_known, c.tokens_in,
  c.tokens_out, c.cached_tokens, c.cost"""
# Those of the runs that are in no block, and of those in some blocks.
_OF_RUNS = f"""
SELECT {_SAID} FROM (
  SELECT r.run_id FROM runs r WHERE {NEWER} AND {_OF_AGENT}
  UNION ALL
  SELECT r.run_id FROM call_blocks b
  CROSS JOIN runs r ON r.id BETWEEN b.block << 12 AND (b.block << 12) + 4095
  WHERE {{some}} AND r.id <= (SELECT up_to FROM summary) AND {_OF_AGENT})
CROSS JOIN llm_calls c USING (run_id)"""  # noqa: S608
_ODD = f"""
SELECT {_SAID} FROM odd_calls CROSS JOIN llm_calls c
  ON c.run_id = call_run AND c.position = call_position
CROSS JOIN runs r ON r.run_id = c.run_id CROSS JOIN call_blocks b ON b.block = r.id >> 12
WHERE {IS_INSIDE} AND {_OF_AGENT}"""  # noqa: S608
# Whether these are few blocks, whose runs are gone through by their ids: of many, as where most
# blocks have a call of long ago, to read all calls takes less time.
_ARE_FEW = "SELECT 3 * total({some}) <= count(*) FROM call_blocks"


def asked_for(
    since: str | None, until: str | None, agent: str | None, clock: Clock = SYSTEM_CLOCK
) -> Asked:
    """Return which calls are asked for, with times as `parse_period` takes them.

    Raises `InvalidQuery`.
    """
    return Asked(*parse_period(since, until, clock=clock), text(agent) if agent else None)


def to_read(conn: sqlite3.Connection, asked: Asked, *, packed: bool = False) -> tuple[str, bool]:
    """Return the calls to read, as SQL, and whether the totals of the blocks inside have the rest.

    Of the calls that it has, those in the period are asked for. `packed`: the rest is in
    `block_durations`, otherwise it is in the sums. Call it in the `snapshot` of the question.
    """
    inside = f"{IS_INSIDE} AND {IS_PACKED}" if packed else IS_INSIDE
    some = f"{_REACHES_IN} AND NOT ({inside})"
    if are_usable(conn) and conn.execute(_ARE_FEW.format(some=some), asked._asdict()).fetchone()[0]:
        of_runs = _OF_RUNS.format(some=some)
        return f"({of_runs})" if packed else f"({of_runs} UNION ALL {_ODD})", True
    return _ALL_OF_AGENT if asked.agent else "llm_calls", False
