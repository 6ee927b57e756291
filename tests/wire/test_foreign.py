"""Rows that somebody else wrote: whatever stands in their cells, the bodies are valid JSON."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.builders import moment, recording
from tests.tools.examples import examples
from tests.tools.wire_bodies import (
    items_of,
    loaded,
    strict_json,
    strict_json_of,
)
from waxlocal.storage.schema import schema_text
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.requests import complete_body, start_body
from waxlocal.wire.values import value_of

# fmt: off
KEYS = (
    "attempt", "channel", "citations", "code", "content", "data", "delegate", "depth", "doc_count",
    "event", "grounding_scores", "importance", "io.action", "io.channel", "io.direction",
    "language", "memory_type", "output", "results", "results_count", "slot_name", "source", "tier",
    "tool_type", "user_turns", "version",
)
NAMES = (
    "tool", "retriever", "decision", "reasoning", "retry", "io", "pause", "memory", "prompt", "llm",
    "agent", "custom", "user_message", "agent_response", "human_turn", "memory.write:x",
    "memory.recall:x", "prompt.use:x", "retrieve:", "grounding", "retrieval_result", "delegation",
    "resumed", "memory_episodic", "memory_semantic", "conversation_state", "scope_impact",
    "data_access", "bias_flag", "memory_state", "approval_requested", "approval_denied",
    "privacy_context", "intermediate_output", "output_text", "network_request",
)
# fmt: on
TEXTS = ("ok", "error", "blocked", "running", moment(1.0), "0001-01-01T00:00:00Z")
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def lists_and_objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and objects of such values, with keys that mean something."""
    objects = st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    return st.lists(inner, max_size=3) | objects


CELLS = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.sampled_from(TEXTS),
    st.recursive(PLAIN, lists_and_objects, max_leaves=8).map(json.dumps),
)


def columns_of(table: str) -> list[str]:
    """Return the names of a table's columns."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema_text())
    found = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
    connection.close()
    return [column[1] for column in found]


def rows_of(table: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows of a table with anything in their cells."""
    cells = {
        name: st.sampled_from(NAMES) if name in ("name", "kind", "event") else CELLS
        for name in columns_of(table)
    }
    row = st.fixed_dictionaries({**cells, "position": st.integers(1, 50)})
    return st.lists(row, max_size=4)


RUNS = st.builds(
    RecordedRun,
    run=st.fixed_dictionaries(dict.fromkeys(columns_of("runs"), CELLS)),
    process=st.none() | st.fixed_dictionaries(dict.fromkeys(columns_of("processes"), CELLS)),
    llm_calls=rows_of("llm_calls"),
    steps=rows_of("steps"),
    spans=rows_of("spans"),
    scores=rows_of("scores"),
    events=rows_of("events"),
    parent_agent=st.none() | st.text(max_size=5),
)


@settings(max_examples=examples(150), deadline=None)
@given(RUNS)
def test_rows_of_anybody_make_strict_json(run: RecordedRun) -> None:
    """Whatever stands in the cells, bodies are made, and they are valid JSON."""
    bodies = json.loads(strict_json_of(run), parse_constant=pytest.fail)
    assert bodies["complete"]["steps"] == []


def test_cells_that_are_no_json_travel_as_they_are(tmp_path: Path) -> None:
    """Text where an object should be is sent inside one; numbers that are none become null."""
    with recording(tmp_path) as (build, conn):
        run_id = build.run(inputs="no json", result="[1]", metadata="{bad", tags="5")
        build.llm(run_id, messages="none", details="x", cost=float("inf"))
        build.span(run_id, input="NaN", output='{"n": NaN, "i": 1e999}', attributes='"a"')
        build.step(run_id, "s", output="null", attributes="{")
        build.score(run_id, "x", numeric_value=float("-inf"), string_value="-inf")
        build.event(run_id, "grounding", data="nothing")
        run, items = loaded(conn, run_id), items_of(conn, run_id)
        start = start_body(run, parent_workflow_id=None, root_workflow_id=None)
        assert start["inputs"] == {"raw": "no json"}
        assert start["metadata"]["raw"] == "{bad"
        assert start["metadata"]["waxlocal"]["tags"] == {"raw": 5}
        assert complete_body(run)["result"] == {"raw": [1]}
        span = items["spans"][2].body
        assert (span["input_data"], span["output_data"]) == (None, {"n": None, "i": None})
        assert span["attributes"]["raw"] == "a"
        assert items["llm-calls"][0].body["cost"] == 0.0
        assert items["scores"][0].body["string_value"] == "-inf"
        assert "numeric_value" not in items["scores"][0].body
        assert run_id in strict_json(tmp_path / "waxlocal.db")


def test_deep_json_travels_as_text() -> None:
    """What could be read but hardly written again is left as the text that it is."""
    deep = "[" * 300 + "]" * 300
    wide = "[" + ",".join(["[]"] * 300) + "]"
    assert value_of(deep) == deep
    assert value_of(wide) == [[]] * 300
    assert value_of("[" * 100_000) == "[" * 100_000
