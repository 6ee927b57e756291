"""Ids are unique and in order, whatever the clock does."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.crash.files import rows, run_program
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.ids import (
    RunIds,
    first_run_id,
    generate_session_id,
    trace_id_of,
    workflow_id_of,
)
from waxlocal.recording.recorder import Recorder

NOW = 1_769_851_800_123_456_789


def test_ids_are_version_7_uuids() -> None:
    """Version, variant and time stand where RFC 9562 says."""
    made = uuid.UUID(RunIds().next(NOW))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW // 1_000_000
    assert str(made) == str(made).lower()


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=50))
def test_ids_increase_however_the_clock_jumps(times: list[int]) -> None:
    """Each id of a process sorts after the one before, as text."""
    ids = RunIds()
    made = [ids.next(ns) for ns in times]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_many_ids_of_one_moment_differ() -> None:
    """A clock that stands still gives 100,000 different ids, in order."""
    ids = RunIds()
    made = [ids.next(NOW) for _ in range(100_000)]
    assert made == sorted(set(made))


def test_two_sources_never_meet() -> None:
    """Two processes that ask at the same moment get different ids."""
    one, two = RunIds(), RunIds()
    assert not {one.next(NOW) for _ in range(1_000)} & {two.next(NOW) for _ in range(1_000)}


def test_a_child_does_not_repeat_its_parents_ids(db_path: Path) -> None:
    """After a fork both sides make session ids of their own."""
    program = """
import os
from waxlocal.ids import generate_session_id
if os.fork():
    os.wait()
print(generate_session_id())
"""
    done = run_program(db_path, program)
    theirs, ours = done.stdout.split()
    assert theirs != ours
    # 25 bits of the time in seconds, then 39 random ones.
    apart = (int(ours[5:], 16) >> 39) - (int(theirs[5:], 16) >> 39)
    assert apart % (1 << 25) < PATIENCE_S


def test_session_ids() -> None:
    """`sess_` and 16 hexadecimal digits, all different."""
    made = {generate_session_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch(r"sess_[0-9a-f]{16}", session_id) for session_id in made)


def test_the_file_computes_the_same_workflow_id(recorder: Recorder, db_path: Path) -> None:
    """`runs.workflow_id` and `runs.trace_id` are what the functions return."""
    with WaxellContext("agent") as run:
        run_id = run.run_id
    expected = [(workflow_id_of(run_id), trace_id_of(run_id))]
    assert rows(db_path, "SELECT workflow_id, trace_id FROM runs") == expected
    assert len(trace_id_of(run_id)) == 32


def test_the_ids_of_a_time_have_a_beginning() -> None:
    """All ids from a millisecond on come after its first one, those before it do not."""
    ids, ns = RunIds(), NOW // 1_000_000 * 1_000_000
    before, at = ids.next(ns - 1_000), ids.next(ns)
    assert before < first_run_id(ns) < at
