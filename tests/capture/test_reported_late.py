"""What is reported when it is over has the times that it had, not those of the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from tests.tools.sdk_rows import only, queried
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.capture.provider import provider
from waxlocal.clock import utc_text
from waxlocal.shim.trace_spans import get_tracer

pytestmark = pytest.mark.usefixtures("recorder")

KIND = "openinference.span.kind"
TRACER = provider().get_tracer("openinference.instrumentation.some_framework")
LONG_AGO_NS = 1_700_000_000_123_456_000
LASTED_NS = 2_500_000_000
BEGUN, OVER = utc_text(LONG_AGO_NS), utc_text(LONG_AGO_NS + LASTED_NS)


def report(name: str, **attributes: Any) -> None:
    """Report a span that was over long ago, at once."""
    span = TRACER.start_span(name, attributes=attributes, start_time=LONG_AGO_NS)
    span.end(LONG_AGO_NS + LASTED_NS)


@pytest.mark.parametrize("kind", ["TOOL", "RETRIEVER", "CHAIN", "GUARDRAIL"])
def test_a_span_inside_a_run(db_path: Path, kind: str) -> None:
    """Of each kind."""
    with WaxellContext("a"):
        report("work", **{KIND: kind})
    span = only(db_path, "spans")
    assert (span["started_at"], span["duration_ms"]) == (BEGUN, LASTED_NS / 1e6)


def test_a_span_that_says_only_later_what_it_is_began_when_it_began(db_path: Path) -> None:
    """Some instrumentations set the kind at the end, some never."""
    with WaxellContext("a"):
        for name, said in (("tool", {KIND: "TOOL"}), ("other", {})):
            span = TRACER.start_span(name, start_time=LONG_AGO_NS)
            span.set_attributes(said)
            span.end(LONG_AGO_NS + LASTED_NS)
        before = time.time_ns()
        live = TRACER.start_span("live")
        after = time.time_ns()
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        live.end()
    found = queried(db_path, "SELECT name, started_at, duration_ms FROM spans ORDER BY position")
    assert [tuple(one.values()) for one in found[:2]] == [
        ("tool", BEGUN, LASTED_NS / 1e6),
        ("other", BEGUN, LASTED_NS / 1e6),
    ]
    assert utc_text(before) <= found[2]["started_at"] <= utc_text(after)
    assert found[2]["duration_ms"] >= 20


def test_a_call_outside_any_run(db_path: Path) -> None:
    """The call, and the run that it becomes."""
    tokens = {"llm.model_name": "m", "llm.token_count.prompt": 5}
    report("chat", **{KIND: "LLM"}, **tokens)
    call, run = only(db_path, "llm_calls"), only(db_path, "runs")
    assert (call["recorded_at"], call["duration_ms"]) == (OVER, LASTED_NS / 1e6)
    assert (run["started_at"], run["completed_at"], run["duration"]) == (BEGUN, OVER, 2.5)


def test_a_run_that_stands_for_a_span_ends_with_it(db_path: Path) -> None:
    """Not when its rows are written: the first of a process waits for the file to be made."""
    call = {KIND: "LLM", "llm.model_name": "m", "llm.token_count.prompt": 5}
    span = TRACER.start_span("chat", attributes=call)
    span.end()
    found, run = only(db_path, "llm_calls"), only(db_path, "runs")
    assert run["completed_at"] == found["recorded_at"]
    assert found["duration_ms"] == round(run["duration"] * 1000)


def test_a_run_does_not_end_before_it_begins(db_path: Path) -> None:
    """Where the outer one of two reports was over, as it says, before the inner one began."""
    tokens = {"llm.model_name": "m", "llm.token_count.prompt": 5}
    outer = TRACER.start_span("chat", attributes={KIND: "LLM"}, start_time=LONG_AGO_NS)
    inside = trace.set_span_in_context(outer)
    start = LONG_AGO_NS + LASTED_NS
    inner = TRACER.start_span("chat", inside, attributes={KIND: "LLM", **tokens}, start_time=start)
    inner.end(start)
    outer.end(LONG_AGO_NS + 1)
    run = only(db_path, "runs")
    assert (run["started_at"], run["completed_at"], run["duration"]) == (OVER, OVER, 0)


def test_an_agent_with_a_tool_inside(db_path: Path) -> None:
    """A run of its own, with the tool as its span."""
    agent = TRACER.start_span("guide", attributes={KIND: "AGENT"}, start_time=LONG_AGO_NS)
    inside = trace.set_span_in_context(agent)
    start = LONG_AGO_NS + 1_000_000_000
    tool = TRACER.start_span("t", inside, attributes={KIND: "TOOL"}, start_time=start)
    tool.end(start + 500_000_000)
    agent.end(LONG_AGO_NS + LASTED_NS)
    run, span = only(db_path, "runs"), only(db_path, "spans")
    assert (run["started_at"], run["completed_at"], run["duration"]) == (BEGUN, OVER, 2.5)
    assert (span["started_at"], span["duration_ms"]) == (utc_text(start), 500)


TRACERS = [TRACER, get_tracer()]


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("end", [LONG_AGO_NS - 1, 0, None, 2**70, "soon", 1.5])
def test_an_end_that_is_none_does_not_make_a_negative_duration(
    db_path: Path, end: Any, tracer: Any
) -> None:
    """Before the start, or not a time at all: the program goes on, and the span is there."""
    with WaxellContext("a"):
        span = tracer.start_span("t", attributes={KIND: "TOOL"}, start_time=LONG_AGO_NS)
        span.end(end)
    found = only(db_path, "spans")
    assert found["started_at"] == BEGUN
    assert found["duration_ms"] >= 0


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("start", [0, -5, 2**70, "soon", float("nan")])
def test_a_start_that_is_none_is_the_time_of_the_report(
    db_path: Path, start: Any, tracer: Any
) -> None:
    """Not a time of OpenTelemetry."""
    before = time.time_ns()
    with WaxellContext("a"):
        tracer.start_span("t", attributes={KIND: "TOOL"}, start_time=start).end()
    assert only(db_path, "spans")["started_at"] >= utc_text(before)


def test_a_span_of_the_original_s_tracer_with_times_of_its_own(db_path: Path) -> None:
    """Its start, its end, or both."""
    with WaxellContext("a"):
        both = get_tracer().start_span("both", start_time=LONG_AGO_NS)
        both.end(LONG_AGO_NS + LASTED_NS)
        get_tracer().start_span("start", start_time=LONG_AGO_NS).end()
        get_tracer().start_span("end").end(time.time_ns() + 1_000_000_000)
    found = queried(db_path, "SELECT name, started_at, duration_ms FROM spans ORDER BY position")
    first, second, third = found
    assert (first["started_at"], first["duration_ms"]) == (BEGUN, LASTED_NS / 1e6)
    assert second["started_at"] == BEGUN
    assert second["duration_ms"] > 1e9
    assert third["duration_ms"] >= 1_000


def test_a_record_with_a_duration_began_that_long_ago(db_path: Path) -> None:
    """By each method of the program that takes one, and by id."""
    before = time.time_ns()
    with WaxellContext("a") as ctx:
        ctx.record_tool_call(name="tool", duration_ms=5_000)
        ctx.record_retrieval(query="q", documents=[], duration_ms=5_000)
        ctx.record_retry(attempt=1, reason="r", duration_ms=5_000.0)
        ctx.record_code_execution(language="sh", code="true", execution_time=5.0)
        ctx.record_human_interaction("q", "a", elapsed_ms=5_000)
        spans = [{"name": "by id", "kind": "tool", "duration_ms": 5_000}]
        WaxellObserveClient().record_spans_sync(run_id=ctx.run_id, spans=spans)
    after = time.time_ns()
    found = queried(db_path, "SELECT name, started_at FROM spans")
    assert len(found) == 6
    for span in found:
        started_at = span["started_at"]
        assert utc_text(before - 5_000_000_000) <= started_at <= utc_text(after - 5_000_000_000)
