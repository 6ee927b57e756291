"""The runs that a run called, however deep, and what they cost together with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.queries.summaries import these_runs

__all__ = ["MOST_RUNS", "sub_agent_runs", "together"]

MOST_RUNS = 1_000
# Two runs may name each other as their parent; only a hostile client sends them.
DEEPEST = 20
_BELOW = f"""
WITH RECURSIVE below (id, workflow_id, depth) AS (
  SELECT id, workflow_id, 1 FROM runs
  WHERE parent_workflow_id = :workflow_id AND id <> :id AND session_id IS :session_id
  UNION ALL
  SELECT r.id, r.workflow_id, b.depth + 1 FROM below b JOIN runs r
    ON r.parent_workflow_id = b.workflow_id AND r.id <> :id AND r.session_id IS :session_id
  WHERE b.depth < {DEEPEST} LIMIT {MOST_RUNS})
SELECT id FROM below JOIN runs USING (id) ORDER BY started_at, id
"""  # noqa: S608


@in_snapshot
def sub_agent_runs(conn: sqlite3.Connection, run: RunSummary) -> tuple[RunSummary, ...]:
    """Return the runs of its session that a run called, and those that they called, by start.

    At most 1,000, those of the first levels first.
    """
    below = {"id": run.id, "workflow_id": run.workflow_id, "session_id": run.session_id}
    ids = [row[0] for row in conn.execute(_BELOW, below).fetchall()]
    return these_runs(conn, ids, GoneProcesses(conn))


def together(run: RunSummary, below: Sequence[RunSummary]) -> RunSummary:
    """Return the run with the calls, tokens and cost of itself and the runs below it."""
    every = (run, *below)
    costs = [one.total_cost for one in every if one.llm_calls]
    known = [cost for cost in costs if cost is not None]
    return replace(
        run,
        llm_calls=sum(one.llm_calls for one in every),
        unmetered_calls=sum(one.unmetered_calls for one in every),
        tokens_in=sum(one.tokens_in for one in every),
        tokens_out=sum(one.tokens_out for one in every),
        total_tokens=sum(one.total_tokens for one in every),
        priced_tokens=sum(one.priced_tokens for one in every),
        total_cost=sum(known) if known or not costs else None,
    )
