"""A signal handler that raises as a captured call is written costs no row, and makes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows
from tests.recording.test_fork import run_program

# Strikes at the n-th call or return within the end of a span, for every fifth n; Python looks for
# signals there, among other places. Each call has n tokens, by which it is found.
PROGRAM = """
import signal, sys
from contextlib import nullcontext
from waxlocal import WaxellContext
from waxlocal.capture.provider import provider

class TimeLimit(Exception):
    pass

def handler(number, frame):
    raise TimeLimit

signal.signal(signal.SIGALRM, handler)
tracers = [provider().get_tracer(f"openinference.instrumentation.{name}") for name in ("a", "b")]
left = 0

def look(frame, event, arg):
    global left
    left -= frame.f_code is not call.__code__  # which switches this off
    if left == 0:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGALRM)

def told(tokens):
    said = {"role": "user", "content": f"question {tokens}"}
    messages = {f"llm.input_messages.0.message.{name}": text for name, text in said.items()}
    counts = {"llm.token_count.prompt": tokens, "llm.token_count.completion": 7}
    return {"openinference.span.kind": "LLM", "llm.model_name": "m", **counts, **messages}

def call(steps):
    global left
    spans = [tracer.start_span("chat", attributes=told(steps)) for tracer in tracers[:REPORTS]]
    for span in spans[:-1]:
        span.end()
    left = steps
    try:
        sys.setprofile(look)
        spans[-1].end()
    except TimeLimit:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0

with AROUND:
    steps = 2
    while call(steps):
        steps += 5
print(steps)
"""


@pytest.mark.parametrize("around", ["nullcontext()", 'WaxellContext("bot")'])
@pytest.mark.parametrize("reports", ["1", "2"])
def test_a_strike_as_a_call_is_written_costs_no_row(
    db_path: Path, around: str, reports: str
) -> None:
    """Each call has one row with its counts, in one run, however many reports of it there are."""
    done = run_program(db_path, PROGRAM.replace("AROUND", around).replace("REPORTS", reports))
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 1_000
    found = rows(db_path, "SELECT tokens_in, tokens_out, count(*) FROM llm_calls GROUP BY 1, 2")
    assert sorted(found) == [(n, 7, 1) for n in range(2, steps + 1, 5)]
    alone = around == "nullcontext()"
    assert rows(db_path, "SELECT count(*) FROM runs") == [len(found) if alone else 1]
    ended = rows(db_path, "SELECT DISTINCT status FROM runs ORDER BY 1")
    assert set(ended) <= {"success", "interrupted"}
    assert_sound(db_path)
