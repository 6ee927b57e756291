"""A statement with a conflict clause of its own replaces those in the triggers that it fires."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools.builders import Builder
from waxlocal.storage.connection import open_writer
from waxlocal.storage.schema import schema_text


def test_no_trigger_relies_on_a_conflict_clause_that_the_outer_statement_replaces() -> None:
    """`INSERT OR ...` inside a trigger holds only where the statement outside says nothing."""
    triggers = re.findall(r"CREATE TRIGGER.*?\nEND;", schema_text(), re.DOTALL)
    assert triggers
    assert not [one for one in triggers if re.search(r"\b(INSERT|UPDATE) OR\b", one)]


@pytest.mark.parametrize("clause", ["", "OR ABORT", "OR REPLACE"])
def test_a_run_that_is_added_again_by_an_upsert_keeps_its_user(db_path: Path, clause: str) -> None:
    """Its session knows the user already."""
    sql = f"""
    INSERT {clause} INTO runs (run_id, agent_name, workflow_name, session_id, user_id, trace_id,
      interaction_mode, status, started_at) VALUES (?, 'a', 'w', 's', 'u', 't', 'x', 'running', '')
    """
    with closing(open_writer(db_path)) as conn:
        conn.execute(sql, ("r1",))
        conn.execute(sql, ("r2",))
        upsert = sql if clause else f"{sql} ON CONFLICT (run_id) DO UPDATE SET status = 'success'"
        conn.execute(upsert, ("r3",))
        users = conn.execute("SELECT user_id FROM session_users").fetchall()
    assert users == [("u",)]


def test_contents_that_are_dropped_twice_by_an_upsert_refuse_nothing(db_path: Path) -> None:
    """Two calls that had the same message get another one by an upsert."""
    with closing(open_writer(db_path)) as conn:
        make = Builder(conn)
        run = make.run()
        first = make.llm(run, message_keys=["k"], tool_keys=["k"])
        second = make.llm(run, message_keys=["k"])
        for position in (first, second):
            conn.execute(
                """
                INSERT INTO llm_calls SELECT * FROM llm_calls WHERE run_id = ? AND position = ?
                ON CONFLICT (run_id, position)
                DO UPDATE SET message_keys = '["n"]', tool_keys = NULL
                """,
                (run, position),
            )
        dropped = conn.execute("SELECT key FROM dropped_contents").fetchall()
        for _again in range(2):
            conn.execute("DELETE FROM contents")
            for content in ('"a"', '"b"'):
                conn.execute(
                    "INSERT INTO contents (key, content) VALUES ('k', ?)"
                    " ON CONFLICT (key) DO UPDATE SET content = excluded.content",
                    (content,),
                )
        changed = conn.execute("SELECT key FROM changed_contents").fetchall()
    assert (dropped, changed) == ([("k",)], [("k",)])
