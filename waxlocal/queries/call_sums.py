"""What the calls of a period add up to, by day and model: from the totals where these have them.

`schema.sql` says what the totals hold. A period takes those of the blocks of runs that lie in it
whole, and reads the calls of the blocks at its ends, and those that are in no total.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from math import isnan
from typing import NamedTuple, TypeVar

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.encode import text
from waxlocal.queries.columns import usage_known
from waxlocal.queries.sums import NEWER, are_usable
from waxlocal.queries.times import parse_period

__all__ = ["Asked", "CallSums", "added", "asked_for", "call_durations", "call_sums"]

Key = TypeVar("Key")
# By model and provider: how many calls had which duration.
Durations = defaultdict[tuple[str, str], Counter[int]]


class Asked(NamedTuple):
    """Which calls: those that ended from `since` to `until`, of an agent; None: all."""

    since: str | None
    until: str | None
    agent: str | None


@dataclass(frozen=True, slots=True)
class CallSums:
    """Calls of one day (UTC), model and provider; `total_cost` is None where no cost is known."""

    date: str
    model: str
    provider: str
    calls: int
    errors: int
    unmetered_calls: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    priced_tokens: int
    total_cost: float | None

    def __add__(self, other: CallSums) -> CallSums:
        """Return both together, under the names of this one."""
        costs = [one.total_cost for one in (self, other) if one.total_cost is not None]
        return CallSums(
            self.date,
            self.model,
            self.provider,
            self.calls + other.calls,
            self.errors + other.errors,
            self.unmetered_calls + other.unmetered_calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cached_tokens + other.cached_tokens,
            self.priced_tokens + other.priced_tokens,
            _sum(costs),
        )


def _sum(costs: Sequence[float]) -> float | None:
    """Return the sum of costs, None where there is none: as SQL's `sum` does.

    Nothing has no sum, nor have two infinities of which one is below zero.
    """
    total = sum(costs)
    return total if costs and not isnan(total) else None


# -- which calls

_IN_PERIOD = """(:since IS NULL OR recorded_at >= :since)
  AND (:until IS NULL OR recorded_at <= :until)"""
_OF_AGENT = (
    "(SELECT run_id FROM runs WHERE agent_name = :agent) CROSS JOIN llm_calls USING (run_id)"
)
# Of a block `b`: all its calls, or some, may be of the period.
_IS_INSIDE = "((:since IS NULL OR first >= :since) AND (:until IS NULL OR last <= :until))"
_REACHES_IN = "((:since IS NULL OR last >= :since) AND (:until IS NULL OR first <= :until))"
_RUNS_OF_BLOCKS = """SELECT r.run_id FROM call_blocks b
    CROSS JOIN runs r ON r.id BETWEEN b.block << 12 AND (b.block << 12) + 4095
    WHERE {which} AND r.id <= (SELECT up_to FROM summary)"""
_NEWER_RUNS = f"SELECT r.run_id FROM runs r WHERE {NEWER}"  # noqa: S608
_SAID = """c.recorded_at, c.model, c.provider, c.duration_ms, c.status, c.usage_known, c.tokens_in,
  c.tokens_out, c.cached_tokens, c.cost"""
# What no sum of a block in the period has.
_NOT_SUMMED = f"""(
  SELECT {_SAID} FROM ({_NEWER_RUNS} UNION ALL
    {_RUNS_OF_BLOCKS.format(which=f"{_REACHES_IN} AND NOT {_IS_INSIDE}")})
  CROSS JOIN llm_calls c USING (run_id)
  UNION ALL
  SELECT {_SAID} FROM odd_calls CROSS JOIN llm_calls c
    ON c.run_id = call_run AND c.position = call_position
  CROSS JOIN runs r ON r.run_id = c.run_id CROSS JOIN call_blocks b ON b.block = r.id >> 12
  WHERE {_IS_INSIDE})"""  # noqa: S608
_NEAR = f"""({_NEWER_RUNS} UNION ALL {_RUNS_OF_BLOCKS.format(which=_REACHES_IN)})
  CROSS JOIN llm_calls USING (run_id)"""
# Whether it is few blocks whose runs are gone through by their ids: of many, as where most blocks
# have a call of long ago, to read all calls takes less time.
_FEW_REACH_IN = f"SELECT 2 * total({_REACHES_IN}) < count(*) FROM call_blocks"  # noqa: S608
_FEW_ARE_CUT = f"""
SELECT 3 * total({_REACHES_IN} AND NOT {_IS_INSIDE}) <= count(*) FROM call_blocks
"""  # noqa: S608

# -- what of them

# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all. The
# date as in the view `call_figures`, which a file of an earlier version lacks.
_ADDED_UP = f"""
SELECT CAST(iif(recorded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*',
    substr(recorded_at, 1, 10), '') AS TEXT) AS date,
  model, provider, count(*) AS calls,
  sum(status = 'error') AS errors, sum({{known}} = 0) AS unmetered_calls,
  CAST(total(tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(iif(cost IS NULL, 0, tokens_in + tokens_out)) AS INTEGER) AS priced_tokens,
  sum(cost) AS total_cost
FROM {{calls}} WHERE {_IN_PERIOD} GROUP BY 1, 2, 3
"""  # noqa: S608
_OF_BLOCKS = f"""
SELECT date, model, provider, sum(calls) AS calls, sum(errors) AS errors,
  sum(unmetered_calls) AS unmetered_calls,
  CAST(total(tokens_in) AS INTEGER) AS tokens_in,
  CAST(total(tokens_out) AS INTEGER) AS tokens_out,
  CAST(total(cached_tokens) AS INTEGER) AS cached_tokens,
  CAST(total(priced_tokens) AS INTEGER) AS priced_tokens,
  sum(iif(priced_calls = 0, NULL, total_cost)) AS total_cost
FROM model_sums
WHERE calls > 0 AND block IN (SELECT block FROM call_blocks WHERE {_IS_INSIDE})
GROUP BY date, model, provider
"""  # noqa: S608
# Counts of equal durations are enough for percentiles, in fewer rows than one per call.
_BY_DURATION = f"""
SELECT model, provider, duration_ms, count(*) AS calls
FROM {{calls}} WHERE duration_ms IS NOT NULL AND {_IN_PERIOD} GROUP BY model, provider, duration_ms
"""  # noqa: S608
_DURATIONS = "SELECT model, provider, duration_ms, calls FROM model_durations WHERE calls > 0"


def asked_for(
    since: str | None, until: str | None, agent: str | None, clock: Clock = SYSTEM_CLOCK
) -> Asked:
    """Return which calls are asked for, with times as `parse_period` takes them.

    Raises `InvalidQuery`.
    """
    return Asked(*parse_period(since, until, clock=clock), text(agent) if agent else None)


def call_sums(conn: sqlite3.Connection, asked: Asked) -> list[CallSums]:
    """Return the sums of these calls.

    Two may be of one day, model and provider: `added` adds them up. Call it in the same `snapshot`
    as other questions about these calls.
    """
    values = asked._asdict()
    summed = (
        asked.agent is None
        and are_usable(conn)
        and bool(conn.execute(_FEW_ARE_CUT, values).fetchone()[0])
    )
    calls = _OF_AGENT if asked.agent else _NOT_SUMMED if summed else "llm_calls"
    rows = conn.execute(_ADDED_UP.format(calls=calls, known=usage_known(conn)), values).fetchall()
    if summed:
        rows += conn.execute(_OF_BLOCKS, values).fetchall()
    return [CallSums(*row) for row in rows]


def call_durations(conn: sqlite3.Connection, asked: Asked) -> Durations:
    """Count the calls by duration in milliseconds, for each model and provider.

    Calls of unknown duration are left out.
    """
    values = asked._asdict()
    whole = asked.since is None and asked.until is None
    summed = asked.agent is None and are_usable(conn)
    if asked.agent:
        calls = _OF_AGENT
    elif summed and whole:
        calls = _NOT_SUMMED
    else:
        few = summed and conn.execute(_FEW_REACH_IN, values).fetchone()[0]
        calls = _NEAR if few else "llm_calls"
    found: Durations = defaultdict(Counter)
    for query in (_BY_DURATION.format(calls=calls), *([_DURATIONS] if summed and whole else [])):
        # Row by row, as there may be as many as calls: a list of them would take tens of MB.
        with closing(conn.execute(query, values)) as rows:
            for model, provider, milliseconds, count in rows:
                found[model, provider][milliseconds] += count
    return found


def added(sums: Iterable[CallSums], key: Callable[[CallSums], Key]) -> dict[Key, CallSums]:
    """Add up the sums that have the same key, and return them by key."""
    found: dict[Key, list[CallSums]] = {}
    for one in sums:
        found.setdefault(key(one), []).append(one)
    return {of: reduce(CallSums.__add__, some) for of, some in found.items()}
