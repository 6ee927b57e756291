"""What a program can learn about its own recording."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

import waxlocal
from tests.crash.files import count, run_program
from waxlocal import Health, WaxellContext
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.recording.store import EXIT_WAIT_S
from waxlocal.settings.config import Settings
from waxlocal.storage.connection import open_writer
from waxlocal.storage.log_file import log_size


def record(name: str = "agent") -> None:
    with WaxellContext(name):
        pass


@pytest.mark.usefixtures("nothing_there")
def test_health_before_the_first_run(recorder: Recorder, db_path: Path) -> None:
    """Nothing is opened by asking: no file, no record, no trouble."""
    assert waxlocal.health() == Health(
        enabled=True, file=db_path, file_bytes=0, log_bytes=0, in_memory=0, lost=0, reason=None
    )
    assert waxlocal.health().ok
    assert not db_path.exists()


def test_health_while_all_is_well(recorder: Recorder, db_path: Path) -> None:
    """The sizes are those of the file and of its log."""
    record()
    now = waxlocal.health()
    assert now.ok
    assert (now.file_bytes, now.log_bytes) == (db_path.stat().st_size, log_size(db_path))
    assert now.log_bytes > 0


def test_what_is_only_in_memory_is_counted(recorder: Recorder, db_path: Path) -> None:
    """A locked file: records in memory and the reason; written later, the reason stays."""
    recorder.store.wait = 0.0
    record()
    with closing(open_writer(db_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        record()
        now = waxlocal.health()
        assert (now.in_memory, now.lost, now.ok) == (2, 0, False)
        assert now.reason == f"{db_path} is locked by another process"
        other.execute("COMMIT")
    assert recorder.store.drain(wait=30)
    now = waxlocal.health()
    assert (now.in_memory, now.lost, now.ok) == (0, 0, True)
    assert now.reason == f"{db_path} is locked by another process"
    assert count(db_path, "runs") == 2


def test_what_was_lost_stays_counted(
    db_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that was given up is counted for good, also after the report on stderr."""
    monkeypatch.setattr("waxlocal.recording.store.EXIT_WAIT_S", EXIT_WAIT_S / 100)
    recorder = Recorder(Settings(db_path, wait=0.0))
    before = use_recorder(recorder)
    try:
        with closing(open_writer(db_path)) as other:
            other.execute("BEGIN IMMEDIATE")
            record()
            recorder.close()
            other.execute("COMMIT")
        assert capsys.readouterr().err.startswith("waxlocal: 2 records were lost")
        record()
        now = waxlocal.health()
        assert (now.in_memory, now.lost, now.ok) == (0, 2, False)
    finally:
        use_recorder(before)
        recorder.close()
    assert capsys.readouterr().err == ""


def test_a_recorder_that_is_off_says_so(db_path: Path) -> None:
    """`enabled` tells a program that nothing is recorded."""
    before = use_recorder(Recorder(Settings(db_path, enabled=False)))
    try:
        record()
        assert not waxlocal.health().enabled
    finally:
        use_recorder(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_counts_its_own(db_path: Path) -> None:
    """What the parent keeps or has lost is not the child's."""
    done = run_program(
        db_path,
        """
        import os, sqlite3, waxlocal
        waxlocal.init()
        with waxlocal.WaxellContext("agent"): pass
        other = sqlite3.connect(os.environ["WAXLOCAL_DB"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with waxlocal.WaxellContext("agent"): pass
        assert waxlocal.health().in_memory == 2
        other.execute("COMMIT")
        other.close()
        if not os.fork():
            os._exit(0 if waxlocal.health()[4:] == (0, 0, None) else 1)
        assert os.wait()[1] == 0
        """,
        WAXLOCAL_WAIT="0",
    )
    assert done.returncode == 0, done.stderr
    assert count(db_path, "runs") == 2
