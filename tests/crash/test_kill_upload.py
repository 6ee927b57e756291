"""kill -9 of an uploader at any moment delivers nothing twice and forgets nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows
from tests.crash.uploading import POINTS, record_runs, start
from tests.faults.audit import Audit, audit
from tests.faults.scripts import everything
from tests.faults.server import FaultServer, fault_server
from tests.tools.examples import examples
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("recorder")]

# Of each kind of upload: each end once. `make soak` asks for many more.
CYCLES = int(os.environ.get("KILL_UPLOAD_CYCLES", examples(8)))
# Recorded before each cycle: more than are sent at a time.
RUNS = 60
# The longest time, in seconds, after which an upload is killed at random: about as long as the runs
# of a cycle take.
LIFE_S = {"single": 0.3, "bulk": 0.06}

# Run by run the original SDK also tells of each run inside as a step.
_RECORDED = """
SELECT run_id, (SELECT count(*) FROM llm_calls c WHERE c.run_id = r.run_id),
  (SELECT count(*) FROM steps s WHERE s.run_id = r.run_id)
  + (SELECT ? * count(*) FROM runs c WHERE c.parent_workflow_id = r.workflow_id),
  (SELECT count(*) FROM scores s WHERE s.run_id = r.run_id)
FROM runs r
"""


@pytest.mark.parametrize("kind", ["single", "bulk"])
def test_a_killed_upload_goes_on_where_it_was(db_path: Path, kind: str) -> None:
    """Killed at random and at each point, among faults: each run arrives once and whole."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed = 0
    # How the uploads end: after some time, or at a point that this kind passes.
    ends = ["", *(point for point, passed in POINTS.items() if passed[kind == "bulk"])]
    with fault_server(everything(), seed=seed, bulk=kind == "bulk") as server:
        for cycle in range(CYCLES):
            record_runs(RUNS, chance)
            killed += _cycle(db_path, server, kind, ends[cycle % len(ends)], chance)
        _end(start(db_path, server.url, kind), 0)
        seen = audit(server)
    assert killed > CYCLES // 2
    seen.assert_sound(at_most=3)
    _assert_all_arrived(db_path, seen, steps_of_inner=kind == "single")
    assert_sound(db_path)


def _cycle(path: Path, server: FaultServer, kind: str, point: str, chance: random.Random) -> bool:
    """Upload until killed, while a run goes on; return whether it was before all had arrived."""
    nth = chance.randint(1, POINTS[point][kind == "bulk"]) if point else 0
    with WaxellContext("reader", session_id="sess_open") as run:
        run.record_step("begin")
        process = start(path, server.url, kind, *([point, nth] if point else []))
        run.record_score("quality", 0.5)
        if not point:
            time.sleep(chance.uniform(0, LIFE_S[kind]))
            process.send_signal(signal.SIGKILL)
        return _end(process, 0, -signal.SIGKILL) != 0


def _end(process: subprocess.Popen[str], *expected: int) -> int:
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode in expected
    return process.returncode


def _assert_all_arrived(path: Path, seen: Audit, *, steps_of_inner: bool) -> None:
    """Assert that nothing is left in the file, and that the server has every record of it."""
    assert rows(path, "SELECT DISTINCT state FROM deliveries") == ["delivered"]
    assert rows(path, "SELECT count(*) FROM deliveries") == rows(path, "SELECT count(*) FROM runs")
    assert rows(path, "SELECT count(*) FROM requests WHERE body IS NOT NULL") == [0]
    assert rows(path, "SELECT delivered FROM targets") == rows(path, "SELECT count(*) FROM runs")
    recorded = {run_id: counts for run_id, *counts in rows(path, _RECORDED, (steps_of_inner,))}
    stages = ("llm-calls", "steps", "scores")
    arrived = {
        run_id: [counts.get(stage, 0) for stage in stages]
        for run_id, counts in seen.records.items()
    }
    assert arrived == recorded
