"""The runs that a run called, however deep, and what they cost together with it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from waxlocal.queries.columns import unmetered_calls
from waxlocal.queries.liveness import GoneProcesses
from waxlocal.queries.rows import RunSummary
from waxlocal.queries.snapshot import in_snapshot
from waxlocal.records import RunStatus

__all__ = ["MOST_RUNS", "Below", "SubAgentRun", "below"]

# That many are named; the totals are those of all.
MOST_RUNS = 1_000
# Each run has one caller, so those below a run are a tree; only the run itself can be called by one
# of them, as a hostile client may say.
_BELOW = """
WITH RECURSIVE below (id, run_id, workflow_id, depth) AS (
  SELECT id, run_id, workflow_id, 1 FROM runs
  WHERE parent_workflow_id = :workflow_id AND id <> :id AND session_id IS :session_id
  UNION ALL
  SELECT r.id, r.run_id, r.workflow_id, b.depth + 1 FROM below b JOIN runs r
    ON r.parent_workflow_id = b.workflow_id AND r.id <> :id AND r.session_id IS :session_id)
"""
_RUNS = f"""
SELECT r.id, r.run_id, r.workflow_id, r.parent_workflow_id, r.agent_name, r.started_at, r.duration,
  r.status, r.error_type, substr(r.error, 1, 2000) AS error, r.process_id
FROM (SELECT id FROM ({_BELOW} SELECT id FROM below ORDER BY depth, id LIMIT {MOST_RUNS})) one
CROSS JOIN runs r ON r.id = one.id ORDER BY r.started_at, r.id
"""  # noqa: S608
# By `total`, a float, which cannot overflow. A file of an earlier version has no `unmetered_calls`.
_COUNTS = ("llm_calls", "tokens_in", "tokens_out", "total_tokens", "priced_tokens")
_TOTALS = f"""{_BELOW}
SELECT count(*) AS runs, total({{unmetered}}) AS unmetered_calls, sum(t.total_cost) AS total_cost,
  {", ".join(f"total(t.{name}) AS {name}" for name in _COUNTS)}
FROM below CROSS JOIN run_totals t ON t.run_id = below.run_id
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class SubAgentRun:
    """A run that another one called, without what was said in it."""

    id: int
    run_id: str
    workflow_id: str
    parent_workflow_id: str | None
    agent_name: str
    status: str
    started_at: str
    duration: float | None
    error_type: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Below:
    """How many runs are below a run, the first thousand of them by start, and the sums of all.

    `together` is the run with the calls, tokens and cost of itself and all below it.
    """

    count: int
    runs: tuple[SubAgentRun, ...]
    together: RunSummary


@in_snapshot
def below(conn: sqlite3.Connection, run: RunSummary) -> Below:
    """Return the runs of its session that a run called, and those that they called."""
    given = {"id": run.id, "workflow_id": run.workflow_id, "session_id": run.session_id}
    found = conn.execute(_RUNS, given).fetchall()
    if not found:
        return Below(0, (), run)
    gone = GoneProcesses(conn)
    gone.look_up(row["process_id"] for row in found if row["status"] == RunStatus.RUNNING)
    sums = conn.execute(_TOTALS.format(unmetered=unmetered_calls(conn)), given).fetchone()
    return Below(sums["runs"], tuple(_run(row, gone) for row in found), _together(run, sums))


def _run(row: sqlite3.Row, gone: GoneProcesses) -> SubAgentRun:
    columns = dict(row)
    columns["status"] = gone.shown_status(row["status"], columns.pop("process_id"))
    return SubAgentRun(**columns)


def _together(run: RunSummary, sums: sqlite3.Row) -> RunSummary:
    own = run.total_cost if run.llm_calls else None
    known = [cost for cost in (own, sums["total_cost"]) if cost is not None]
    names = (*_COUNTS, "unmetered_calls")
    counts = {name: getattr(run, name) + int(sums[name]) for name in names}
    return replace(
        run, **counts, total_cost=sum(known) if known or not counts["llm_calls"] else None
    )
