"""The intervals of each run of a session, by kind: LLM, tool, retrieval, retry, waiting."""

from __future__ import annotations

import re
import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from waxlocal.ids import run_id_of
from waxlocal.queries.intervals import Interval
from waxlocal.queries.run_order import IN_ORDER, RUNS
from waxlocal.queries.texts import decoded
from waxlocal.queries.times import length_us, microseconds
from waxlocal.records import RecordStatus

__all__ = ["Attempt", "RunIntervals", "run_intervals"]

_RUNS = f"""
SELECT r.run_id, r.parent_workflow_id, r.agent_name, r.started_at, r.completed_at, r.duration
FROM {RUNS} ORDER BY {IN_ORDER}
"""  # noqa: S608
# All records of a session's runs in recording order, each with a time and a duration. The time of
# an LLM call is its end; the time of a span is its start.
_RECORDS = """
WITH wanted AS MATERIALIZED (SELECT run_id FROM runs WHERE session_id = ?)
SELECT run_id, position, 'llm' AS source, recorded_at AS moment, duration_ms, 'llm' AS kind,
  '' AS name, status, coalesce(error_type, '') || ' ' || coalesce(error_message, '') AS error,
  NULL AS attributes
FROM wanted CROSS JOIN llm_calls USING (run_id)
UNION ALL
SELECT run_id, position, 'span', started_at, duration_ms, kind, name, status, error,
  iif(kind IN ('retriever', 'retrieval', 'retry'), attributes, NULL)
FROM wanted CROSS JOIN spans USING (run_id)
UNION ALL
SELECT run_id, position, '', recorded_at, NULL, '', '', '', NULL, NULL
FROM wanted CROSS JOIN steps USING (run_id)
UNION ALL
SELECT run_id, position, '', recorded_at, NULL, '', '', '', NULL, NULL
FROM wanted CROSS JOIN scores USING (run_id)
UNION ALL
SELECT run_id, position, '', recorded_at, NULL, '', '', '', NULL, NULL
FROM wanted CROSS JOIN events USING (run_id)
ORDER BY 1, 2
"""
_KINDS = {
    "llm": "llm",
    "tool": "tool",
    "retriever": "retrieval",
    "retrieval": "retrieval",
    "retry": "retry",
    "human": "waiting",
    "pause": "waiting",
}
# How providers and proxies say "too many requests".
_RATE_LIMIT = re.compile(r"rate.?limit|(?<!\d)429(?!\d)|too many requests|throttl", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call of a model, tool or retrieval; `lost` is the time until its retry began."""

    kind: str
    name: str
    at: Interval
    failed: bool
    rate_limited: bool
    documents: int | None = None
    lost: Interval | None = None


@dataclass
class RunIntervals:
    """The time of one run; times and lengths are in microseconds.

    `intervals` have the kinds llm, tool, retrieval, retry, waiting and backoff (between a failed
    attempt and the next one). `parent` is the index of the run that contains this one. `is_open`:
    its end is not known, and it went on at least until `end`.
    """

    run_id: str
    agent_name: str
    started_at: str
    start: int
    end: int
    is_open: bool = False
    parent: int | None = None
    intervals: list[Interval] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    retry_spans: int = 0
    rate_limited_spans: int = 0
    estimated_calls: int = 0
    estimated: int = 0

    @property
    def retries(self) -> int:
        """The number of retries.

        A failed call is often followed by a record of its retry: that counts as one, not two.
        """
        return max(self.retry_spans, sum(attempt.lost is not None for attempt in self.attempts))


def run_intervals(conn: sqlite3.Connection, session_id: str) -> list[RunIntervals]:
    """Return the runs of a session with their intervals, in the order of the conversation."""
    records: dict[str, list[sqlite3.Row]] = {}
    for record in conn.execute(_RECORDS, (session_id,)).fetchall():
        records.setdefault(record["run_id"], []).append(record)
    runs: list[RunIntervals] = []
    index: dict[str, int] = {}
    for row in conn.execute(_RUNS, {"session_id": session_id}).fetchall():
        run = _run(row, records.get(row["run_id"], []))
        parent = index.get(run_id_of(row["parent_workflow_id"]) or "")
        if parent is not None and runs[parent].is_open:
            _last_until(runs, parent, run.end)
        if parent is not None and runs[parent].start <= run.start <= runs[parent].end:
            run.parent = parent
        index[run.run_id] = len(runs)
        runs.append(run)
    return runs


def _last_until(runs: Sequence[RunIntervals], number: int | None, end: int) -> None:
    """Note that a run without an end went on for as long as one that it called; so did its own."""
    while number is not None and runs[number].is_open:
        runs[number].end = max(runs[number].end, end)
        number = runs[number].parent


def _run(row: sqlite3.Row, records: Sequence[sqlite3.Row]) -> RunIntervals:
    start = microseconds(row["started_at"])
    if row["duration"] is not None:
        end = start + length_us(row["duration"])
    else:
        last = row["completed_at"] or max((record["moment"] for record in records), default="")
        end = max(start, microseconds(last) if last else start)
    is_open = row["duration"] is None and row["completed_at"] is None
    run = RunIntervals(row["run_id"], row["agent_name"], row["started_at"], start, end, is_open)
    _place_records(run, records)
    _find_retries(run)
    return run


def _place_records(run: RunIntervals, records: Iterable[sqlite3.Row]) -> None:
    """Place each record of the run, given in order of position, on the time axis."""
    moments = [run.start]
    for record in records:
        at = _interval(run, record, moments)
        insort(moments, at.start)
        insort(moments, at.end)
        if at.kind == "retry":
            run.retry_spans += 1
            run.rate_limited_spans += _is_rate_limited(record["attributes"])
        if at.kind in ("llm", "tool", "retrieval"):
            run.attempts.append(_attempt(record, at))
        if at.kind:
            run.intervals.append(at)


def _interval(run: RunIntervals, record: sqlite3.Row, moments: list[int]) -> Interval:
    moment, length_ms = microseconds(record["moment"]), record["duration_ms"]
    length = None if length_ms is None else length_us(length_ms / 1000)
    if record["source"] == "llm":
        if length is None:
            length = moment - moments[max(bisect_right(moments, moment) - 1, 0)]
            run.estimated_calls += 1
            run.estimated += max(length, 0)
        return Interval(moment - max(length, 0), moment, "llm")
    kind = _KINDS.get(record["kind"], "")
    if record["kind"] == "io" and record["name"] == "human_turn":
        kind = "waiting"
    if length is None and record["status"] == RecordStatus.RUNNING:
        return Interval(moment, max(run.end, moment), kind)
    return Interval(moment, moment + (length or 0), kind)


def _attempt(record: sqlite3.Row, at: Interval) -> Attempt:
    documents = None
    if at.kind == "retrieval":
        attributes: Any = decoded(record["attributes"])
        count = attributes.get("doc_count") if isinstance(attributes, dict) else None
        documents = count if isinstance(count, int) else None
    failed = record["status"] == RecordStatus.ERROR
    return Attempt(
        kind=at.kind,
        name=record["name"],
        at=at,
        failed=failed,
        rate_limited=failed and _is_rate_limited(record["error"]),
        documents=documents,
    )


def _is_rate_limited(text: str | None) -> bool:
    return bool(text) and _RATE_LIMIT.search(text or "") is not None


def _find_retries(run: RunIntervals) -> None:
    """Mark failed attempts that were retried, and the wait before each retry."""
    by_name: dict[tuple[str, str], list[int]] = {}
    order = sorted(range(len(run.attempts)), key=lambda number: run.attempts[number].at)
    for number in order:
        attempt = run.attempts[number]
        by_name.setdefault((attempt.kind, attempt.name), []).append(number)
    for numbers in by_name.values():
        starts = [run.attempts[number].at.start for number in numbers]
        for place, number in enumerate(numbers):
            attempt = run.attempts[number]
            following = bisect_left(starts, attempt.at.end, lo=place + 1)
            if attempt.failed and following < len(starts):
                run.attempts[number] = _tried_again(run, attempt, starts[following])


def _tried_again(run: RunIntervals, attempt: Attempt, next_start: int) -> Attempt:
    start, end, _kind = attempt.at
    run.intervals += (Interval(start, end, "retry"), Interval(end, next_start, "backoff"))
    return replace(attempt, lost=Interval(start, next_start, "retry"))
