"""A run as it stands in the file, which the requests that carry it are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["ChildRun", "Delegate", "RecordedRun"]

Row = dict[str, Any]


class Delegate(NamedTuple):
    """A run that another one opened, as the state of that other one has it."""

    agent_name: str
    started_at: str
    completed_at: str | None


class RecordedRun(NamedTuple):
    """One run with all that it recorded: rows by column name, JSON still as text.

    `run` has all columns of `runs`, `workflow_id` too; `process` its row of `processes`, None if
    it has none. Records come by position. `parent_agent` and `depth` (how many runs are around it)
    count the runs of this file only.
    """

    run: Row
    process: Row | None
    llm_calls: list[Row]
    steps: list[Row]
    spans: list[Row]
    scores: list[Row]
    events: list[Row]
    parent_agent: str | None = None
    depth: int = 0
    delegates: Sequence[Delegate] = ()


class ChildRun(NamedTuple):
    """A run that another one opened, with the sums of its own calls and of all runs below it.

    `id` is its place in the order of arrival. `cost` is None when no call's is known.
    """

    id: int
    run_id: str
    workflow_id: str
    agent_name: str
    workflow_name: str
    session_id: str | None
    status: str
    started_at: str
    completed_at: str | None
    duration: float | None
    inputs: str | None
    result: str | None
    error: str | None
    error_type: str | None
    tokens_in: int
    tokens_out: int
    cost: float | None
    llm_calls: int
