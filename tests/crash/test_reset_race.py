"""The WAL-reset bug damages a file that is checkpointed beside its writers, and none of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.files import environment
from tests.crash.reset_race import Outcome, is_mended

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc, to make a moment longer"),
]

# `make crash` asks for more.
ROUNDS = int(os.environ.get("CHECKPOINT_ROUNDS", "1"))
ROUND_S = float(os.environ.get("CHECKPOINT_ROUND_S", "1.5"))
# The first damages the file, nearly always.
CONTROL_ROUNDS = 20


def race(place: Path, *arguments: str) -> Outcome:
    """Run one race in a directory of its own; the library is loaded with a process."""
    place.mkdir()
    path = place / "race.db"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.crash.reset_race",
            str(path),
            f"--seconds={ROUND_S}",
            *arguments,
        ],
        env=environment(path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    outcome = Outcome(**json.loads(done.stdout))
    assert outcome.acknowledged > 0
    assert outcome.checkpoints > 0 or outcome.damage
    return outcome


def test_checkpoints_under_the_lock_damage_nothing(tmp_path: Path) -> None:
    """However long a checkpoint takes between two looks at the log, nobody starts it anew."""
    for round_ in range(ROUNDS):
        outcome = race(tmp_path / str(round_))
        assert (outcome.lost, outcome.damage) == (0, [])


def test_the_race_is_one(tmp_path: Path) -> None:
    """Without the lock the same programs damage the file: the test above can fail."""
    for round_ in range(CONTROL_ROUNDS):
        outcome = race(tmp_path / str(round_), "--unlocked")
        if outcome.lost or outcome.damage:
            assert not is_mended()
            return
    assert is_mended()


@pytest.mark.parametrize(
    ("version", "mended"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
    ],
)
def test_versions_that_have_the_bug(version: tuple[int, ...], mended: bool) -> None:
    """It came with 3.7.0 and went with 3.51.3, and with two earlier releases."""
    assert is_mended(version) is mended
