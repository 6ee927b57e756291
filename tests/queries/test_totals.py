from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.builders import Builder
from tests.tools.examples import examples
from tests.tools.row_changes import CHANGE, apply
from waxlocal.storage.connection import open_writer

GROUPED = """
WITH calls AS (
  SELECT run_id, count(*) AS llm_calls, count(cost) AS priced_calls,
    sum(usage_known = 0) AS unmetered_calls, sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out, sum(tokens_in + tokens_out) AS total_tokens,
    sum(iif(cost IS NULL, 0, tokens_in + tokens_out)) AS priced_tokens, sum(cost) AS total_cost
  FROM llm_calls GROUP BY run_id
)
SELECT session_id, count(*) AS run_count, sum(status = 'running') AS open_runs,
  sum(status IN ('error', 'blocked', 'interrupted')) AS failed_runs,
  coalesce(sum(llm_calls), 0) AS llm_calls, coalesce(sum(priced_calls), 0) AS priced_calls,
  coalesce(sum(unmetered_calls), 0) AS unmetered_calls,
  coalesce(sum(tokens_in), 0) AS tokens_in, coalesce(sum(tokens_out), 0) AS tokens_out,
  coalesce(sum(total_tokens), 0) AS total_tokens,
  coalesce(sum(priced_tokens), 0) AS priced_tokens, sum(total_cost) AS total_cost,
  total(duration) AS total_duration, min(started_at) AS first_run_at,
  max(started_at) AS last_run_at, sum(parent IS NOT NULL) AS nested_runs,
  total(iif(parent IS NULL, 0, duration)) AS nested_duration, max(completed_at) AS last_end_at,
  (SELECT u.user_id FROM runs u WHERE u.session_id = runs.session_id
    AND u.user_id IS NOT NULL LIMIT 1) IS NOT NULL AS is_somebodys,
  (SELECT group_concat(user_id) FROM (
    SELECT DISTINCT u.user_id FROM runs u WHERE u.session_id = runs.session_id
    AND u.user_id IS NOT NULL ORDER BY u.user_id)) AS users
FROM runs LEFT JOIN calls USING (run_id) LEFT JOIN (
  SELECT c.run_id, p.run_id AS parent FROM runs p JOIN runs c
  ON c.parent_workflow_id = 'wf_' || p.run_id AND c.session_id = p.session_id AND c.id <> p.id
) USING (run_id)
WHERE session_id IS NOT NULL GROUP BY session_id ORDER BY session_id
"""
KEPT = """
SELECT session_id, run_count, open_runs, failed_runs, llm_calls, priced_calls, unmetered_calls,
  tokens_in, tokens_out, total_tokens, priced_tokens, total_cost, total_duration, first_run_at,
  last_run_at, nested_runs, nested_duration, last_end_at, user_id IS NOT NULL AND EXISTS (
    SELECT 1 FROM session_users u WHERE u.session_id = sessions.session_id
    AND u.user_id = sessions.user_id) AS is_somebodys,
  (SELECT group_concat(user_id) FROM (SELECT user_id FROM session_users u
    WHERE u.session_id = sessions.session_id ORDER BY user_id)) AS users
FROM sessions ORDER BY session_id
"""

LEFT_OVER = "SELECT * FROM llm_calls WHERE run_id NOT IN (SELECT run_id FROM runs)"


@given(st.lists(CHANGE, max_size=40))
@settings(max_examples=examples(60), deadline=None)
def test_totals_of_sessions_equal_those_of_their_rows(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[Any, ...]]
) -> None:
    """After any inserts, updates and deletes the kept totals are those a GROUP BY finds.

    A run that is deleted leaves no calls behind.
    """
    path = tmp_path_factory.mktemp("totals") / "waxlocal.db"
    with closing(open_writer(path)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        make = Builder(conn)
        for _run in range(2):
            make.llm(make.run("a"), cost=0.5)
        for change in made:
            apply(make, change)
        conn.row_factory = sqlite3.Row
        kept, grouped, left = (conn.execute(sql).fetchall() for sql in (KEPT, GROUPED, LEFT_OVER))
    assert left == []
    assert [row["session_id"] for row in kept] == [row["session_id"] for row in grouped]
    for one, other in zip(kept, grouped, strict=True):
        assert dict(one) == pytest.approx(dict(other))
