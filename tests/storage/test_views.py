"""The views for other tools: what belongs together stands together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.sync import ask
from waxlocal import WaxellContext

pytestmark = pytest.mark.usefixtures("recorder")


def test_runs_and_calls_name_their_session_agent_and_user(db_path: Path) -> None:
    """So that a tool filters by it; a run without a session, or without a call, is there, too."""
    with WaxellContext("planner", session_id="s1", user_id="alice") as one:
        one.record_llm_call(model="gpt-4o", tokens_in=3, tokens_out=2, cost=0.5)
        one.record_llm_call(model="gpt-4o-mini", tokens_in=1, tokens_out=1, cost=0.25)
    with WaxellContext("coder", session_id="s1", user_id="bob") as two:
        two.record_llm_call(model="in-house", tokens_in=1, tokens_out=0)
    with WaxellContext("loner") as three:
        pass
    runs = "SELECT run_id, agent_name, session_id, user_id, status, llm_calls, total_cost"
    assert ask(db_path, f"{runs} FROM run_totals ORDER BY run_id") == [
        (one.run_id, "planner", "s1", "alice", "success", 2, 0.75),
        (two.run_id, "coder", "s1", "bob", "success", 1, None),
        (three.run_id, "loner", None, None, "success", 0, None),
    ]
    calls = "SELECT session_id, agent_name, user_id, model, tokens_in, cost FROM run_llm_calls"
    assert ask(db_path, f"{calls} ORDER BY run_id, position") == [
        ("s1", "planner", "alice", "gpt-4o", 3, 0.5),
        ("s1", "planner", "alice", "gpt-4o-mini", 1, 0.25),
        ("s1", "coder", "bob", "in-house", 1, None),
    ]
