"""A full disk: nothing is raised, what fits in memory is kept, recording resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, rows, run_program
from waxlocal import WaxellContext
from waxlocal.recording.backlog import Backlog
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.store import Store
from waxlocal.storage.record_sql import Statement

INSERT = Statement(
    "INSERT INTO events (run_id, position, recorded_at, event, data) VALUES (?, ?, '', 'e', ?)"
)


def test_recording_resumes_after_a_full_disk(recorder: Recorder, db_path: Path) -> None:
    """Records of the time without space are kept, and written when there is space again."""
    with WaxellContext("before"):
        pass
    (pages,) = recorder.store.fetch("PRAGMA page_count")[0]
    recorder.store.fetch(f"PRAGMA max_page_count = {pages}")
    for number in range(30):
        with WaxellContext("agent", inputs={"n": number}) as run:
            run.record_step("step", {"text": "x" * 5_000})
    assert len(recorder.store.backlog) > 0
    recorder.store.fetch("PRAGMA max_page_count = 1000000")
    with WaxellContext("after"):
        pass
    assert len(recorder.store.backlog) == 0
    assert (count(db_path, "runs"), count(db_path, "steps")) == (32, 30)
    asked = "SELECT json_extract(inputs, '$.n') FROM runs WHERE agent_name = 'agent' ORDER BY id"
    assert rows(db_path, asked) == list(range(30))
    assert_sound(db_path)


FULL = """
import resource, os, signal, sys
from waxlocal import WaxellContext
with WaxellContext("before"):
    pass
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for number in range(20):
    with WaxellContext("agent") as run:
        run.record_step("step", {"text": "x" * 20_000})
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
"""


def test_a_write_limit_that_is_lifted(db_path: Path) -> None:
    """A limit on file sizes, which SQLite reports as an I/O error, costs no record either."""
    done = run_program(db_path, FULL, "lift")
    assert done.returncode == 0
    assert "lost" not in done.stderr
    assert (count(db_path, "runs"), count(db_path, "steps")) == (21, 20)
    assert_sound(db_path)


def test_a_write_limit_that_stays(db_path: Path) -> None:
    """Without space to the end: exit code 0, one line with count, reason and hint, a sound file."""
    done = run_program(db_path, FULL)
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("waxlocal:")]
    assert "records were lost" in line
    assert "Try:" in line
    assert "Traceback" not in done.stderr
    assert 0 < count(db_path, "runs") < 21
    lost = int(line.split()[1])
    ends = rows(db_path, "SELECT count(*) FROM runs WHERE status = 'success'")[0]
    assert lost + count(db_path, "runs") + ends + count(db_path, "steps") == 21 + 21 + 20
    assert_sound(db_path)


def test_a_full_backlog_counts_what_it_refuses(
    db_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond its bound the oldest records stay, the newest are counted, and close() says so."""
    store = Store(db_path, backlog=Backlog(max_records=10))
    store.write(INSERT, ("a", 0, None))
    (pages,) = store.fetch("PRAGMA page_count")[0]
    store.fetch(f"PRAGMA max_page_count = {pages}")
    for position in range(1, 41):
        store.write(INSERT, ("a", position, "x" * 5_000))
    stored = rows(db_path, "SELECT position FROM events WHERE position > 0")
    assert (len(store.backlog), store.backlog.lost) == (10, 30 - len(stored))
    store.fetch("PRAGMA max_page_count = 1000000")
    store.close()
    kept = rows(db_path, "SELECT position FROM events ORDER BY position")
    assert kept == list(range(11 + len(stored)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{30 - len(stored)} records were lost" in said
    assert "full" in said
    assert "Try: free some space" in said


def test_losses_are_said_once(db_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second close() does not repeat the report of the first."""
    store = Store(db_path)
    store.write(Statement("INSERT INTO nowhere VALUES (?)"), (1,))
    store.close()
    assert "1 record was lost" in capsys.readouterr().err
    store.close()
    assert capsys.readouterr().err == ""
