"""Whatever JSON arrives, each endpoint takes it or says why not, and the file stays sound."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.builders import FixedClock
from tests.tools.examples import examples
from tests.tools.ingest import agent_span, llm_span, span
from waxlocal.errors import ObserveError
from waxlocal.ingest.endpoints import OF_RUN, WITHOUT_RUN
from waxlocal.ingest.merge import merge
from waxlocal.storage.connection import open_writer
from waxlocal.wire.bulk import read_lines

NOW = FixedClock(10.0).time_ns()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**70)
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["wf_", "\0", "\ud800", "tool:x", "__governance_check", "running", "1e999"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
WORDS = sorted(
    set(llm_span(1))
    | set(llm_span(1)["attributes"])
    | set(agent_span(1, "x")["attributes"])
    | {"step_name", "output", "_kind", "name", "numeric_value", "string_value", "data_type"}
    | {"cost", "provider", "task", "event", "workflow_id", "metadata", "partial", "chunk_count"}
    | {"waxlocal", "run_id", "started_at", "tags", "session_id", "slot_name", "error", "_phase"}
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS), ANYTHING, max_size=8)
KINDS = st.sampled_from(["llm", "agent", "tool", "io", "retry", "prompt", "retriever", "chain"])
SPANS = st.builds(lambda one, kind: span("x", kind) | one, OBJECTS, KINDS)
# What another waxlocal says of an event outside any run, as far as it must.
TIMES = st.sampled_from(["2026-01-31", "9999-12-31T23:59:59-23:59", "soon"])
OWN = st.fixed_dictionaries(
    {"outside": st.just(True), "position": st.integers(0, 9), "recorded_at": TIMES},
    optional={"named": st.just(True), **dict.fromkeys(("event", "kept", "raw"), ANYTHING)},
)
OUTSIDE = st.fixed_dictionaries({"waxlocal": OWN}, optional={"event": ANYTHING})
LISTS = st.lists(OBJECTS | SPANS | ANYTHING, max_size=4) | ANYTHING
NAMES = ("calls", "steps", "spans", "scores", "events", "decisions")
BODIES = st.builds(
    lambda items, state, rest: {**dict.fromkeys(NAMES, items), "conversation_state": state, **rest},
    LISTS,
    OBJECTS | ANYTHING,
    st.dictionaries(
        st.sampled_from(["status", "result", "inputs", "metadata", "session_id", "agent_name"])
        | st.sampled_from(["hardware_uuid", "trace_id", "parent_workflow_id", "partial", "date"]),
        ANYTHING | OBJECTS,
        max_size=4,
    ),
)
QUICK = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def connection(db_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection to a fresh file."""
    opened = open_writer(db_path)
    yield opened
    opened.close()


@contextmanager
def undone(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo what the block does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def problems(connection: sqlite3.Connection) -> list[Any]:
    """Return the texts of JSON columns that SQLite cannot read, and sums that are not right."""
    columns = (("runs", "inputs"), ("runs", "metadata"), ("steps", "output"), ("spans", "input"))
    columns += (("spans", "attributes"), ("events", "data"), ("llm_calls", "details"))
    found = [
        row
        for table, column in columns
        for row in connection.execute(
            f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL AND NOT json_valid({column})"
        )
    ]
    sums = "SELECT coalesce(sum(llm_calls), 0) FROM sessions"
    calls = "SELECT count(*) FROM llm_calls JOIN runs USING (run_id) WHERE session_id IS NOT NULL"
    wrong = connection.execute(f"SELECT ({sums}) <> ({calls})").fetchone()[0]
    return found + (["sums"] if wrong else [])


@QUICK
@given(name=st.sampled_from(sorted(OF_RUN)), bodies=st.lists(BODIES, min_size=1, max_size=3))
def test_any_body_about_a_run_is_taken_or_refused(
    connection: sqlite3.Connection, name: str, bodies: list[Any]
) -> None:
    """No JSON object posted about a run raises but for errors of ours, nor spoils the file."""
    with undone(connection):
        start = {"agent_name": "a", "session_id": "s"}
        run_id = WITHOUT_RUN["start"](connection, start, NOW)["run_id"]
        for body in bodies:
            with suppress(ObserveError):
                answer = OF_RUN[name](connection, run_id, body, NOW)
                json.dumps(answer, allow_nan=False)
        OF_RUN["complete"](connection, run_id, {"status": "success"}, NOW)
        assert problems(connection) == []


@QUICK
@given(name=st.sampled_from(sorted(WITHOUT_RUN)), body=BODIES)
def test_any_body_about_no_run_is_taken_or_refused(
    connection: sqlite3.Connection, name: str, body: Any
) -> None:
    """No JSON object posted elsewhere raises but for errors of ours, nor spoils the file."""
    with undone(connection):
        with suppress(ObserveError):
            WITHOUT_RUN[name](connection, body, NOW)
        assert problems(connection) == []


@QUICK
@given(events=st.lists(OUTSIDE, max_size=3))
def test_any_event_that_looks_like_one_of_another_waxlocal_is_stored(
    connection: sqlite3.Connection, events: list[Any]
) -> None:
    """Whatever it lacks."""
    with undone(connection):
        answer = WITHOUT_RUN["events"](connection, {"events": events}, NOW)
        assert answer == {"recorded": len(events)}
        assert problems(connection) == []


@QUICK
@given(
    run=OBJECTS,
    tables=st.dictionaries(
        st.sampled_from(["llm_calls", "steps", "spans", "scores", "events", "process"]), LISTS
    ),
    line=st.none() | ANYTHING,
)
def test_any_line_of_a_batch_is_stored_or_refused(
    connection: sqlite3.Connection, run: Any, tables: Any, line: Any
) -> None:
    """No line of a batch raises, nor spoils the file."""
    whole = {
        "run_id": "r1",
        "agent_name": "a",
        "session_id": "s",
        "status": "success",
        "started_at": "2026-01-31T09:30:00.000000Z",
    }
    document = {"run": {**whole, **run}, **tables}
    body = b"\n".join(json.dumps(one).encode() for one in (document, line))
    with undone(connection):
        results = merge(connection, read_lines(body), NOW)
        assert len(results) == 2
        assert {result.status for result in results} <= {"stored", "merged", "refused"}
        assert problems(connection) == []


def test_a_score_larger_than_any_float_keeps_no_other_away(connection: sqlite3.Connection) -> None:
    """JSON has numbers of any size; it is stored as infinite."""
    run_id = WITHOUT_RUN["start"](connection, {"agent_name": "a"}, NOW)["run_id"]
    values = (0.5, 10**400, -(10**400), float("nan"))
    scores = [{"name": f"s{at}", "numeric_value": value} for at, value in enumerate(values)]
    OF_RUN["scores"](connection, run_id, {"scores": scores}, NOW)
    found = connection.execute("SELECT numeric_value, string_value FROM scores ORDER BY name")
    assert found.fetchall() == [
        (0.5, None),
        (float("inf"), None),
        (float("-inf"), None),
        (None, "nan"),
    ]
