"""Model usage per day."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.encode import text
from waxlocal.queries.columns import usage_known
from waxlocal.queries.times import parse_period

__all__ = ["ModelDay", "model_days"]

# Counts by `total`, a float, which cannot overflow: one call with absurd counts would stop all.
_SUMS = """
SELECT substr(c.recorded_at, 1, 10) AS date, c.model, c.provider, count(*) AS calls,
  sum({known} = 0) AS unmetered_calls,
  CAST(total(c.tokens_in + c.tokens_out) AS INTEGER) AS tokens,
  CAST(total(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)) AS INTEGER) AS priced_tokens,
  sum(c.cost) AS cost
FROM {calls}
WHERE (:since IS NULL OR c.recorded_at >= :since) AND (:until IS NULL OR c.recorded_at <= :until)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ALL = "llm_calls c"
_OF_AGENT = (
    "(SELECT run_id FROM runs WHERE agent_name = :agent) r"
    " CROSS JOIN llm_calls c ON c.run_id = r.run_id"
)


@dataclass(frozen=True, slots=True)
class ModelDay:
    """One model of one provider on one day (UTC); `cost` is None when no price is known.

    Nobody told the tokens of `unmetered_calls`.
    """

    date: str
    model: str
    provider: str
    calls: int
    unmetered_calls: int
    tokens: int
    priced_tokens: int
    cost: float | None


def model_days(
    conn: sqlite3.Connection,
    *,
    since: str | None = None,
    until: str | None = None,
    agent: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> list[ModelDay]:
    """Return the usage per model and day, in order; `agent` limits it to that agent's runs.

    `since` and `until` limit when calls ended, in any form that `parse_time` accepts. Raises
    `InvalidQuery`.
    """
    first, last = parse_period(since, until, clock=clock)
    values = {
        "since": first,
        "until": last,
    }
    if agent:
        values["agent"] = text(agent)
    query = _SUMS.format(calls=_OF_AGENT if agent else _ALL, known=usage_known(conn))
    rows = conn.execute(query, values).fetchall()
    return [ModelDay(**dict(row)) for row in rows]
