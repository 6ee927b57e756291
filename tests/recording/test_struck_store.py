"""A signal handler that raises at any step of a record leaves the store as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows
from tests.recording.test_fork import run_program

# Strikes at the n-th step of Python's interpreter within a method that uses the file, for each n.
# Python 3.10 looks for signals between almost any two of them, later ones less often.
PROGRAM = """
import signal, sys
from waxlocal import WaxellContext
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.store import Store

class TimeLimit(Exception):
    pass

def handler(number, frame):
    raise TimeLimit

signal.signal(signal.SIGALRM, handler)
STRUCK = {vars(Store)[name].__code__ for name in %s}
left = 0

def step():
    global left
    left -= 1
    if left == 0:
        signal.raise_signal(signal.SIGALRM)

def trace(frame, event, arg):
    if frame.f_code not in STRUCK:
        return None
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    if event == "opcode":
        step()
    return trace

def watch(on):
    if not hasattr(sys, "monitoring"):  # before Python 3.12
        sys.settrace(trace if on else None)
        return
    for code in STRUCK:
        sys.monitoring.set_local_events(TOOL, code, INSTRUCTION * on)

if hasattr(sys, "monitoring"):
    TOOL, INSTRUCTION = 3, sys.monitoring.events.INSTRUCTION
    sys.monitoring.use_tool_id(TOOL, "strikes")
    sys.monitoring.register_callback(TOOL, INSTRUCTION, lambda code, at: step())

def struck(steps):
    global left
    left = steps
    try:
        watch(True)
        run.record_step(f"struck {steps}")
        run.set_tag("step", str(steps))
        run.record_step(f"with a tag {steps}")
        current_recorder().store.next_position("of another run")
    except TimeLimit:
        pass
    finally:
        watch(False)
    return left <= 0

with WaxellContext("bot") as run:
    steps = 1
    while struck(steps):
        assert not current_recorder().store._writing, steps
        run.record_step(f"after {steps}")
        steps += 1
print(steps)
"""


@pytest.mark.parametrize("names", [("write",), ("write_together",), ("_use",)])
def test_a_strike_at_any_step_does_not_stop_what_follows(
    db_path: Path, names: tuple[str, ...]
) -> None:
    """All that is recorded after it is in the file; nothing is there twice."""
    done = run_program(db_path, PROGRAM % (names,))
    assert (done.returncode, done.stderr) == (0, "")
    steps = int(done.stdout)
    assert steps > 10
    after = rows(db_path, "SELECT step_name FROM steps WHERE step_name LIKE 'after%'")
    assert sorted(after) == sorted(f"after {n}" for n in range(1, steps))
    assert rows(db_path, "SELECT 1 FROM steps GROUP BY step_name HAVING count(*) > 1") == []
    assert_sound(db_path)


LOCKED = """
import os, sqlite3
from tests.tools.strikes import each_step
from waxlocal import WaxellContext
from waxlocal.recording.recorder import current_recorder

other = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)

def step(n):
    if other.in_transaction:
        other.execute("ROLLBACK")
    run.set_tag("n", str(n))
    if LOCKS:
        other.execute("BEGIN IMMEDIATE")
    return lambda: run.record_step(f"struck {n}")

with WaxellContext("bot") as run:
    last = each_step(step, every=EVERY, handle=lambda n: run.record_step(f"handled {n}"))
    if other.in_transaction:
        other.execute("ROLLBACK")
print(last)
"""


@pytest.mark.parametrize(("locks", "every"), [(False, 1), (True, 5)], ids=["free", "locked"])
def test_a_record_that_has_reached_the_store_is_written(
    db_path: Path, locks: bool, every: int
) -> None:
    """Wherever a handler that records strikes it, and whether or not the file is locked then."""
    program = LOCKED.replace("LOCKS", str(locks)).replace("EVERY", str(every))
    done = run_program(db_path, program, WAXLOCAL_WAIT="0.001")
    assert done.returncode == 0, done.stderr
    assert "lost" not in done.stderr
    last = int(done.stdout)
    found = rows(db_path, "SELECT step_name FROM steps")
    assert len(set(found)) == len(found)
    assert {f"handled {n}" for n in range(1, last, every)} <= set(found)
    made = [n for n in range(1, last + 1, every) if f"struck {n}" in found]
    # Those before are struck while they are still being put together.
    assert made == list(range(made[0], last + 1, every))
    assert made[0] < last - 10
    assert_sound(db_path)
