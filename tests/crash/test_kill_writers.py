"""Many writers on one file: none of what they acknowledged is lost, and the log stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, environment
from tests.crash.writers import Outcome

pytestmark = pytest.mark.crash

# `make crash` asks for more.
KILLS = int(os.environ.get("KILL_WRITERS", "40"))
ROUNDS = int(os.environ.get("CHECKPOINT_ROUNDS", "1"))
ROUND_S = float(os.environ.get("CHECKPOINT_ROUND_S", "1.5"))
LONGEST_LOG = 64 * 1024 * 1024


def writers(path: Path, *arguments: str) -> Outcome:
    """Run the writers in a process of their own: it forks, and must not have recorded before."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.writers", str(path), *arguments],
        # A record that only waits for its turn on a busy machine must not go to memory meanwhile.
        env=environment(path, WAXLOCAL_WAIT="60"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Outcome(**json.loads(done.stdout))


def test_kills_of_eight_flat_out_writers(db_path: Path) -> None:
    """One, two or all eight are killed at any moment: all that had returned is in the file."""
    outcome = writers(db_path, f"--kills={KILLS}")
    print(outcome)
    assert (outcome.kills, outcome.lost, outcome.damage) == (KILLS, 0, [])
    assert outcome.acknowledged > 0
    assert outcome.largest_log <= LONGEST_LOG
    assert_sound(db_path)


def test_kills_in_the_middle_of_checkpoints(db_path: Path) -> None:
    """The same where the log is copied after nearly each commit, and by two others all the time."""
    outcome = writers(db_path, f"--kills={KILLS // 2}", "--limit=100000", "--copiers=2")
    print(outcome)
    assert (outcome.kills, outcome.lost, outcome.damage) == (KILLS // 2, 0, [])
    assert outcome.largest_log <= LONGEST_LOG
    assert_sound(db_path)


@pytest.mark.parametrize("count", [2, 6])
def test_checkpoints_all_the_time_damage_nothing(tmp_path: Path, count: int) -> None:
    """The WAL-reset bug needs a writer beside a checkpoint: with ours there is none.

    The pattern that damaged 15 of 18 files with SQLite 3.40.1 when checkpoints took no lock:
    writers, two that only checkpoint, and nothing synced, which makes the moment longer.
    """
    for round_ in range(ROUNDS):
        path = tmp_path / f"{round_}.db"
        arguments = (f"--writers={count}", "--copiers=2", "--limit=20000", "--unsynced")
        outcome = writers(path, f"--seconds={ROUND_S}", *arguments)
        print(outcome)
        assert (outcome.lost, outcome.damage) == (0, [])
        assert outcome.acknowledged > 0
        assert_sound(path)
