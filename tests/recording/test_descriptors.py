"""A program that has no file descriptor left, or too few for SQLite: its records wait."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, run_program
from tests.tools.patience import PATIENCE_S

resource = pytest.importorskip("resource", reason="the system has no such limit")

DATA = Path(__file__).parents[1] / "data"

# SQLite takes three for a file with its log, and reading the schema takes one more. What the
# program prints is: in memory, lost, why; then the same once descriptors are there.
_PROGRAM = f"""
import json, os, resource, sys, time
import waxlocal
from waxlocal import WaxellContext
from waxlocal.process import is_gone
from waxlocal.recording.open_file import current_process

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(LEFT):
    os.close(taken.pop())
for number in range(2):
    with WaxellContext("agent") as run:
        run.record_step("step")
short = waxlocal.health()
here = current_process()
gone = is_gone(here)
for descriptor in taken:
    os.close(descriptor)
gone = gone or is_gone(here)
deadline = time.monotonic() + {PATIENCE_S}
while waxlocal.health().in_memory and time.monotonic() < deadline:
    time.sleep(0.01)
later = waxlocal.health()
print(json.dumps([short.lost, short.reason, later.in_memory, later.lost, gone]))
"""


@pytest.mark.parametrize("file", ["new", "v1", "v2", "today's"])
@pytest.mark.parametrize("left", range(6))
def test_records_are_written_once_descriptors_are_there(
    db_path: Path, file: str, left: int
) -> None:
    """The first opening fails at any point; nothing is lost, and the warning names the reason."""
    if file == "today's":
        run_program(db_path, "from waxlocal import WaxellContext as C\nwith C('first'): pass")
    elif file != "new":
        with closing(sqlite3.connect(db_path)) as made:
            made.executescript((DATA / f"{file}.sql").read_text(encoding="utf-8"))
    done = run_program(db_path, f"LEFT = {left}\n{_PROGRAM}")
    assert done.returncode == 0, done.stderr
    reason = "null"
    if left < (3 if file == "today's" else 4):
        reason = f'"{db_path}: too many open files"'
        assert f"{db_path}: too many open files; runs are kept in memory" in done.stderr
        assert "Try: close files, or raise the limit" in done.stderr
    assert done.stdout == f"[0, {reason}, 0, 0, false]\n", done.stderr
    assert count(db_path, "steps") == 2
    assert_sound(db_path)
