"""A signal handler that raises while something is written costs no row, and leaves no run open."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.crash.files import assert_sound, rows
from tests.recording.test_fork import run_program

# Each program prints the number of the last step; what it records has the step's number in it.
START = """
from contextlib import nullcontext
from tests.tools.strikes import each_step
from waxlocal import WaxellContext, tool
from waxlocal.capture.provider import provider

tracers = [provider().get_tracer(f"openinference.instrumentation.{name}") for name in ("a", "b")]

def told(tokens):
    said = {"role": "user", "content": f"question {tokens}"}
    messages = {f"llm.input_messages.0.message.{name}": text for name, text in said.items()}
    counts = {"llm.token_count.prompt": tokens, "llm.token_count.completion": 7}
    return {"llm.model_name": "m", **counts, **messages}
"""
KIND = "openinference.span.kind"

END_OF_CALL = """
def call(steps):
    given = {KIND: "LLM"} | told(steps)
    spans = [tracer.start_span("chat", attributes=given) for tracer in tracers[:REPORTS]]
    for span in spans[:-1]:
        span.end()
    return spans[-1].end

with AROUND:
    print(each_step(call, first=FIRST, every=EVERY))
"""


def _steps(db_path: Path, program: str, **names: object) -> int:
    for name, value in {"KIND": repr(KIND), **names}.items():
        program = program.replace(name, str(value))
    done = run_program(db_path, START + dedent(program))
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    ("around", "reports", "first", "every"),
    [
        *(("nullcontext()", 1, first, 3) for first in (2, 3, 4)),
        ("nullcontext()", 2, 5, 7),
        ('WaxellContext("bot")', 1, 6, 7),
        ('WaxellContext("bot")', 2, 7, 7),
    ],
)
def test_a_strike_as_a_call_is_written_costs_no_row(
    db_path: Path, around: str, reports: int, first: int, every: int
) -> None:
    """Each call has one row with its counts, in one run, however many reports of it there are."""
    steps = _steps(db_path, END_OF_CALL, AROUND=around, REPORTS=reports, FIRST=first, EVERY=every)
    found = rows(db_path, "SELECT tokens_in, tokens_out, count(*) FROM llm_calls GROUP BY 1, 2")
    assert sorted(found) == [(n, 7, 1) for n in range(first, steps + 1, every)]
    of_calls = "SELECT count(DISTINCT run_id) FROM llm_calls JOIN runs USING (run_id)"
    alone = around == "nullcontext()"
    wanted = [len(found) if alone else 1]
    assert rows(db_path, of_calls) == rows(db_path, "SELECT count(*) FROM runs") == wanted
    assert rows(db_path, "SELECT DISTINCT status FROM runs") == ["success"]
    assert_sound(db_path)


def test_a_strike_as_a_span_says_what_it_is_costs_no_row(db_path: Path) -> None:
    """Some instrumentations say late that a span is a call."""
    steps = _steps(
        db_path,
        """
        def named(steps):
            span = tracers[0].start_span("chat", attributes=told(steps))
            spans.append(span)
            return lambda: span.set_attribute(KIND, "LLM")

        spans = []
        with WaxellContext("bot"):
            print(each_step(named))
            for span in spans:
                span.set_attribute(KIND, "LLM")
                span.end()
        """,
    )
    found = rows(db_path, "SELECT tokens_in FROM llm_calls ORDER BY 1")
    assert found == list(range(1, steps + 1))
    assert rows(db_path, "SELECT count(*) FROM spans") == [0]


AGENT = """
def agent(steps):
    span = tracers[0].start_span("agent", attributes={KIND: "AGENT", "agent.name": str(steps)})
    return span.end

def begun(steps):
    given = {KIND: "AGENT", "agent.name": str(steps)}
    return lambda: tracers[0].start_span("agent", attributes=given).end()
"""
RUN = """
def run(steps):
    def act():
        with WaxellContext(f"bot {steps}") as run:
            run.record_step("step")
    return act
"""


@pytest.mark.parametrize(
    ("program", "least"),
    [
        # Before the second step the instrumentation has not ended it.
        (AGENT + "print(each_step(agent, first=2))", 100),
        (AGENT + "print(each_step(begun, every=3))", 100),
        (RUN + "print(each_step(run))", 100),
    ],
    ids=["the end of an agent", "an agent", "a run"],
)
def test_a_strike_leaves_no_run_open(db_path: Path, program: str, least: int) -> None:
    """Neither while the process goes on, nor as interrupted when it has ended."""
    assert _steps(db_path, program) > least
    found = rows(db_path, "SELECT DISTINCT status FROM runs")
    assert set(found) <= {"success", "error"}
    assert "success" in found
    assert_sound(db_path)
