"""The programs of `examples/`, run as a person would run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.sdk_programs import ROOT, run_python
from tests.tools.sdk_rows import only, rows
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder

EXAMPLES = ROOT / "examples"


def test_every_example_is_run_below() -> None:
    """An example that no test runs would rot."""
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in sorted(EXAMPLES.glob("*.py")) if f'"{p.name}"' not in tested] == []


def test_chatbot(db_path: Path) -> None:
    """Three questions are three runs of one session, told apart by their turn."""
    printed = run_python(EXAMPLES / "chatbot.py", db=db_path)
    runs = rows(db_path, "runs")
    assert [run["metadata"]["turn_number"] for run in runs] == [1, 2, 3]
    assert {run["session_id"] for run in runs} == {printed.split()[-1]}
    tokens = [call["tokens_in"] for call in rows(db_path, "llm_calls")]
    assert tokens == sorted(tokens)


def test_decorator(db_path: Path) -> None:
    """Each call is a run with its retrieval, decision, tool and score."""
    printed = run_python(EXAMPLES / "decorator.py", db=db_path)
    assert "What are eels? -> I DO NOT KNOW." in printed
    runs = rows(db_path, "runs")
    assert len({run["session_id"] for run in runs}) == 1
    for run in runs:
        kinds = [span["kind"] for span in rows(db_path, "spans", run_id=run["run_id"])]
        assert kinds == ["retriever", "decision", "tool"]
    words = [s["string_value"] for s in rows(db_path, "scores", name="grounded")]
    assert words == ["true", "true", "false"]


def test_low_level_client(db_path: Path) -> None:
    """The run is complete, with a call, a step and a score."""
    printed = run_python(EXAMPLES / "low_level_client.py", db=db_path)
    run = only(db_path, "runs")
    assert run["run_id"] in printed
    assert (run["status"], run["user_id"]) == ("success", "ada")
    for table in ("llm_calls", "steps", "scores"):
        assert only(db_path, table)["run_id"] == run["run_id"]


@pytest.mark.usefixtures("recorder")
def test_session_queries(db_path: Path) -> None:
    """The tutorial's figures: turns and their distribution, abandonment, cost."""
    for session, turns in (("a", 3), ("b", 1), ("c", 1), ("d", 1)):
        for _ in range(turns):
            with WaxellContext("agent", session_id=session) as ctx:
                ctx.record_llm_call(model="gpt-4o", tokens_in=1000, tokens_out=500)
    printed = run_python(EXAMPLES / "session_queries.py", db_path, db=db_path)
    assert printed.splitlines() == [
        "Average turns per session: 1.5",
        "  1 turn: 3 sessions",
        "  3 turns: 1 session",
        "Abandonment rate: 75.0%",
        "Average cost per session: $0.0112",
        "P95 cost per session: $0.0225",
        "All 4 sessions: 6 turns",
    ]


def test_session_queries_of_an_empty_file(recorder: Recorder, db_path: Path) -> None:
    """A file without any session is not an error."""
    with WaxellContext("alone"):
        pass
    recorder.close()
    assert run_python(EXAMPLES / "session_queries.py", db=db_path) == "All 0 sessions: 0 turns\n"
