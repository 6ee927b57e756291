"""The records of several runs in brief, for the session page."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from waxlocal.queries.columns import usage_known

__all__ = ["MOST_RECORDS", "Record", "list_records"]

# The page of a run shows all of its records.
MOST_RECORDS = 2_000
PREVIEW_CHARS = 200

# Look up each table by its key: the runs are few, and the records of a run are adjacent.
_RECORDS = """
WITH wanted AS MATERIALIZED (SELECT value AS run_id FROM json_each(:runs))
SELECT run_id, position, 'llm' AS source, recorded_at AS moment, model AS name, task AS kind,
  CAST(duration_ms AS REAL) AS duration_ms, iif({known}, tokens_in, NULL) AS tokens_in,
  iif({known}, tokens_out, NULL) AS tokens_out, cost, status, NULL AS value,
  substr(coalesce(error_type || ': ', '') || coalesce(error_message, ''), 1, :chars)
    AS text
FROM wanted CROSS JOIN llm_calls USING (run_id)
UNION ALL
SELECT run_id, position, 'span', started_at, name, kind, duration_ms, NULL, NULL, NULL, status,
  NULL, substr(coalesce(error, output, ''), 1, :chars)
FROM wanted CROSS JOIN spans USING (run_id)
UNION ALL
SELECT run_id, position, 'step', recorded_at, step_name, kind, NULL, NULL, NULL, NULL, 'ok', NULL,
  substr(coalesce(output, ''), 1, :chars)
FROM wanted CROSS JOIN steps USING (run_id)
UNION ALL
SELECT run_id, position, 'score', recorded_at, name, data_type, NULL, NULL, NULL, NULL,
  coalesce(string_value, ''), numeric_value, substr(comment, 1, :chars)
FROM wanted CROSS JOIN scores USING (run_id)
UNION ALL
SELECT run_id, position, 'event', recorded_at, event, '', NULL, NULL, NULL, NULL, 'ok', NULL,
  substr(coalesce(data, ''), 1, :chars)
FROM wanted CROSS JOIN events USING (run_id)
ORDER BY run_id, position LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a run; `source` is llm, span, step, score or event.

    `text` is the start of its error or output. A score has its value in `value` (a number) or in
    `status` (text); only LLM calls have tokens and a cost, None where they are unknown.
    """

    position: int
    source: str
    moment: str
    name: str
    kind: str
    duration_ms: float | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    status: str
    value: float | None
    text: str


def list_records(
    conn: sqlite3.Connection, run_ids: Sequence[str], *, most: int | None = MOST_RECORDS
) -> dict[str, list[Record]]:
    """Return the records of these runs in recording order, at most `most` together."""
    limit = -1 if most is None else most  # SQLite takes a negative limit for none
    values = {"runs": json.dumps(list(run_ids)), "most": limit, "chars": PREVIEW_CHARS}
    query = _RECORDS.format(known=usage_known(conn))
    records: dict[str, list[Record]] = {run_id: [] for run_id in run_ids}
    for run_id, *columns in conn.execute(query, values).fetchall():
        records[run_id].append(Record(*columns))
    return records
